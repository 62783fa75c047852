"""The nodes that do gradient work now: members of a world."""

from __future__ import annotations

from abc import ABC, abstractmethod

from batchbrew.errors import UserError
from batchbrew.runner.world import World


class NodeSet(ABC):
    """Which ranks of a world are nodes, and how that changes between two segments.

    To add a way for the set to change (parked ranks and ``Comm.Split``, ``MPI_Comm_spawn``, recovery after a dead
    rank), subclass this: keep ``world`` the communicator of exactly the present nodes, and let :meth:`resize`
    return the set to go on with. A resize is only ever asked for between two segments, by all members, with the
    same number; the caller hands the training state to nodes that joined.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def size(self) -> int:
        """Return the number of nodes."""
        return self.world.size

    @property
    def rank(self) -> int:
        """Return this process's place among the nodes."""
        return self.world.rank

    @property
    @abstractmethod
    def members(self) -> tuple[int, ...]:
        """Return the nodes as ranks of the world the job was started in."""

    @abstractmethod
    def resize(self, nodes: int) -> NodeSet:
        """Return the set of ``nodes`` nodes; UserError where this kind of set cannot have that many."""


class FixedNodes(NodeSet):
    """All ranks of a world, for the whole run."""

    @property
    def members(self) -> tuple[int, ...]:
        """Return 0 .. size - 1."""
        return tuple(range(self.size))

    def resize(self, nodes: int) -> NodeSet:
        """Return the same set; any other number is refused."""
        if nodes != self.size:
            raise UserError(
                f"a run on a fixed set of {self.size} nodes cannot go on with {nodes}: "
                f"start again with --nodes {nodes} --snapshot <its state.h5>"
            )
        return self
