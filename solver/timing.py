"""How long each layer of a net takes, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from batchbrew.solver.blob import Shape
from batchbrew.solver.compiled import Span
from batchbrew.solver.net import Net
from batchbrew.solver.roofline import Limit, Machine


@dataclass(frozen=True)
class PassTime:
    """One layer in one direction: mean seconds of a pass over one batch, the operations it does and bytes it moves.

    A multiply-add is two operations. Bytes are the least there can be: each array read or written once, and none where
    the layer has nothing to do. Forward: data of bottoms and tops, values of parameters. Backward: gradients of tops
    and of the bottoms that want them, for those also values of parameters; where parameters learn, data of bottoms and
    sums of gradients.
    """

    seconds: float
    flops: int
    bytes: int

    @property
    def gflops(self) -> float:
        """Return 10^9 floating-point operations a second."""
        return 1e-9 * self.flops / self.seconds if self.seconds > 0 else 0.0

    @property
    def gigabytes(self) -> float:
        """Return 10^9 bytes a second."""
        return 1e-9 * self.bytes / self.seconds if self.seconds > 0 else 0.0

    def limit(self, machine: Machine) -> Limit | None:
        """Return what of ``machine`` bounds this pass, and how near it came to that."""
        return machine.limit(self.flops, self.bytes, self.seconds)


@dataclass(frozen=True)
class LayerTime:
    """One layer in both directions."""

    name: str
    type: str
    forward: PassTime
    backward: PassTime


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
    compiled = net.whole.compiled
    bottoms, tops = ([compiled.tensors[t.number].shape for t in side[i]] for side in (wired.bottoms, wired.tops))
    width = net.dtype.itemsize
    flops = 2 * layer.multiply_adds(bottoms, tops)
    values = width * sum(p.count for p in layer.parameters)
    there = width * _count(bottoms + tops) + values
    learning = [p for k, p in enumerate(layer.parameters) if layer.learns(k)]
    wanted = [shape for shape, needed in zip(bottoms, wired.needs[i], strict=True) if needed]
    back = width * _count(tops + wanted) + (values if wanted else 0)
    if learning:
        back += width * _count(bottoms) + sum(p.grads.itemsize * p.count for p in learning)
    ways = bool(learning) + bool(wanted)  # each costs as much as the forward pass
    return LayerTime(
        layer.name,
        layer.type,
        _pass(compiled.forward[i], forward, flops, there),
        _pass(compiled.backward[i], backward, flops * ways, back),
    )


def _pass(span: Span, seconds: float, flops: int, size: int) -> PassTime:
    works = span[0] < span[1]
    return PassTime(seconds, flops if works else 0, size if works else 0)


def _count(shapes: Sequence[Shape]) -> int:
    return sum(map(prod, shapes))
