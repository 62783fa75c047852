"""Timer and NCCL: what multi-GPU scripts of pycaffe use besides nets and solvers."""

from __future__ import annotations

from typing import Any, NoReturn

from batchbrew.errors import UserError
from batchbrew.glog import seconds


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
    """Stands for the connection between GPUs, which there is none of."""

    def __init__(self, solver: Any = None, uid: bytes = b"") -> None:
        _refuse()

    @staticmethod
    def new_uid() -> bytes:
        """Raise UserError: there are no GPUs to connect."""
        _refuse()


def _refuse() -> NoReturn:
    raise UserError("NCCL connects GPUs, which are not used here: train on many nodes with 'batchbrew train'")
