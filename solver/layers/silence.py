"""Silence: takes blobs that nobody reads."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer


@LAYERS.register("Silence")
class Silence(Layer):
    """Nothing comes of its bottoms, which so are no outputs of the net; their gradients are 0."""

    bottoms = (1, None)
    tops = (0, 0)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return nothing."""
        return []

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing to do."""

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = 0."""
        for blob, wanted in zip(bottom, needed, strict=True):
            if wanted:
                build.op("fill", blob.diff, 0.0)
