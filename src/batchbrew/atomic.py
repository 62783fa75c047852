"""Write files so that a reader, or a restart after a kill, sees the old content or the new one, never half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def replace(path: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write a new file beside ``path``, force it to the disk and give it the name ``path`` in one step.

    Several processes may do this at once, each with a file of its own; the last one stays. Nothing is left of a
    failure. Raises what ``fill`` raises, and OSError.
    """
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.{secrets.token_hex(6)}.tmp")
    try:
        fill(temporary)
        _sync(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Put ``content`` at ``path``, text as UTF-8; ``mode`` is what the umask leaves of it. Raises OSError."""
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content

    def fill(temporary: Path) -> None:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(data)

    replace(path, fill)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable, where the system can."""
    with suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
