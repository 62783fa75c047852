"""The ranks of a job: a thin wrapper of an mpi4py communicator, and a world of one rank that needs no MPI."""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

# Set in every rank by Open MPI, by PMI (MPICH, Intel MPI, srun --mpi=pmi2) and by PMIx launchers (srun --mpi=pmix).
_MPI_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_SIZE")

# Unasked, Open MPI sends all of a non-blocking Allreduce in place through one rank, which takes twice as long as its
# blocking one (2 ranks, 1.1 MB: 0.21 ms and 0.10 ms). 3: Rabenseifner's, or a ring where the buffer is too short
# (Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH", 2005).
_ALGORITHM = ("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "3")


class World(ABC):
    """The ranks that run one job.

    Every method is collective unless it says otherwise: all ranks call it, in the same order.
    """

    rank: int
    size: int

    @property
    def host(self) -> str:
        """Return the name of the machine this rank runs on."""
        return socket.gethostname()

    @abstractmethod
    def allreduce_sum(self, buffer: NDArray[Any]) -> None:
        """Replace ``buffer`` on every rank by its sum over the ranks, in place."""

    @abstractmethod
    def begin_sum(self, buffer: NDArray[Any]) -> None:
        """Begin what ``allreduce_sum`` does; ``buffer`` is not to be touched before ``finish_sums``."""

    @abstractmethod
    def advance_sums(self) -> None:
        """Let the sums that were begun get on: MPI libraries may work on them only while they are called.

        Not collective.
        """

    @abstractmethod
    def finish_sums(self) -> None:
        """Wait until all sums that were begun are complete."""

    @abstractmethod
    def bcast(self, value: T) -> T:
        """Return rank 0's ``value`` on every rank."""

    @abstractmethod
    def bcast_array(self, buffer: NDArray[Any]) -> None:
        """Overwrite ``buffer`` on every rank with rank 0's."""

    @abstractmethod
    def gather(self, value: T) -> list[T]:
        """Return the ranks' values in rank order on rank 0, an empty list elsewhere."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait until every rank is here."""

    @abstractmethod
    def abort(self, code: int) -> None:
        """End all ranks at once with exit code ``code``. Not collective."""

    def allreduce_mean(self, buffer: NDArray[Any]) -> None:
        """Replace ``buffer`` on every rank by its mean over the ranks, in place."""
        if self.size > 1:
            self.allreduce_sum(buffer)
            np.divide(buffer, self.size, out=buffer, casting="unsafe")


class OneRank(World):
    """A world of one rank: every collective is the identity.

    >>> OneRank().gather("x")
    ['x']
    """

    rank = 0
    size = 1

    def allreduce_sum(self, buffer: NDArray[Any]) -> None:
        """Leave ``buffer`` as it is."""

    def begin_sum(self, buffer: NDArray[Any]) -> None:
        """Leave ``buffer`` as it is."""

    def advance_sums(self) -> None:
        """Do nothing."""

    def finish_sums(self) -> None:
        """Return at once."""

    def bcast(self, value: T) -> T:
        """Return ``value``."""
        return value

    def bcast_array(self, buffer: NDArray[Any]) -> None:
        """Leave ``buffer`` as it is."""

    def gather(self, value: T) -> list[T]:
        """Return ``[value]``."""
        return [value]

    def barrier(self) -> None:
        """Return at once."""

    def abort(self, code: int) -> None:
        """End the process."""
        raise SystemExit(code)


class MpiWorld(World):
    """The ranks of an mpi4py communicator (by default COMM_WORLD)."""

    def __init__(self, comm: Any = None) -> None:
        os.environ.setdefault(*_ALGORITHM)
        from mpi4py import MPI

        self._mpi = MPI
        self.comm = MPI.COMM_WORLD if comm is None else comm
        self.rank = self.comm.Get_rank()
        self.size = self.comm.Get_size()
        self._sums: list[Any] = []  # the requests of sums under way, which keep their buffers alive

    def allreduce_sum(self, buffer: NDArray[Any]) -> None:
        """Run one Allreduce in place."""
        self.comm.Allreduce(self._mpi.IN_PLACE, buffer, op=self._mpi.SUM)

    def begin_sum(self, buffer: NDArray[Any]) -> None:
        """Begin one Iallreduce in place."""
        self._sums.append(self.comm.Iallreduce(self._mpi.IN_PLACE, buffer, op=self._mpi.SUM))

    def advance_sums(self) -> None:
        """Test the sums under way."""
        self._mpi.Request.Testall(self._sums)

    def finish_sums(self) -> None:
        """Wait for the sums under way."""
        self._mpi.Request.Waitall(self._sums)
        self._sums.clear()

    def bcast(self, value: T) -> T:
        """Broadcast a Python value from rank 0."""
        result: T = self.comm.bcast(value, root=0)
        return result

    def bcast_array(self, buffer: NDArray[Any]) -> None:
        """Broadcast a buffer from rank 0 without copying it."""
        self.comm.Bcast(buffer, root=0)

    def gather(self, value: T) -> list[T]:
        """Gather Python values on rank 0."""
        return self.comm.gather(value, root=0) or []

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.comm.Barrier()

    def abort(self, code: int) -> None:
        """Call MPI_Abort."""
        self.comm.Abort(code)


def under_mpi() -> bool:
    """Return whether an MPI launcher started this process."""
    return any(name in os.environ for name in _MPI_VARIABLES)


def find_world() -> World:
    """Return the world this process was started in; MPI is initialised only if a launcher started it."""
    return MpiWorld() if under_mpi() else OneRank()
