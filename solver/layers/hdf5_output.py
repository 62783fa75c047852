"""HDF5Output: two blobs written to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.views import legacy_shape


@LAYERS.register("HDF5Output")
class HDF5Output(Layer):
    """Write the bottoms to ``file_name`` as datasets ``data`` and ``label``, (N, C, H, W), in each forward pass.

    The first pass of a net begins the file anew; each further one adds its rows behind those before, so that several
    batches make one file (Caffe's second pass fails instead). Between passes the file is closed and may be read.
    """

    bottoms = (2, 2)
    tops = (0, 0)

    @property
    def cuttable(self) -> bool:
        """False: the file holds whole batches."""
        return False

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check the name of the file."""
        name = self.param.hdf5_output_param.file_name
        self.path = Path(name)
        if not name or not self.path.parent.is_dir():
            raise self.error(f"file_name '{name}' must name a file in a folder that exists")
        self.begun = False

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Check the bottoms; there are no tops."""
        if bottoms[0][:1] != bottoms[1][:1]:
            raise self.error(f"data and label must have as many rows, found {bottoms[0]} and {bottoms[1]}")
        self.shapes = [legacy_shape(self, shape) for shape in bottoms]
        return []

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Write."""
        build.call(self._write, [blob.data.reshape(shape) for blob, shape in zip(bottom, self.shapes, strict=True)])

    def _write(self, arrays: Sequence[Array]) -> None:
        try:
            with h5py.File(self.path, "a" if self.begun else "w") as file:
                for name, values in zip(("data", "label"), arrays, strict=True):
                    self._append(file, name, values)
        except OSError as error:
            raise self.error(f"cannot write '{self.path}': {error}") from error
        self.begun = True

    def _append(self, file: h5py.File, name: str, values: Array) -> None:
        if name not in file:
            file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]))
            return
        rows = file[name]
        if rows.shape[1:] != values.shape[1:]:
            raise self.error(f"cannot add rows {values.shape[1:]} to rows {rows.shape[1:]} of {name} in '{self.path}'")
        count = len(rows)
        rows.resize(count + len(values), axis=0)
        rows[count:] = values

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Nothing depends on what was written."""
        for blob, wanted in zip(bottom, needed, strict=True):
            if wanted:
                build.op("fill", blob.diff, 0.0)
