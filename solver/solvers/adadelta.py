"""AdaDelta: steps of the size of recent steps (Zeiler, 2012)."""

from __future__ import annotations

from batchbrew.solver.solvers.base import SOLVERS, Solver


@SOLVERS.register("AdaDelta")
class AdaDelta(Solver):
    """d = g sqrt((delta + k) / (delta + h)), h and k running means of g^2 and d^2; w = w - rate d.

    A running mean of x is momentum times the old one plus (1 - momentum) x.
    """

    histories = 2
    kernel = "adadelta_update"
