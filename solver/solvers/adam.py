"""Adam: running means of the gradient and of its square (Kingma and Ba, 2015)."""

from __future__ import annotations

from math import sqrt

from batchbrew.solver.solvers.base import SOLVERS, Solver


@SOLVERS.register("Adam")
class Adam(Solver):
    """m = momentum m + (1 - momentum) g; v = momentum2 v + (1 - momentum2) g^2; w = w - step m / (sqrt(v) + delta).

    step = rate sqrt(1 - momentum2^t) / (1 - momentum^t) in update t = 1, 2, ...: both means begin at 0.
    """

    histories = 2
    kernel = "adam_update"

    def check(self) -> None:
        """Refuse a decay that makes no mean."""
        if not 0 <= self.param.momentum2 < 1:
            raise self.error(f"momentum2 must lie in [0, 1) (found {self.param.momentum2:g})")

    @property
    def second(self) -> float:
        """The decay of the running mean of squares."""
        return self.param.momentum2

    def step(self, rate: float) -> float:
        """Return the learning rate with the correction for means that began at 0."""
        done = self.iter + 1
        return float(rate * sqrt(1 - self.second**done) / (1 - self.param.momentum**done))
