"""Nesterov's accelerated gradient."""

from __future__ import annotations

from batchbrew.solver.solvers.base import SOLVERS, Solver


@SOLVERS.register("Nesterov")
class Nesterov(Solver):
    """h' = momentum h + rate g; w = w - (1 + momentum) h' + momentum h."""

    kernel = "nesterov_update"
