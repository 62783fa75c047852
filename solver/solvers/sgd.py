"""SGD with momentum."""

from __future__ import annotations

from batchbrew.solver.solvers.base import SOLVERS, Solver


@SOLVERS.register("SGD")
class SGD(Solver):
    """h = momentum h + rate g; w = w - h. The rate is inside the history, as in Caffe."""

    kernel = "sgd_update"
