"""ImageData: picture files named in a list."""

from __future__ import annotations

from batchbrew.solver.data.image_files import ImageFiles
from batchbrew.solver.data.keys import mix_number
from batchbrew.solver.data.order import Order
from batchbrew.solver.data.part import Samples
from batchbrew.solver.layer import LAYERS
from batchbrew.solver.layers.samples import PictureLayer


@LAYERS.register("ImageData")
class ImageData(PictureLayer):
    """Picture files: transformed (N, C, h, w), blue before green before red, and labels (N)."""

    tops = (2, 2)

    def open(self, part: Samples | None, seed: int) -> None:
        """Read the list; with ``shuffle`` each pass has another order, ``rand_skip`` leaves out some at the start."""
        p = self.param.image_data_param
        self.check(p.batch_size, p.source)
        if bool(p.new_height) != bool(p.new_width):
            raise self.error("new_height and new_width must be set at the same time")
        with self.placed():
            files = ImageFiles(p.source, p.root_folder, p.is_color, (p.new_height, p.new_width))
        drawn = mix_number(seed + self.salt)
        skip = drawn % p.rand_skip if p.rand_skip else 0
        if skip >= len(files):
            raise self.error(f"rand_skip {p.rand_skip}: not enough points to skip, the list has {len(files)}")
        self.read(files, Order(len(files), drawn if p.shuffle else None, skip), seed)

    @property
    def batch(self) -> int:
        """The batch size of the prototxt."""
        return int(self.param.image_data_param.batch_size)
