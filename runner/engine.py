"""What the runner asks of a net and a solver: the two interfaces to the layer engine.

``batchbrew.solver`` provides both. Anything else with these methods can be trained as well: the runner's own tests
use a softmax regression of a few lines, so that they do not depend on the engine they are to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ready = Callable[[int, int], None]


class Flat(Protocol):
    """The parameters, the gradients and the message of a net, each one float32 buffer."""

    @property
    def values(self) -> Floats:
        """Return the parameters [P]."""

    @property
    def message(self) -> Floats:
        """Return [gradients | tail], what one Allreduce sums."""

    def checksum(self) -> str:
        """Return a digest of the parameters."""


class NetLike(Protocol):
    """A net that yields sums over samples.

    ``fed_seconds`` is how long computing had to wait for samples so far, by ``clock``, which the caller sets: what was
    read ahead meanwhile does not count, nor what the compiled program itself takes from pictures in memory.
    """

    clock: Callable[[], float]
    fed_seconds: float

    @property
    def flat(self) -> Flat:
        """Return the flat buffers."""

    @property
    def statistics(self) -> Mapping[str, NDArray[np.float64]]:
        """Return output name -> [sum, count]."""

    @property
    def mean_loss(self) -> float:
        """Return the total training loss per sample of the sums so far."""

    @property
    def whole_batch(self) -> list[str]:
        """Return the names of layers whose result depends on which samples are computed together."""

    def zero_sums(self) -> None:
        """Set gradients, statistics and counts to 0."""

    def expect(self, indices: NDArray[np.int64], epoch: int) -> None:
        """Hear which samples follow those of the next ``accumulate``; they may be read ahead, not all be wanted."""

    def accumulate(self, indices: NDArray[np.int64], epoch: int, ready: Ready | None = None) -> None:
        """Add the sums of these training samples; there may be none.

        With ``ready``, call ``ready(start, stop)`` when the gradients ``message[start:stop]`` are complete, in the same
        ranges and the same order on every rank whatever its samples: from the last gradient to number 0. Statistics
        and count are complete before the first call.
        """

    def evaluate(self, indices: NDArray[np.int64]) -> None:
        """Add the statistics of these samples, forward only."""

    def pack_tail(self) -> None:
        """Write statistics and count into the tail of the message."""

    def unpack_tail(self) -> None:
        """Read statistics and count back from the tail."""

    def sync_local(self, mean: Callable[[NDArray[Any]], None]) -> None:
        """Hand the part of the parameters that differs between ranks to ``mean``, to be averaged over them in place."""


class SolverLike(Protocol):
    """An update rule with its history."""

    iter: int

    @property
    def history(self) -> list[Floats]:
        """Return the flat buffers of the rule's state."""

    def rate(self, iter: int) -> float:
        """Return the policy's learning rate at an iteration."""

    def apply(self, rate: float) -> None:
        """Update the parameters from the sums in the net."""

    def finite(self) -> bool:
        """Return whether loss and gradients are finite."""


def mean_of(statistics: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Return output name -> mean.

    >>> mean_of({"loss": np.array([6.0, 3.0])})
    {'loss': 2.0}
    """
    return {name: float(pair[0] / max(float(pair[1]), 1.0)) for name, pair in statistics.items()}
