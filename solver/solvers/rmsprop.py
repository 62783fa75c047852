"""RMSProp: rates divided by the running root mean square of the gradient (Tieleman and Hinton, 2012)."""

from __future__ import annotations

from batchbrew.solver.solvers.base import SOLVERS, Solver


@SOLVERS.register("RMSProp")
class RMSProp(Solver):
    """h = rms_decay h + (1 - rms_decay) g^2; w = w - rate g / (sqrt(h) + delta)."""

    kernel = "rmsprop_update"

    def check(self) -> None:
        """Refuse momentum, and a decay that makes no mean."""
        if self.param.momentum:
            raise self.error(f"momentum cannot be used with RMSProp (found {self.param.momentum:g}): leave it out")
        if not 0 <= self.param.rms_decay < 1:
            raise self.error(f"rms_decay must lie in [0, 1) (found {self.param.rms_decay:g})")

    @property
    def second(self) -> float:
        """The decay of the running mean of squares."""
        return self.param.rms_decay
