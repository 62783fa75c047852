"""BatchReindex: rows of a batch in another order."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.embed import check_index
from batchbrew.solver.layers.views import refuse


@LAYERS.register("BatchReindex")
class BatchReindex(Layer):
    """Row int(index[i]) of the first bottom for each number of the second, which may repeat or leave out rows."""

    bottoms = (2, 2)

    @property
    def cuttable(self) -> bool:
        """False: the numbers are those within the whole batch."""
        return False

    def may_force(self, bottom: int) -> bool:
        """Numbers of rows have no gradient."""
        return bottom == 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return as many rows as there are numbers."""
        x, index = bottoms
        if len(index) != 1 or not x:
            raise self.error(f"needs bottoms (N, ...) and (M), found {x} and {index}")
        return [(index[0], *x[1:])]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = x[index]."""
        build.call(check_index, self, bottom[1].data, bottom[0].shape[0])
        build.op("gather_rows", bottom[0].data, bottom[1].data, None, top[0].data)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx[index] += dy."""
        if needed[1]:
            refuse(build, self, "the numbers of rows")
        if needed[0]:
            build.op("fill", bottom[0].diff, 0.0)
            build.op("scatter_rows", top[0].diff, bottom[1].data, bottom[0].diff)
