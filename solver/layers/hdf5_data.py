"""HDF5Data: rows of datasets in HDF5 files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batchbrew.solver.blob import Shape
from batchbrew.solver.data.hdf5_rows import Hdf5Rows
from batchbrew.solver.data.keys import Keys, mix_number
from batchbrew.solver.data.part import Samples
from batchbrew.solver.layer import LAYERS, Array
from batchbrew.solver.layers.samples import SampleLayer


@LAYERS.register("HDF5Data")
class Hdf5Data(SampleLayer):
    """One top for each dataset of its name, (N, ...) with any axes."""

    def open(self, part: Samples | None, seed: int) -> None:
        """Read the list and what the files hold; with ``shuffle`` each pass has another order."""
        p = self.param.hdf5_data_param
        self.check(p.batch_size, p.source)
        if self.param.HasField("transform_param"):
            raise self.error("does not transform data: remove transform_param")
        with self.placed():
            self.rows = Hdf5Rows(p.source, self.param.top, mix_number(seed + self.salt) if p.shuffle else None)

    @property
    def count(self) -> int:
        """Number of rows in all files."""
        return len(self.rows)

    @property
    def digest(self) -> str:
        """What tells its files apart from others."""
        return self.rows.digest

    @property
    def batch(self) -> int:
        """The batch size of the prototxt."""
        return int(self.param.hdf5_data_param.batch_size)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, ...) for each top."""
        return [(self.batch, *shape) for shape in self.rows.shapes]

    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Write the rows; a batch may go on in the next file."""
        self.rows.take(indices, tops)
