"""SPP: spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.pooling import Pooling


@LAYERS.register("SPP")
class SPP(Layer):
    """Pool pictures (N, C, H, W) into 1, 4, 16, ... bins and join the results: as many numbers for any size.

    Level l has 2^l x 2^l bins: kernel = stride = ceil(H / 2^l), pad = floor((kernel 2^l - H + 1) / 2), columns
    likewise. Top: (N, C (4^L - 1) / 3) for pyramid_height L; (N, C, 1, 1) for L = 1.
    """

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check method and height."""
        p = self.param.spp_param
        if len(bottoms[0]) != 4:
            raise self.error(f"needs a bottom (N, C, H, W), found {bottoms[0]}")
        if p.pool == pb.SPPParameter.STOCHASTIC:
            raise self.error("pool: STOCHASTIC has no implementation on CPUs (Caffe has none either); use MAX or AVE")
        if p.pyramid_height < 1:
            raise self.error("pyramid_height must be at least 1")
        self.seen: Shape | None = None

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, features)."""
        if bottoms[0] != self.seen:  # the levels keep what their backward needs until the shape changes
            self.seen = bottoms[0]
            self.levels = [self._level(level, bottoms[0]) for level in range(self.param.spp_param.pyramid_height)]
            self.pooled = [level.reshape(bottoms)[0] for level in self.levels]
        n, c, *_ = bottoms[0]
        if len(self.levels) == 1:
            return [(n, c, 1, 1)]
        return [(n, sum(c * rows * cols for _, _, rows, cols in self.pooled))]

    def _level(self, level: int, bottom: Shape) -> Pooling:
        """Return the pooling layer of one level."""
        bins = 2**level
        kernel = [-(-size // bins) for size in bottom[2:]]
        pad = [(k * bins - size + 1) // 2 for k, size in zip(kernel, bottom[2:], strict=True)]
        if any(p >= k for p, k in zip(pad, kernel, strict=True)):
            raise self.error(
                f"level {level} of the pyramid would cut {bottom[2]} x {bottom[3]} into {bins} x {bins} bins of "
                f"{kernel[0]} x {kernel[1]}, some without a pixel; use a smaller pyramid_height or larger pictures"
            )
        pooling = pb.PoolingParameter(
            pool=self.param.spp_param.pool,
            kernel_h=kernel[0],
            kernel_w=kernel[1],
            stride_h=kernel[0],
            stride_w=kernel[1],
            pad_h=pad[0],
            pad_w=pad[1],
        )
        param = pb.LayerParameter(name=f"{self.name}.level{level}", type="Pooling", pooling_param=pooling)
        layer = Pooling(param, self.phase, self.where)
        layer.setup([bottom])
        return layer

    def _places(self, array: Array) -> list[Array]:
        """Return the part of a top's array that each level fills, as (N, C, rows, columns)."""
        if len(self.levels) == 1:
            return [array]
        sizes = [c * rows * cols for _, c, rows, cols in self.pooled]
        starts = accumulate([0, *sizes])
        return [
            array[:, start : start + size].reshape(shape, copy=False)
            for start, size, shape in zip(starts, sizes, self.pooled, strict=False)
        ]

    def _small(self, build: Builder, level: Pooling, shape: Shape) -> Blob:
        """Return the working blob that one level pools into."""
        return Blob(level.name, *(build.scratch(f"{level.name}.{what}", shape) for what in ("data", "diff")))

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Pool at each level."""
        for level, shape, place in zip(self.levels, self.pooled, self._places(top[0].data), strict=True):
            small = self._small(build, level, shape)
            level.forward(build, bottom, [small])
            build.op("copy", small.data, place)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Add up the gradients of the levels."""
        if not needed[0]:
            return
        for i, (level, shape) in enumerate(zip(self.levels, self.pooled, strict=True)):
            small = self._small(build, level, shape)
            build.op("copy", self._places(top[0].diff)[i], small.diff)
            target = build.scratch(f"{self.name}.dx", bottom[0].shape) if i else bottom[0].diff
            level.backward(build, [Blob(self.name, bottom[0].data, target)], [small], [True])
            if i:
                build.op("add", target, bottom[0].diff)
