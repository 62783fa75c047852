"""Windows in pictures: the file that lists them, and how one is cut out and warped to a square.

A window file has, for each picture, a block of the words ``# number``, ``path``, ``channels``, ``height``, ``width``,
``count``, and then ``count`` windows ``class overlap x1 y1 x2 y2`` with corners that belong to the window.

Axes: m windows, C channels, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.protos.files import read_bytes
from batchbrew.solver.data.images import Picture, resize
from batchbrew.solver.data.images import below as below_root

Table = NDArray[np.int64]  # (m, 6): picture, class, x1, y1, x2, y2
Box = tuple[int, int, int, int]
HEAD = 7  # words before the windows of a picture


@dataclass(frozen=True, eq=False)
class Windows:
    """The pictures of a window file, and its windows in two tables; those of the background have class 0."""

    paths: list[str]
    foreground: Table
    background: Table
    digest: str

    def __len__(self) -> int:
        return len(self.foreground) + len(self.background)


def read_windows(source: str, root: str, least: float, below: float) -> Windows:
    """Read a window file: foreground overlaps by ``least`` or more, of the others background by less than ``below``.

    ``root`` is put before the paths. Raises UserError for a file that is damaged, lists no windows, or pictures that
    are not of three channels.
    """
    content = read_bytes(Path(source))
    paths: list[str] = []
    foreground, background = [], []
    for at, head, rows in _blocks(source, content.decode("utf-8", "surrogateescape")):
        where = f"{source}:{at}: "
        if head[3] != "3":
            raise UserError(f"{where}'{head[2]}' has {head[3]} channels: windows are cut from pictures of 3")
        overlap = rows[:, 1].astype(np.float32)
        table = np.column_stack([np.full(len(rows), len(paths)), rows[:, [0, 2, 3, 4, 5]]]).astype(np.int64)
        inside = overlap >= np.float32(least)
        if (table[inside, 1] < 1).any():
            raise UserError(f"{where}a foreground window of '{head[2]}' has class 0, which is that of the background")
        outside = ~inside & (overlap < np.float32(below))
        table[outside, 1] = 0
        paths.append(str(below_root(root, head[2])))
        foreground.append(table[inside])
        background.append(table[outside])
    if not paths:
        raise UserError(f"{source}: the window file is empty")
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Windows(paths, np.concatenate(foreground), np.concatenate(background), digest)


def _blocks(source: str, text: str) -> Iterator[tuple[int, list[str], NDArray[np.float64]]]:
    """Yield (line number, words of the head, windows (count, 6)) of each picture."""
    lines = ((at, line) for at, line in enumerate(text.split("\n"), 1) if line.strip())
    head: list[str] = []
    start = 0
    for at, line in lines:
        start = start if head else at
        head += line.split()
        if len(head) < HEAD:
            continue
        try:
            if head[0] != "#" or len(head) > HEAD:
                raise ValueError
            count = int(head[6])
            rows = " ".join(row for _, row in islice(lines, count)).split()
            table = np.array(rows, np.float64).reshape(count, 6)
            if not (np.abs(table) < 2**31).all():
                raise ValueError
        except ValueError:
            raise UserError(
                f"{source}:{start}: expected '# number', path, channels, height, width, count and that many windows "
                "'class overlap x1 y1 x2 y2'"
            ) from None
        yield start, head, table
        head = []
    if head:
        raise UserError(f"{source}:{start}: the block of this picture is cut short")


@dataclass(frozen=True)
class Cutter:
    """Cut windows out of pictures and warp them to ``size`` x ``size``.

    With ``context`` the window grows until, warped, that many pixels lie around it on each side; with ``square`` it
    first becomes a square. What lies outside of the picture stays empty.
    """

    size: int
    context: int = 0
    square: bool = False

    def cut(self, picture: Picture, box: Box, mirror: bool) -> tuple[Picture, int, int]:
        """Return the warped part (C, h, w) of ``picture`` and the row and column where it belongs in the square.

        Raises ValueError if the window has no pixel of the picture.
        """
        x1, y1, x2, y2 = box
        rows, columns = picture.shape[1:]
        height = width = self.size
        row = column = 0
        if self.context or self.square:
            x1, y1, x2, y2 = self._grown(box)
            # Pixels of the grown window beyond each side of the picture.
            left, top, right, bottom = max(0, -x1), max(0, -y1), max(0, x2 - columns + 1), max(0, y2 - rows + 1)
            by_x, by_y = (np.float32(self.size) / np.float32(length) for length in (x2 - x1 + 1, y2 - y1 + 1))
            x1, y1, x2, y2 = x1 + left, y1 + top, x2 - right, y2 - bottom
            row = _round(top * by_y)
            column = _round((right if mirror else left) * by_x)
            height = min(_round((y2 - y1 + 1) * by_y), self.size - row)
            width = min(_round((x2 - x1 + 1) * by_x), self.size - column)
        if not (0 <= x1 <= x2 < columns and 0 <= y1 <= y2 < rows and min(height, width) > 0):
            raise ValueError(f"window {' '.join(map(str, box))} does not lie in the {rows}x{columns} picture")
        part = resize(picture[:, y1 : y2 + 1, x1 : x2 + 1], (height, width))
        return part[:, :, ::-1] if mirror else part, row, column

    def _grown(self, box: Box) -> Box:
        # In float32, as Caffe computes: halves must round to the same side.
        x1, y1, x2, y2 = (np.float32(side) for side in box)
        grow = np.float32(self.size) / np.float32(self.size - 2 * self.context)
        half_x, half_y = (x2 - x1 + 1) / np.float32(2), (y2 - y1 + 1) / np.float32(2)
        x, y = x1 + half_x, y1 + half_y
        if self.square:
            half_x = half_y = max(half_x, half_y)
        dx, dy = half_x * grow, half_y * grow
        return _round(x - dx), _round(y - dy), _round(x + dx), _round(y + dy)


def _round(value: float | np.float32) -> int:
    """Return the nearest integer, halves away from zero, as C rounds."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))
