"""Timer and NCCL: what multi-GPU scripts of pycaffe use besides nets and solvers."""

from __future__ import annotations

from typing import Any

from batchbrew.errors import UserError
from batchbrew.glog import seconds
from batchbrew.solver.pycaffe.state import solver_count


class Timer:
    """A stop watch: ``start()``, ``stop()``, then ``ms`` milliseconds between the two."""

    def __init__(self) -> None:
        self._begin = self._end = 0.0

    def start(self) -> None:
        """Start, or start again."""
        self._begin = self._end = seconds()

    def stop(self) -> None:
        """Stop."""
        self._end = seconds()

    @property
    def ms(self) -> float:
        """Milliseconds between start and stop."""
        return 1000 * (self._end - self._begin)


def has_nccl() -> bool:
    """Return False: there are no GPUs to connect."""
    return False


class NCCL:
    """Stands for the connection of a solver with those on other GPUs: with none of them, so that it does nothing.

    A script for several GPUs thus runs with one; where it has told ``set_solver_count`` of more, UserError is raised.
    """

    def __init__(self, solver: Any, uid: bytes = b"") -> None:
        if solver_count() > 1:
            raise UserError(
                f"NCCL would connect {solver_count()} solvers on GPUs, which are not used here: give the script one "
                "device, or train on several nodes with 'batchbrew train'"
            )

    @staticmethod
    def new_uid() -> bytes:
        """Return the name of the connection."""
        return b"batchbrew"

    def bcast(self) -> None:
        """Do nothing: nobody else needs the parameters."""

    def on_start(self) -> None:
        """Do nothing: a callback of Solver.add_callback."""

    def on_gradients_ready(self) -> None:
        """Do nothing: there are no other gradients to add. A callback of Solver.add_callback."""

    def __call__(self, layer: int) -> None:
        """Do nothing: a callback of Net.after_backward."""
