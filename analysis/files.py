"""Write whole files or nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from batchbrew.errors import UserError


def write(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` at once: a temporary file beside it, synced, then renamed.

    Folders on the way are made. Raises UserError when the place cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write: {error.strerror}; choose another place for the report") from None
