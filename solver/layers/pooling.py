"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.geometry import single_pair


@LAYERS.register("Pooling")
class Pooling(Layer):
    """Take the maximum or the average over windows of pictures (N, C, H, W).

    Rows out = ceil((H + 2 pad - kernel) / stride) + 1 (floor with round_mode FLOOR); with padding, a last window that
    would start beyond picture and left padding is dropped.
    """

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read method and geometry."""
        p = self.param.pooling_param
        if len(bottoms[0]) != 4:
            raise self.error(f"needs a bottom (N, C, H, W), found {bottoms[0]}")
        if p.pool == pb.PoolingParameter.STOCHASTIC:
            raise self.error("pool: STOCHASTIC has no implementation on CPUs (Caffe has none either); use MAX or AVE")
        self.maximum = p.pool == pb.PoolingParameter.MAX
        sized = p.HasField("kernel_size") or p.HasField("kernel_h") or p.HasField("kernel_w")
        if p.global_pooling == sized:
            raise self.error("give either a kernel size or global_pooling: true")
        self.kernel = single_pair(self, p, "kernel_size", "kernel")
        self.stride = single_pair(self, p, "stride", "stride")
        self.pad = single_pair(self, p, "pad", "pad")
        if p.global_pooling and (self.pad != (0, 0) or self.stride != (1, 1)):
            raise self.error("global_pooling takes pad 0 and stride 1")
        if min(self.stride) < 1 or (not p.global_pooling and min(self.kernel) < 1):
            raise self.error(f"kernel and stride must be at least 1 (found {self.kernel}, {self.stride})")
        if not p.global_pooling and (self.pad[0] >= self.kernel[0] or self.pad[1] >= self.kernel[1]):
            raise self.error(f"pad {self.pad} must be smaller than the kernel {self.kernel}")

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, C, rows, columns)."""
        p = self.param.pooling_param
        n, c, *picture = bottoms[0]
        if p.global_pooling:
            self.kernel = (picture[0], picture[1])
        out = []
        for size, kernel, stride, pad in zip(picture, self.kernel, self.stride, self.pad, strict=True):
            room = size + 2 * pad - kernel
            if room < 0:
                raise self.error(f"kernel {kernel} is larger than the padded input ({size} + 2 x {pad})")
            steps = room // stride if p.round_mode == pb.PoolingParameter.FLOOR else -(-room // stride)
            if max(self.pad) and steps * stride >= size + pad:
                steps -= 1
            if steps * stride >= size + pad:
                raise self.error(
                    f"the last window would start behind the picture (size {size}, kernel {kernel}, stride {stride}); "
                    f"use round_mode: FLOOR"
                )
            out.append(steps + 1)
        return [(n, c, *out)]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Pool; the places of the maxima are kept."""
        geometry = (*self.kernel, *self.stride, *self.pad)
        if self.maximum:
            self.mask = build.scratch(f"{self.name}.mask", top[0].shape, np.int32)
            build.op("pool_max_forward", bottom[0].data, top[0].data, self.mask, *geometry)
        else:
            build.op("pool_ave_forward", bottom[0].data, top[0].data, *geometry)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Send the gradient back to the maxima, or evenly over each window."""
        if not needed[0]:
            return
        geometry = (*self.kernel, *self.stride, *self.pad)
        if self.maximum:
            build.op("pool_max_backward", bottom[0].diff, top[0].diff, self.mask, *geometry)
        else:
            build.op("pool_ave_backward", bottom[0].diff, top[0].diff, *geometry)
