"""Equal shares."""

from __future__ import annotations

from batchbrew.runner.balance.base import BALANCERS, Balancer, Speeds
from batchbrew.runner.order import cut


@BALANCERS.register("equal")
class Equal(Balancer):
    """Give every node the same share; the first nodes take one more where the batch does not divide.

    >>> Equal().shares(10, [1.0, 1.0, 1.0])
    [4, 3, 3]
    """

    def shares(self, batch: int, speeds: Speeds) -> list[int]:
        """Return ``batch`` cut into ``len(speeds)`` counts that differ by at most one."""
        return cut(batch, len(speeds))
