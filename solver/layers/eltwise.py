"""Eltwise: the sum, product or maximum of several blobs, element by element."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer

PROD, SUM, MAX = pb.EltwiseParameter.PROD, pb.EltwiseParameter.SUM, pb.EltwiseParameter.MAX


@LAYERS.register("Eltwise")
class Eltwise(Layer):
    """Bottoms of one shape, combined element by element: SUM (each times its ``coeff``), PROD, MAX.

    Where the first two bottoms are equal the second has the maximum; a later one must exceed what came before.
    """

    bottoms = (2, None)
    keeps_top = True

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check the coefficients."""
        p, count = self.param.eltwise_param, len(bottoms)
        if p.coeff and p.operation == PROD:
            raise self.error("coeff is for SUM only, not for PROD")
        if len(p.coeff) not in (0, count):
            raise self.error(f"give no coeff, or one for each of the {count} bottoms (found {len(p.coeff)})")
        self.operation: int = p.operation
        self.coeff: list[float] = list(p.coeff) or [1.0] * count

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the shape of all bottoms."""
        if len(set(bottoms)) > 1:
            raise self.error(f"all bottoms must have one shape, found {', '.join(map(str, bottoms))}")
        return [bottoms[0]]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Combine the first two, then the result with each of the others."""
        x, y, factor = bottom[0].data, top[0].data, self.coeff[0]
        if self.operation == MAX:
            self.winner = build.scratch(f"{self.name}.winner", y.shape)
        for i in range(1, len(bottom)):
            z = bottom[i].data
            if self.operation == SUM:
                build.op("eltwise_sum", x, z, y, factor, self.coeff[i])
            elif self.operation == PROD:
                build.op("eltwise_product", x, z, y)
            else:
                build.op("eltwise_max", x, z, y, self.winner, i)
            x, factor = y, 1.0

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = coeff dy, dy times the other bottoms, or dy where x is the maximum."""
        dy = top[0].diff
        for i, blob in enumerate(bottom):
            if not needed[i]:
                continue
            if self.operation == SUM:
                build.op("scaled", dy, blob.diff, self.coeff[i])
            elif self.operation == MAX:
                build.op("eltwise_max_backward", self.winner, dy, blob.diff, i)
            elif self.param.eltwise_param.stable_prod_grad:
                _multiply(build, [*(other.data for other in bottom if other is not blob), dy], blob.diff)
            else:
                build.op("eltwise_quotient", top[0].data, blob.data, blob.diff)
                build.op("eltwise_product", blob.diff, dy, blob.diff)


def _multiply(build: Builder, factors: Sequence[Array], product: Array) -> None:
    """Write down the product of two or more arrays."""
    x = factors[0]
    for factor in factors[1:]:
        build.op("eltwise_product", x, factor, product)
        x = product
