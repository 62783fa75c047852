"""Data: samples of a data set, an LMDB or a LevelDB."""

from __future__ import annotations

from batchbrew.solver.data import dataset
from batchbrew.solver.data.order import Order
from batchbrew.solver.data.part import Samples
from batchbrew.solver.data.records import Records
from batchbrew.solver.layer import LAYERS
from batchbrew.solver.layers.samples import PictureLayer


@LAYERS.register("Data")
class Data(PictureLayer):
    """Samples of a data set: transformed pictures (N, C, h, w) and, with a second top, labels (N)."""

    tops = (1, 2)

    def open(self, part: Samples | None, seed: int) -> None:
        """Find the samples: ``part``, else those that ``source`` names, in the order of the file."""
        p, transform = self.param.data_param, self.param.transform_param
        self.check(p.batch_size, p.source if part is None else "given")
        if part is None:
            with self.placed():
                part = dataset.open_samples(p.source, self.phase, p.backend if p.HasField("backend") else None)
        if isinstance(part, Records) and (transform.force_color or transform.force_gray):
            part = part.forced(transform.force_color)
        self.read(part, Order(len(part)), seed)

    @property
    def batch(self) -> int:
        """The batch size of the prototxt."""
        return int(self.param.data_param.batch_size)
