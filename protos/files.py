"""Read and write whole files; what goes wrong is told in one line."""

from __future__ import annotations

import re
from pathlib import Path

from batchbrew import atomic
from batchbrew.errors import UserError, did_you_mean


def is_file(path: Path) -> bool:
    """Tell whether ``path`` is a file; a name no file can have is none, where pathlib may raise OSError."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_bytes(path: Path) -> bytes:
    """Return the content of the file at ``path``; UserError if there is none or it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{_near(path)}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from None


def write_bytes(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``: readers see the old file or the whole new one, also after a crash."""
    try:
        atomic.write(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from None


def _near(path: Path) -> str:
    try:
        return did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""


def is_text(content: bytes) -> bool:
    r"""Tell whether ``content`` is text rather than binary: no control characters but those of a text file.

    >>> is_text(b"layer {}\r\n"), is_text(b"\x08\x96\x01\x00")
    (True, False)
    """
    return not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", content)
