"""Picture files named in a list, ``path label`` a line, as numbered samples.

Axes: n samples, C channels, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.protos.files import read_bytes
from batchbrew.solver.data import images
from batchbrew.solver.data.part import Item, Labels, Pictures, stack

_NUMBER = re.compile(r"\s*([+-]?\d+)")


@dataclass(frozen=True, eq=False)
class ImageList:
    """What a list file says: names, labels int32[n], and the number of the line of each."""

    names: list[str]
    labels: Labels
    lines: list[int]
    digest: str


def read_list(source: str) -> ImageList:
    """Read a list file. Raises UserError if there is none or it is empty.

    The label follows the last space of a line, so names may hold spaces; it is read as C's atoi does: no number is 0.
    """
    content = read_bytes(Path(source))
    rows = [line.rstrip() for line in content.decode("utf-8", "surrogateescape").split("\n")]
    lines = [number for number, row in enumerate(rows, 1) if row]  # blank lines do not count
    if not lines:
        raise UserError(f"{source}: the list is empty: expected a line 'path label' for each picture")
    parts = [row.rpartition(" ") if " " in row else (row, "", "") for row in rows if row]
    labels = np.array([_label(label) for _, _, label in parts], np.int32)
    return ImageList([name for name, _, _ in parts], labels, lines, f"sha256:{hashlib.sha256(content).hexdigest()}")


class ImageFiles:
    """The pictures that the list file ``source`` names, below the folder ``root``.

    ``color``: three channels or one. ``size`` = (rows, columns) to resize to, (0, 0) for none.
    """

    mean = None

    def __init__(self, source: str, root: str, color: bool, size: tuple[int, int] = (0, 0)) -> None:
        self._source, self._root, self._color, self._size = source, root, color, size
        self._list = read_list(source)
        self.digest = self._list.digest
        self._seen: tuple[int, images.Picture] | None = None
        self.shape: Item = self.shape_of(0)

    def __len__(self) -> int:
        return len(self._list.names)

    @property
    def highest_label(self) -> int:
        """Return the largest label."""
        return int(self._list.labels.max())

    def shape_of(self, index: int) -> Item:
        """Return the shape of one picture, (C, H, W)."""
        self._seen = (index, self._read(index))  # it is asked for next; decoding it twice would take time
        channels, height, width = self._seen[1].shape
        return channels, height, width

    def take(self, indices: NDArray[np.int64]) -> tuple[Pictures, Labels]:
        """Return the samples ``indices`` int64[n]: pictures and labels (n,). Raises UserError naming a bad file."""
        seen, picture = self._seen or (-1, None)
        return (
            stack([picture if picture is not None and i == seen else self._read(i) for i in indices.tolist()]),
            self._list.labels[indices],
        )

    def _read(self, index: int) -> images.Picture:
        path = images.below(self._root, self._list.names[index])
        try:
            return images.read_image(path, self._color, self._size)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{self._source}:{self._list.lines[index]}: could not load '{path}' ({reason})") from None


def _label(text: str) -> int:
    found = _NUMBER.match(text)
    return max(-(2**31), min(2**31 - 1, int(found[1]))) if found else 0
