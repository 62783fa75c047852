"""MVN: mean-variance normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.views import legacy_shape


@LAYERS.register("MVN")
class MVN(Layer):
    """(x - mean) / (standard deviation + eps), both of each channel, or with ``across_channels`` of each sample.

    The top has 4 axes whatever the bottom has. As in Caffe, backward divides by the same number.
    """

    keeps_top = True

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, C, H, W)."""
        n, c, h, w = legacy_shape(self, bottoms[0])
        self.groups, self.size = (n, c * h * w) if self.param.mvn_param.across_channels else (n * c, h * w)
        return [(n, c, h, w)]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Normalise; the deviations are kept."""
        p = self.param.mvn_param
        self.deviation = build.scratch(f"{self.name}.deviation", (self.groups,))
        build.op(
            "mvn_forward",
            bottom[0].data,
            top[0].data,
            self.deviation,
            self.size,
            int(p.normalize_variance),
            p.eps,
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = (dy - mean(dy) - y mean(y dy)) / (deviation + eps)."""
        if needed[0]:
            variance = int(self.param.mvn_param.normalize_variance)
            build.op("mvn_backward", top[0].data, top[0].diff, bottom[0].diff, self.deviation, self.size, variance)
