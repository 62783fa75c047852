"""The contract of a balancer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from batchbrew.registry import Registry

Speeds = Sequence[float]


class Balancer(ABC):
    """Cut the global batch into shares.

    To add one: a file in ``runner/balance/`` with a class that implements :meth:`shares` and is entered by
    ``@BALANCERS.register("name")``. Gradients, losses and counts are summed over the nodes and divided once by the
    global count, so any shares that sum to the batch give the same update; zeros are allowed.

    Example::

        @BALANCERS.register("first")
        class First(Balancer):
            def shares(self, batch: int, speeds: Speeds) -> list[int]:
                return [batch] + [0] * (len(speeds) - 1)
    """

    @abstractmethod
    def shares(self, batch: int, speeds: Speeds) -> list[int]:
        """Return one count a node (as many as ``speeds``, in samples a second) that sum to ``batch``."""


BALANCERS: Registry[type[Balancer]] = Registry("balancer")
