"""SGD with momentum."""

from __future__ import annotations

from batchbrew.solver.blob import Array
from batchbrew.solver.kernels import Call
from batchbrew.solver.parameter import Parameter
from batchbrew.solver.solvers.base import SOLVERS, Solver


@SOLVERS.register("SGD")
class SGD(Solver):
    """h = momentum h + rate g; w = w - h. The rate is inside the history, as in Caffe."""

    def update(self, parameter: Parameter, values: Array, grads: Array, history: list[Array]) -> Call:
        """Return the call of sgd_update."""
        return (
            "sgd_update",
            (values, grads, history[0], self.numbers, float(parameter.lr_mult), float(parameter.decay_mult)),
        )
