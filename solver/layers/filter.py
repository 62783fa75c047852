"""Filter: only the rows that a selector names."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.views import refuse


@LAYERS.register("Filter")
class Filter(Layer):
    """Pass on the rows of all bottoms but the last whose number in the last, the selector, is not 0; there may be none.

    The shapes of the tops follow the selector from the first forward pass on; before it they are those of the bottoms.
    """

    bottoms = (2, None)
    tops = (1, None)
    dynamic = True

    @property
    def cuttable(self) -> bool:
        """False: how many rows remain is known for the whole batch only."""
        return False

    def may_force(self, bottom: int) -> bool:
        """The selector has no gradient."""
        return bottom < len(self.param.top)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the shapes of the bottoms, all rows kept."""
        *blobs, selector = bottoms
        if len(self.param.top) != len(blobs):
            raise self.error(
                f"needs a top for each bottom but the selector ({len(blobs)}, found {len(self.param.top)})"
            )
        if not selector or prod(selector[1:]) != 1:
            raise self.error(f"needs a selector of one number a row, found {selector}")
        if any(shape[:1] != selector[:1] for shape in blobs):
            raise self.error(f"all bottoms must have the {selector[0]} rows of the selector, found {blobs}")
        return blobs

    def reshape_live(self, bottom: Sequence[Blob]) -> list[Shape]:
        """Return the shapes with as many rows as the selector keeps."""
        blobs = self.reshape([blob.shape for blob in bottom])
        kept = int(np.count_nonzero(bottom[-1].data))
        return [(kept, *shape[1:]) for shape in blobs]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = x[selector != 0]."""
        self.kept = build.scratch(f"{self.name}.kept", bottom[-1].shape[:1], np.int64)
        build.op("select_rows", bottom[-1].data, self.kept)
        for x, y in zip(bottom, top, strict=False):
            build.op("filter_forward", x.data, y.data, self.kept)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx[selector != 0] = dy, the other rows 0."""
        if needed[-1]:
            refuse(build, self, "its selector")
        for x, y, wanted in zip(bottom, top, needed, strict=False):
            if wanted:
                build.op("filter_backward", y.diff, x.diff, self.kept)
