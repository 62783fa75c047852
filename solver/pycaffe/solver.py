"""Solvers: the loop of Caffe's solver as objects of pycaffe."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.load import read_solver
from batchbrew.solver.pycaffe import state
from batchbrew.solver.pycaffe.mirror import engines_turn, users_turn
from batchbrew.solver.pycaffe.net import Net, check_file
from batchbrew.solver.pycaffe.tools import NCCL
from batchbrew.solver.stepper import Stepper
from batchbrew.solver.stepper.construction import log_upgrade
from batchbrew.solver.upgrade import Note


class Solver:
    """Trains the net of a solver's prototxt. ``SGDSolver(file)`` and its like take their own rule, whatever the file's.

    ``net`` and ``test_nets`` are live. Test nets share the parameters of ``net`` from the start.
    """

    kind = ""  # the rule; "": the file's

    def __init__(self, solver_file: str | Path) -> None:
        check_file(solver_file)
        notes: list[Note] = []
        param = read_solver(solver_file, notes)
        log_upgrade(notes)
        if self.kind:
            param.type = self.kind
        self._stepper = Stepper(param, solver_file, state.next_seed())

    @cached_property
    def net(self) -> Net:
        """The training net."""
        return Net.of(self._stepper.net, trained=True)

    @cached_property
    def test_nets(self) -> list[Net]:
        """The test nets."""
        return [Net.of(net) for net in self._stepper.test_nets]

    @property
    def iter(self) -> int:
        """Number of updates done."""
        return self._stepper.iter

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self._stepper.lr

    @property
    def param(self) -> pb.SolverParameter:
        """The solver's message, live: max_iter, display, base_lr and others may be changed between steps."""
        return self._stepper.param

    def solve(self, resume_file: str | Path | None = None) -> None:
        """Train up to max_iter, from the start or from a .solverstate, testing and saving as the prototxt says."""
        with engines_turn():
            self._stepper.solve(resume_file)

    def step(self, n: int) -> None:
        """Do ``n`` iterations, testing and saving as the prototxt says."""
        with engines_turn():
            self._stepper.step(n)

    def apply_update(self) -> None:
        """Update the parameters from the gradients as they are; ``iter`` grows by one."""
        with engines_turn():
            self._stepper.apply_update()

    def snapshot(self) -> None:
        """Write model and solver state under snapshot_prefix."""
        with engines_turn():
            self._stepper.snapshot()

    def restore(self, filename: str | Path) -> None:
        """Take up iteration, history and parameters of a .solverstate or .solverstate.h5."""
        with engines_turn():
            self._stepper.restore(filename)

    def share_weights(self, net: Net) -> None:
        """Let ``net`` use the parameters of the training net."""
        net.share_with(self.net)

    def add_callback(
        self, on_start: Callable[[], Any] | NCCL, on_gradients_ready: Callable[[], Any] | None = None
    ) -> None:
        """Have these called in each iteration: before its first pass, and before its update. NCCL stands for two."""
        if isinstance(on_start, NCCL):
            nccl = on_start
            on_start, on_gradients_ready = nccl.on_start, nccl.on_gradients_ready
        if on_gradients_ready is None:
            raise UserError("add_callback needs two functions: on_start and on_gradients_ready")
        self._stepper.add_callback(self._seeing(on_start), self._seeing(on_gradients_ready))

    def _seeing(self, function: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            with users_turn():
                function()

        return call


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    kind = "SGD"


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""

    kind = "Nesterov"


class AdaGradSolver(Solver):
    """AdaGrad."""

    kind = "AdaGrad"


class RMSPropSolver(Solver):
    """RMSProp."""

    kind = "RMSProp"


class AdaDeltaSolver(Solver):
    """AdaDelta."""

    kind = "AdaDelta"


class AdamSolver(Solver):
    """Adam."""

    kind = "Adam"


KINDS = {cls.kind: cls for cls in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)}


def get_solver(filename: str | Path) -> Solver:
    """Return the solver that a prototxt describes, of the class its ``type`` names."""
    check_file(filename)
    return KINDS.get(read_solver(filename).type, Solver)(filename)
