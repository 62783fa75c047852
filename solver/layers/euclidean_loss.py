"""EuclideanLoss."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.losses import Loss, by_lane
from batchbrew.solver.layers.rows import as_rows


@LAYERS.register("EuclideanLoss")
class EuclideanLoss(Loss):
    """Half the summed squares of the difference of two bottoms, over the number of samples."""

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return ()."""
        if not bottoms[0] or bottoms[0][:1] != bottoms[1][:1] or prod(bottoms[0]) != prod(bottoms[1]):
            raise self.error(f"needs bottoms (N, ...) of one size, found {bottoms[0]} and {bottoms[1]}")
        return [()]

    def may_force(self, bottom: int) -> bool:
        """Both bottoms have a gradient."""
        return True

    def divisor_per_sample(self) -> float | None:
        """Return 1."""
        return 1.0

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """loss = sum (a - b)^2 / 2N."""
        x, z = (blob.shape for blob in bottom)
        self.pictures = x == z and len(x) == 4  # which lie alike, if not in C order
        self.pair = [
            b.data if self.pictures else as_rows(build, b.data, f"{self.name}.{i}", (x[0], prod(x[1:])), fill=True)[0]
            for i, b in enumerate(bottom)
        ]
        build.op(
            "euclidean_forward", *self.pair, by_lane(build, "loss", top[0].data.reshape(1)), self.stat, int(build.sums)
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """da = (a - b) / N, db = -da."""
        for i, sign in ((0, 1.0), (1, -1.0)):
            if needed[i]:
                dx, copied = bottom[i].diff, None
                if not self.pictures:
                    dx, copied = as_rows(build, dx, f"{self.name}.d{i}", self.pair[i].shape, fill=False)
                build.op(
                    "euclidean_backward",
                    *self.pair,
                    dx,
                    top[0].diff.reshape(1),
                    sign,
                    build.factors.get(self.salt, 1.0) if build.sums else 1 / max(1, len(self.pair[0])),
                )
                if copied is not None:
                    build.op("copy", copied, bottom[i].diff)
