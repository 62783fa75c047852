"""Update rules, one file each; importing this package registers them."""

from __future__ import annotations

from batchbrew.protos import messages as pb
from batchbrew.solver.net import Net
from batchbrew.solver.solvers import nesterov, sgd
from batchbrew.solver.solvers.base import SOLVERS, Solver

__all__ = ["SOLVERS", "Solver", "make_solver", "nesterov", "sgd"]


def make_solver(param: pb.SolverParameter, net: Net, where: str = "") -> Solver:
    """Return the solver that ``param.type`` names, for the parameters of ``net``; ``where`` begins error texts."""
    return SOLVERS.get(param.type, where)(param, net, where)
