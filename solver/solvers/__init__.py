"""Update rules, one file each; importing this package registers them."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from batchbrew.protos import messages as pb
from batchbrew.solver.net import Net
from batchbrew.solver.solvers.base import SOLVERS, Solver

__all__ = ["SOLVERS", "Solver", "make_solver"]

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")


def make_solver(param: pb.SolverParameter, net: Net, where: str = "") -> Solver:
    """Return the solver that ``param.type`` names, for the parameters of ``net``; ``where`` begins error texts."""
    return SOLVERS.get(param.type, where)(param, net, where)
