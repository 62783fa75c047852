"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.geometry import single_pair, times


@LAYERS.register("Pooling")
class Pooling(Layer):
    """Take the maximum or the average over windows of pictures (N, C, H, W).

    Rows out = ceil((H + 2 pad - kernel) / stride) + 1 (floor with round_mode FLOOR); where some pad is not 0, a last
    window that would start beyond picture and left padding is dropped. With MAX, a second top holds the place h W + w
    of each maximum, -1 where nothing exceeds -FLT_MAX; no gradient passes through it. STOCHASTIC is for the TEST phase,
    the mean of a window weighted by its own values.
    """

    tops = (1, 2)

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read method and geometry."""
        p = self.param.pooling_param
        if len(bottoms[0]) != 4:
            raise self.error(f"needs a bottom (N, C, H, W), found {bottoms[0]}")
        self.method: int = p.pool
        if self.method == pb.PoolingParameter.STOCHASTIC and self.phase == pb.TRAIN:
            raise self.error("pool: STOCHASTIC has no training on CPUs (Caffe has none either); use MAX or AVE")
        if self.method != pb.PoolingParameter.MAX and len(self.param.top) > 1:
            raise self.error("only pool: MAX has a second top, the places of the maxima")
        sized = p.HasField("kernel_size") or p.HasField("kernel_h") or p.HasField("kernel_w")
        if p.global_pooling == sized:
            raise self.error("give either a kernel size or global_pooling: true")
        self.kernel = single_pair(self, p, "kernel_size", "kernel")
        self.stride = single_pair(self, p, "stride", "stride")
        self.pad = single_pair(self, p, "pad", "pad")
        if p.global_pooling and (self.pad != (0, 0) or self.stride != (1, 1)):
            raise self.error("global_pooling takes pad 0 and stride 1")
        if min(self.stride) < 1 or (not p.global_pooling and min(self.kernel) < 1):
            raise self.error(f"kernel and stride must be at least 1 (found {times(self.kernel)}, {times(self.stride)})")
        if not p.global_pooling and (self.pad[0] >= self.kernel[0] or self.pad[1] >= self.kernel[1]):
            raise self.error(f"pad {times(self.pad)} must be smaller than the kernel {times(self.kernel)}")
        if max(self.pad) and self.method == pb.PoolingParameter.STOCHASTIC:
            raise self.error("pool: STOCHASTIC takes no padding")

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, C, rows, columns)."""
        p = self.param.pooling_param
        n, c, *picture = bottoms[0]
        if p.global_pooling:
            self.kernel = (picture[0], picture[1])
        out = []
        for size, kernel, stride, pad in zip(picture, self.kernel, self.stride, self.pad, strict=True):
            room = size + 2 * pad - kernel
            steps = room // stride if p.round_mode == pb.PoolingParameter.FLOOR else -(-room // stride)
            if max(self.pad) and steps * stride >= size + pad:
                steps -= 1
            out.append(steps + 1)
        if min(out) < 1:
            raise self.error(f"kernel {times(self.kernel)} is larger than the padded input ({times(picture)}, pad "
                             f"{times(self.pad)})")  # fmt: skip
        return [(n, c, *out)] * max(1, len(self.param.top))

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Pool; the places of the maxima are kept."""
        geometry = (*self.kernel, *self.stride, *self.pad)
        if self.method == pb.PoolingParameter.MAX:
            self.mask = build.scratch(f"{self.name}.mask", top[0].shape, np.int32)
            build.op("pool_max_forward", bottom[0].data, top[0].data, self.mask, *geometry)
            if len(top) > 1:
                build.op("pool_mask", self.mask, top[1].data)
        elif self.method == pb.PoolingParameter.AVE:
            build.op("pool_ave_forward", bottom[0].data, top[0].data, *geometry)
        else:
            build.op("pool_stochastic_forward", bottom[0].data, top[0].data, *geometry)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Send the gradient back to the maxima, or evenly over each window."""
        if not needed[0]:
            return
        geometry = (*self.kernel, *self.stride, *self.pad)
        if self.method == pb.PoolingParameter.MAX:
            build.op("pool_max_backward", bottom[0].diff, top[0].diff, self.mask, *geometry)
        elif self.method == pb.PoolingParameter.AVE:
            build.op("pool_ave_backward", bottom[0].diff, top[0].diff, *geometry)
        else:
            raise self.error("pool: STOCHASTIC has no gradient in the TEST phase")
