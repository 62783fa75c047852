"""Data: samples of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Shape
from batchbrew.solver.data import dataset
from batchbrew.solver.data.keys import Keys
from batchbrew.solver.data.part import Part
from batchbrew.solver.data.transform import Transform
from batchbrew.solver.layer import LAYERS, Array
from batchbrew.solver.layers.samples import SampleLayer


@LAYERS.register("Data")
class Data(SampleLayer):
    """Samples of a data set: transformed pictures (N, C, H, W) and, with a second top, labels (N)."""

    tops = (1, 2)

    def open(self, part: Part | None, seed: int) -> None:
        """Find the samples: ``part``, else those of the data set that ``source`` names."""
        if self.param.data_param.batch_size < 1:
            raise self.error("batch_size must be at least 1")
        where = f"{self.where}layer '{self.name}' ({self.type}): "
        if part is None:
            found = dataset.resolve(self.param.data_param.source)
            part = found.train if self.phase == pb.TRAIN else found.test
        self.part = part
        self.transform = Transform(self.param.transform_param, self.phase, part.shape, part.mean, seed, where=where)

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.part)

    @property
    def digest(self) -> str:
        """What tells its samples apart from others, cheap to make."""
        return self.part.digest

    @property
    def batch(self) -> int:
        """The batch size of the prototxt."""
        return int(self.param.data_param.batch_size)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, C, h, w) and (N)."""
        batch = self.param.data_param.batch_size
        return [(batch, *self.transform.shape), (batch,)][: len(self.param.top)]

    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Write the samples."""
        images, labels = self.part.take(indices % len(self.part))
        self.transform.apply(images, keys, tops[0])
        if len(tops) > 1:
            tops[1][...] = labels
