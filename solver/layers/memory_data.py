"""MemoryData: samples in arrays of the caller."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batchbrew.solver.blob import Shape
from batchbrew.solver.data.keys import Keys
from batchbrew.solver.layer import LAYERS, Array
from batchbrew.solver.layers.sources import SourceLayer


@LAYERS.register("MemoryData")
class MemoryData(SourceLayer):
    """Batches of arrays that the caller sets, one after the other, from the start again after the last.

    The arrays are not copied before a batch is read from them. The labels have the shape (N, 1, 1, 1) once there are
    arrays, as in Caffe from the first forward pass on: reshape the net after ``set_arrays``, and after a change of
    ``batch``.
    """

    tops = (2, 2)

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check the shape of a sample."""
        p = self.param.memory_data_param
        self.batch = int(p.batch_size)
        self.item = (int(p.channels), int(p.height), int(p.width))
        if 0 in (self.batch, *self.item):
            raise self.error(
                "batch_size, channels, height and width must be specified and positive in memory_data_param"
            )
        self._arrays: tuple[Array, Array] | None = None

    def set_arrays(self, data: Array, labels: Array) -> None:
        """Take samples from ``data`` (n, C, H, W) and ``labels`` (n) or (n, 1, 1, 1), starting with the first.

        Raises UserError unless n is a multiple of the batch size and the shapes are those of the prototxt.
        """
        if data.ndim != 4 or data.shape[1:] != self.item:
            raise self.error(f"data must have shape (n, {', '.join(map(str, self.item))}), found {data.shape}")
        if not labels.ndim or labels.size != len(labels) or len(labels) != len(data):
            raise self.error(f"data and labels must have the same first dimension, found {data.shape}, {labels.shape}")
        if not len(data) or len(data) % self.batch:
            raise self.error(f"n must be a multiple of batch size: found {len(data)} samples, batch_size {self.batch}")
        self._arrays = data, labels
        self._position = 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, C, H, W), and (N) for the labels or, once there are some, (N, 1, 1, 1)."""
        return [(self.batch, *self.item), (self.batch,) if self._arrays is None else (self.batch, 1, 1, 1)]

    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Write the next batch."""
        if self._arrays is None:
            raise self.error("MemoryDataLayer needs to be initialized: call set_input_arrays (Reset) before forward")
        data, labels = self._arrays
        rows = (self._position + np.arange(len(tops[0]))) % len(data)
        tops[0][...] = data[rows]
        tops[1][...] = labels[rows].reshape(tops[1].shape)
        self._position = int(rows[-1]) + 1
