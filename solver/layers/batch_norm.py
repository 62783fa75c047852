"""BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.grid import grid, spread


@LAYERS.register("BatchNorm")
class BatchNorm(Layer):
    """Normalise each channel (axis 1) to mean 0 and variance 1 over the batch; pair it with Scale for gain and bias.

    Parameters, none of them learnt: running sums of mean (C) and variance (C), and their weight (1); they start at 0,
    move at every training forward, and serve instead of the batch's statistics with use_global_stats (TEST's default).
    """

    in_place = True
    keeps_top = True

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare the running sums."""
        p = self.param.batch_norm_param
        if len(bottoms[0]) < 2:
            raise self.error(f"needs a channel axis, found a bottom {bottoms[0]}")
        self.use_global = p.use_global_stats if p.HasField("use_global_stats") else self.phase == pb.TEST
        if any(spec.lr_mult for spec in self.param.param if spec.HasField("lr_mult")):
            raise self.error("its statistics are not learnt: write lr_mult: 0 in its param entries")
        zero = pb.FillerParameter()
        for count in (bottoms[0][1], bottoms[0][1], 1):
            self.add_parameter((count,), zero, lr_mult=0.0, local=True)

    @property
    def whole_batch(self) -> bool:
        """True while the batch's own statistics serve."""
        return not self.use_global

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape."""
        if bottoms[0][1] != self.parameters[0].count:
            raise self.error(f"was set up for {self.parameters[0].count} channels, found {bottoms[0][1]}")
        return [bottoms[0]]

    @staticmethod
    def _channel_last(array: Array) -> Array:
        array = grid(array, 1)
        return array.swapaxes(1, 2) if array.ndim == 3 else array

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = (x - mean) / sqrt(variance + eps)."""
        p, shape = self.param.batch_norm_param, bottom[0].shape
        x, y = self._channel_last(bottom[0].data), self._channel_last(top[0].data)
        mean = build.scratch("mean", (shape[1],))
        self.inv = build.scratch("inv", (shape[1],))
        running = [q.data for q in self.parameters]
        if self.use_global:
            build.op("batch_norm_running", mean, self.inv, *running, float(p.eps))
        else:
            sums, fraction = self._sums(build, shape), float(p.moving_average_fraction)
            build.op("batch_norm_statistics", x, sums)
            build.op("batch_norm_moments", sums, mean, self.inv, *running, prod(shape[2:]), float(p.eps), fraction)
        build.op("batch_norm_forward", x, y, mean, self.inv)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = (dy - mean(dy) - mean(dy y) y) / sqrt(variance + eps); global statistics are constants."""
        if not needed[0]:
            return
        shape = bottom[0].shape
        if self.use_global:
            build.op("scale_backward_data", grid(top[0].diff, 1), grid(bottom[0].diff, 1), spread(self.inv, 1, shape))
            return
        y, dy, dx = (self._channel_last(a) for a in (top[0].data, top[0].diff, bottom[0].diff))
        sums, means = self._sums(build, shape), build.scratch("means", (2, shape[1]))
        build.op("batch_norm_sums", y, dy, sums)
        build.op("batch_norm_means", sums, means, prod(shape[2:]))
        build.op("batch_norm_backward", y, dy, dx, self.inv, means)

    @staticmethod
    def _sums(build: Builder, shape: Shape) -> Array:
        return build.scratch("sums", (shape[0], 2, shape[1]), np.float64)  # two of each channel of each sample
