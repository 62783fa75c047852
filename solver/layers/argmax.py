"""ArgMax: where the largest numbers are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.rows import as_rows
from batchbrew.solver.layers.views import refuse


@LAYERS.register("ArgMax")
class ArgMax(Layer):
    """The places of the ``top_k`` largest numbers, the largest first and of equal ones the later first.

    With ``axis``: along it, places or with ``out_max_val`` the numbers. Without: of each whole sample, (N, 1, top_k),
    or with ``out_max_val`` (N, 2, top_k), places and numbers; axes of size 1 make up for those of the bottom.
    """

    @property
    def cuttable(self) -> bool:
        """False where samples are compared."""
        return self.along != 0

    def may_force(self, bottom: int) -> bool:
        """There is no gradient."""
        return False

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the shapes above."""
        p, x = self.param.argmax_param, bottoms[0]
        whole = not p.HasField("axis")
        self.along: int | None = None if whole else self.axis(p.axis, x)
        n = x[self.axis(0, x)]
        size = prod(x[1:]) if self.along is None else x[self.along]
        if not 1 <= p.top_k <= size:
            raise self.error(f"top_k {p.top_k} is not between 1 and the {size} numbers compared (bottom {x})")
        if self.along is None:
            return [(n, 2 if p.out_max_val else 1, p.top_k, *(1 for _ in x[3:]))]
        return [(*x[: self.along], p.top_k, *x[self.along + 1 :])]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Compare."""
        y, values = top[0].data, self.param.argmax_param.out_max_val
        if self.along is not None:
            build.op("argmax_forward", bottom[0].data, *((None, y) if values else (y, None)), self.along)
            return
        n = bottom[0].shape[0]
        rows, _ = as_rows(build, bottom[0].data, f"{self.name}.x", (n, prod(bottom[0].shape[1:])), fill=True)
        places, numbers = (y[(slice(None), i, slice(None), *(0 for _ in y.shape[3:]))] for i in (0, -1))
        build.op("argmax_forward", rows, places, numbers if values else None, 1)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Nothing can be done."""
        if needed[0]:
            refuse(build, self, "its bottom")
