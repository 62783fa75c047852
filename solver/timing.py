"""How long each layer of a net takes, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from batchbrew.solver.net import Net


@dataclass(frozen=True)
class LayerTime:
    """One layer: mean seconds of a pass over one batch, and multiply-adds of one (0 where it does no arithmetic)."""

    name: str
    type: str
    forward: float
    backward: float
    multiply_adds: int
    backward_passes: int  # how often the backward pass costs as much as the forward pass

    @property
    def forward_gflops(self) -> float:
        """Return 10^9 floating-point operations a second forward, a multiply-add counted as two."""
        return 2e-9 * self.multiply_adds / self.forward if self.forward > 0 else 0.0

    @property
    def backward_gflops(self) -> float:
        """Return the same backward."""
        return 2e-9 * self.multiply_adds * self.backward_passes / self.backward if self.backward > 0 else 0.0


@dataclass(frozen=True)
class Timing:
    """The times of all layers, and the seconds of each whole iteration."""

    layers: list[LayerTime]
    forward: float
    backward: float
    iterations: list[float]


def warm_up(net: Net) -> float:
    """Run ``net`` forward and backward once; return its loss."""
    net.whole.forward()
    loss = net.total_loss
    net.whole.backward()
    return loss


def time_layers(
    net: Net, iterations: int, clock: Callable[[], float], tell: Callable[[int, float], None] | None = None
) -> Timing:
    """Run ``net`` forward and backward ``iterations`` times, layer by layer.

    ``clock`` returns seconds; ``tell(iteration, seconds)`` is called after each, counted from 1.
    """
    steps = net.whole.steps()
    spent = np.zeros((len(steps), 2))
    each = []
    for iteration in range(iterations):
        begin = clock()
        for i, (forward, _) in enumerate(steps):
            start = clock()
            forward()
            spent[i, 0] += clock() - start
        for i in reversed(range(len(steps))):
            start = clock()
            steps[i][1]()
            spent[i, 1] += clock() - start
        each.append(clock() - begin)
        if tell is not None:
            tell(iteration + 1, each[-1])
    spent /= max(1, iterations)
    rows = [_row(net, i, float(seconds[0]), float(seconds[1])) for i, seconds in enumerate(spent)]
    return Timing(rows, float(spent[:, 0].sum()), float(spent[:, 1].sum()), each)


def _row(net: Net, i: int, forward: float, backward: float) -> LayerTime:
    wired, layer = net.wiring, net.layers[i]
    bottoms, tops = ([wired.shapes[t.number] for t in side[i]] for side in (wired.bottoms, wired.tops))
    passes = any(p.lr_mult for p in layer.parameters) + any(wired.needs[i]) if wired.runs[i] else 0
    return LayerTime(layer.name, layer.type, forward, backward, layer.multiply_adds(bottoms, tops), passes)
