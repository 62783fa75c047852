"""AdaGrad: rates that fall with the squares of all gradients so far (Duchi et al., 2011)."""

from __future__ import annotations

from batchbrew.solver.solvers.base import SOLVERS, Solver


@SOLVERS.register("AdaGrad")
class AdaGrad(Solver):
    """h = h + g^2; w = w - rate g / (sqrt(h) + delta)."""

    kernel = "adagrad_update"

    def check(self) -> None:
        """Refuse momentum."""
        if self.param.momentum:
            raise self.error(f"momentum cannot be used with AdaGrad (found {self.param.momentum:g}): leave it out")
