"""WindowData: windows in pictures, a share of them around objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError, did_you_mean
from batchbrew.solver.blob import Shape
from batchbrew.solver.data import images
from batchbrew.solver.data import keys as draw
from batchbrew.solver.data.keys import Keys
from batchbrew.solver.data.part import Samples
from batchbrew.solver.data.transform import MIRROR, read_mean
from batchbrew.solver.data.windows import Cutter, read_windows
from batchbrew.solver.layer import LAYERS, Array
from batchbrew.solver.layers.samples import SampleLayer

WINDOW = 4  # stream of the draws; see keys
MODES = ("warp", "square")


@LAYERS.register("WindowData")
class WindowData(SampleLayer):
    """Windows drawn at random, warped to (N, 3, crop, crop), and their classes (N); background comes first."""

    tops = (2, 2)

    @property
    def cuttable(self) -> bool:
        """Not: the share of foreground is one of the whole batch."""
        return False

    def open(self, part: Samples | None, seed: int) -> None:
        """Read the window file and the mean."""
        p, transform = self.param.window_data_param, self.param.transform_param
        self.check(p.batch_size, p.source)
        self.crop = int(transform.crop_size)
        if self.crop < 1:
            raise self.error("crop_size of transform_param must be at least 1")
        if p.crop_mode not in MODES:
            raise self.error(
                f"unknown crop_mode '{p.crop_mode}'{did_you_mean(p.crop_mode, MODES)} (known: warp, square)"
            )
        if 2 * p.context_pad >= self.crop:
            raise self.error(f"context_pad {p.context_pad} must be less than half of crop_size {self.crop}")
        with self.placed():
            self.windows = read_windows(p.source, p.root_folder, p.fg_threshold, p.bg_threshold)
            self.mean = self._mean()
        inside = self._inside(p.batch_size)
        for wanted, table, what in (
            (inside, self.windows.foreground, "foreground"),
            (p.batch_size - inside, self.windows.background, "background"),
        ):
            if wanted and not len(table):
                raise self.error(f"{p.source} has no {what} windows: look at fg_threshold, bg_threshold, fg_fraction")
        self.cutter = Cutter(self.crop, p.context_pad, p.crop_mode == "square")
        self.seed = np.uint64(draw.mix_number(seed))
        self._files: dict[str, bytes] = {}

    def _inside(self, batch: int) -> int:
        """Return how many windows of a batch are foreground; in float32, as Caffe computes."""
        return int(np.float32(batch) * np.float32(self.param.window_data_param.fg_fraction))

    def _mean(self) -> NDArray[np.float32]:
        """Return what is subtracted, (3, crop, crop), (3, 1, 1) or (1, 1, 1): a mean picture is cut at its centre."""
        transform = self.param.transform_param
        if transform.mean_file and len(transform.mean_value):
            raise UserError("mean_file and mean_value cannot be used together - keep one of them")
        if transform.mean_file:
            mean = read_mean(transform.mean_file)
            off = (mean.shape[-1] - self.crop) // 2
            if mean.ndim != 3 or len(mean) != 3 or off < 0 or mean.shape[1] < off + self.crop:
                raise UserError(
                    f"mean_file '{transform.mean_file}' has shape {mean.shape}, expected 3 channels and at least "
                    f"{self.crop} rows and columns"
                )
            return mean[:, off : off + self.crop, off : off + self.crop]
        if len(transform.mean_value) not in (0, 1, 3):
            raise UserError(f"{len(transform.mean_value)} entries of mean_value for 3 channels - give 1 value or 3")
        return np.array(list(transform.mean_value) or [0], np.float32).reshape(-1, 1, 1)

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.windows)

    @property
    def digest(self) -> str:
        """What tells its window file apart from others."""
        return self.windows.digest

    @property
    def batch(self) -> int:
        """The batch size of the prototxt."""
        return int(self.param.window_data_param.batch_size)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, 3, crop, crop) and (N)."""
        return [(self.batch, 3, self.crop, self.crop), (self.batch,)]

    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Write windows drawn by the keys."""
        keys = keys ^ self.seed
        outside = len(keys) - self._inside(len(keys))
        drawn = draw.draws(keys, WINDOW)
        coins = draw.coin(draw.draws(keys, MIRROR)) & self.param.transform_param.mirror
        tops[0][...] = 0
        for table, rows in (
            (self.windows.background, slice(0, outside)),
            (self.windows.foreground, slice(outside, None)),
        ):
            chosen = table[draw.below(drawn[rows], len(table))]
            tops[1][rows] = chosen[:, 1]
            for out, window, mirrored in zip(tops[0][rows], chosen.tolist(), coins[rows].tolist(), strict=True):
                self._write(out, window, mirrored)

    def _write(self, out: Array, window: list[int], mirrored: bool) -> None:
        path = self.windows.paths[window[0]]
        x1, y1, x2, y2 = window[2:]
        try:
            part, row, column = self.cutter.cut(images.decode(self._content(path), True), (x1, y1, x2, y2), mirrored)
        except (OSError, ValueError) as error:
            raise self.error(f"could not load '{path}' ({getattr(error, 'strerror', None) or error})") from None
        here = (..., slice(row, row + part.shape[1]), slice(column, column + part.shape[2]))
        mean = self.mean[here] if self.mean.shape[1] > 1 else self.mean
        out[here] = (part - mean) * np.float32(self.param.transform_param.scale)

    def _content(self, path: str) -> bytes:
        if not self.param.window_data_param.cache_images:
            return Path(path).read_bytes()
        if path not in self._files:
            self._files[path] = Path(path).read_bytes()
        return self._files[path]
