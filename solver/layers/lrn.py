"""LRN: local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer


@LAYERS.register("LRN")
class LRN(Layer):
    """y = x / scale^beta with scale = k + alpha/n sum of x^2 over n = local_size near channels.

    With norm_region WITHIN_CHANNEL, scale = 1 + alpha/n^2 sum over n x n near pixels; k plays no part (Caffe's rule).
    """

    keeps_top = True

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read region, size and numbers."""
        p = self.param.lrn_param
        if len(bottoms[0]) != 4:
            raise self.error(f"needs a bottom (N, C, H, W), found {bottoms[0]}")
        if p.local_size % 2 == 0:
            raise self.error(f"local_size must be odd (found {p.local_size})")
        self.across = p.norm_region == pb.LRNParameter.ACROSS_CHANNELS

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape."""
        return [bottoms[0]]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Normalise; the scale is kept."""
        p = self.param.lrn_param
        self.scale = build.scratch(f"{self.name}.scale", bottom[0].shape)
        x, y = bottom[0].data, top[0].data
        if self.across:
            build.op("lrn_across_forward", x, y, self.scale, p.local_size, float(p.alpha), float(p.beta), float(p.k))
        else:
            build.op("lrn_within_forward", x, y, self.scale, p.local_size, float(p.alpha), float(p.beta))

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = dy scale^-beta - 2 alpha beta / n x (sum over the neighbourhood of dy y / scale)."""
        if needed[0]:
            p = self.param.lrn_param
            ratio = build.scratch(f"{self.name}.ratio", bottom[0].shape)
            build.op(
                f"lrn_{'across' if self.across else 'within'}_backward",
                bottom[0].data,
                top[0].data,
                self.scale,
                top[0].diff,
                bottom[0].diff,
                ratio,
                p.local_size,
                float(p.alpha),
                float(p.beta),
            )
