"""What data is once it is open: numbered pictures with labels, and the two parts of them that make a data set.

Axes: N samples, C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[Any]  # uint8 or float32, (N, C, H, W)
Pictures = Images | list[Images]  # pictures of one size as one array, those of several sizes one by one (C, H, W)
Labels = NDArray[np.int32]  # (N,)
Item = tuple[int, int, int]  # the shape of one picture, (C, H, W)


class Samples(Protocol):
    """What a Data layer reads: a part of a data set in memory, or the records of a data base.

    ``shape`` is that of the first picture; others may have another (``shape_of``). ``mean`` is the mean picture and
    ``highest_label`` the largest label where they are known without reading everything, else None. ``digest`` tells
    contents apart.
    """

    def __len__(self) -> int: ...

    @property
    def shape(self) -> Item: ...  # noqa: D102

    @property
    def mean(self) -> NDArray[np.float32] | None: ...  # noqa: D102

    @property
    def highest_label(self) -> int | None: ...  # noqa: D102

    @property
    def digest(self) -> str: ...  # noqa: D102

    def shape_of(self, index: int) -> Item:
        """Return the shape of one picture, (C, H, W)."""
        ...

    def take(self, indices: NDArray[np.int64]) -> tuple[Pictures, Labels]:
        """Return copies of the samples ``indices`` int64[n]: pictures and labels (n,)."""
        ...


def stack(pictures: list[Images]) -> Pictures:
    """Return pictures (C, H, W) of one size as one array (n, C, H, W), those of several sizes as they are."""
    return np.stack(pictures) if len({picture.shape for picture in pictures}) == 1 else pictures


@dataclass(frozen=True, eq=False)
class Part:
    """Hold the training or the test samples: images (N, C, H, W) uint8 or float32, labels (N,) int32.

    ``digest`` is that of the whole data set, empty where nobody computed it.
    ``mean`` is the mean picture of the *training* part, float32 (C, H, W), in both parts of a data set, so that a net
    that sees only one part can subtract it (``mean_file: "auto"``); None where nobody computed it.

    >>> part = Part(np.zeros((4, 1, 2, 2), np.uint8), np.array([3, 1, 0, 2], np.int32))
    >>> len(part), part.shape
    (4, (1, 2, 2))
    >>> part.take(np.array([2, 0]))[1]
    array([0, 3], dtype=int32)
    """

    images: Images
    labels: Labels
    mean: NDArray[np.float32] | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"images {self.images.shape} and labels {self.labels.shape} are not (N,C,H,W) and (N,)")

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def shape(self) -> Item:
        """Return the shape of one picture, (C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def highest_label(self) -> int:
        """Return the largest label."""
        return int(self.labels.max(initial=0))

    def shape_of(self, index: int) -> Item:
        """Return the shape of one picture, (C, H, W): that of all."""
        return self.shape

    def take(self, indices: NDArray[np.int64]) -> tuple[Images, Labels]:
        """Return copies of the samples ``indices`` int64[n]: images (n, C, H, W), labels (n,).

        Raises IndexError for a number that is no sample of this part.
        """
        # The copies are plain arrays: the bookkeeping of np.memmap costs more than the copy of one picture.
        return self.images.view(np.ndarray)[indices], self.labels.view(np.ndarray)[indices]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Hold an open prepared data set: its name, class names, parts, content digest (``sha256:...``) and file.

    ``origin`` says what the file was made from (``files``, the checksums of a download, a generator's recipe).
    """

    name: str
    classes: tuple[str, ...]
    train: Part
    test: Part
    digest: str
    path: Path
    origin: str = ""

    @property
    def shape(self) -> Item:
        """Return the shape of one picture, (C, H, W)."""
        return self.train.shape

    @property
    def mean(self) -> NDArray[np.float32] | None:
        """Return the mean picture of the training part, float32 (C, H, W)."""
        return self.train.mean
