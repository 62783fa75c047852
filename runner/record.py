"""The record of a run: JSON lines, appended by rank 0 and by nobody else."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return ``value`` as JSON values; numbers that are not finite become null.

    >>> plain({"loss": float("nan"), "shape": (1, np.int64(2))})
    {'loss': None, 'shape': [1, 2]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Recorder:
    """Append lines to a record file; flushed at once, made durable by :meth:`sync`.

    ``offset`` cuts the file there first: what a killed run wrote after its last checkpoint is done again.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._stream = path.open("r+b" if path.exists() else "w+b")
        self._stream.truncate(offset)
        self._stream.seek(0, os.SEEK_END)

    def write(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Append one line and return it as it will be read back."""
        line: dict[str, Any] = plain({"kind": kind, **fields})
        self._stream.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n")
        self._stream.flush()
        return line

    def sync(self) -> int:
        """Make everything written durable; return the length of the file in bytes."""
        os.fsync(self._stream.fileno())
        return self._stream.tell()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def read_lines(path: Path, end: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the lines of a record up to byte ``end``; a last line that was cut off by a kill is left out."""
    if not path.exists():
        return
    for raw in path.read_bytes()[:end].splitlines(keepends=True):
        if not raw.endswith(b"\n"):
            return
        try:
            line = json.loads(raw)
        except ValueError:
            return
        yield line
