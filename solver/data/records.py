"""The records of a data base as numbered samples.

Axes: n samples, C channels, H rows, W columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.protos import datum
from batchbrew.solver.data import images
from batchbrew.solver.data.part import Item, Labels, Pictures, stack
from batchbrew.solver.data.store import Store

Sample = tuple[NDArray[Any], int]  # picture (C, H, W), label


class Records:
    """Samples in an LMDB or a LevelDB; what can only be learnt by reading all of them is not known.

    ``color`` says how encoded records (JPEG, PNG) are decoded: to three channels (True), one (False) or as many as each
    has (None).
    """

    mean = None
    highest_label = None

    def __init__(self, store: Store, color: bool | None = None) -> None:
        self.store = store
        self._color = color
        self._seen: tuple[int, Sample] | None = None
        self.shape: Item = self.shape_of(0)

    @property
    def digest(self) -> str:
        """The digest of the data base."""
        return self.store.digest

    def forced(self, color: bool) -> Records:
        """Return the same samples, encoded ones decoded to three channels or one."""
        return Records(self.store, color)

    def __len__(self) -> int:
        return len(self.store)

    def shape_of(self, index: int) -> Item:
        """Return the shape of one picture, (C, H, W)."""
        self._seen = (
            index,
            self._parse(index, self.store.record(index)),
        )  # it is asked for next; decoding it twice would take time
        channels, height, width = self._seen[1][0].shape
        return channels, height, width

    def take(self, indices: NDArray[np.int64]) -> tuple[Pictures, Labels]:
        """Return the samples ``indices`` int64[n]: pictures and labels (n,). Raises UserError naming a damaged one."""
        wanted = indices.tolist()
        records = [self.store.record(index) for index in wanted]
        alike = datum.parse_alike(records) if records else None
        if alike is not None:
            return alike
        seen, sample = self._seen or (-1, None)
        found = [
            sample if sample and index == seen else self._parse(index, record)
            for index, record in zip(wanted, records, strict=True)
        ]
        return stack([picture for picture, _ in found]), np.array([label for _, label in found], np.int32)

    def _parse(self, index: int, record: bytes) -> Sample:
        try:
            found = datum.parse(record)
            return images.decode(found.data, self._color) if found.encoded else found.picture(), found.label
        except ValueError as error:
            key = self.store.text(self.store.keys[index])
            raise UserError(f"{self.store.path}: record '{key}' is damaged ({error})") from None
