"""Nesterov's accelerated gradient."""

from __future__ import annotations

from batchbrew.solver.blob import Array
from batchbrew.solver.kernels import Call
from batchbrew.solver.parameter import Parameter
from batchbrew.solver.solvers.base import SOLVERS, Solver


@SOLVERS.register("Nesterov")
class Nesterov(Solver):
    """h' = momentum h + rate g; w = w - (1 + momentum) h' + momentum h."""

    def update(self, parameter: Parameter, values: Array, grads: Array, history: list[Array]) -> Call:
        """Return the call of nesterov_update."""
        return (
            "nesterov_update",
            (values, grads, history[0], self.numbers, float(parameter.lr_mult), float(parameter.decay_mult)),
        )
