"""Write whole files or nothing."""

from __future__ import annotations

from pathlib import Path

from batchbrew import atomic
from batchbrew.errors import UserError


def write(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` at once; folders on the way are made.

    Raises UserError when the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror}; choose another place for the report") from None
