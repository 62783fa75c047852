"""Which gradients are complete when, while a net goes backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from batchbrew.solver.parameter import Flat, Parameter
from batchbrew.solver.wiring import Wiring

Ready = Callable[[int, int], None]  # told that gradients start to stop are complete


class Range(NamedTuple):
    """Gradients that are complete once ``layer`` has run backward; its number, and the first and past the last."""

    layer: int
    start: int
    stop: int


def ready_ranges(net: Wiring, flat: Flat) -> list[Range]:
    """Return the ranges of ``flat.grads`` in the order they become complete: from the end to 0, none empty.

    They follow from the net alone, so they are the same on all ranks whatever samples these have. A shared parameter
    is complete when the first of its layers has run backward, which is the last to; one that no layer adds to is
    complete from the start. The memory between two parameters goes with the one before it.
    """
    completes: dict[Parameter, int] = {}  # the number of the first layer that adds to it
    for i in reversed(range(len(net.layers))):
        if net.runs[i]:
            completes |= {p.owner or p: i for p in net.layers[i].parameters}
    ranges: list[Range] = []
    layer, stop = len(net.layers) - 1, flat.size
    for parameter in reversed(flat.parameters):
        layer = min(layer, completes.get(parameter, layer))
        if ranges and ranges[-1].layer == layer:
            stop = ranges.pop().stop
        ranges.append(Range(layer, parameter.start, stop))
        stop = parameter.start
    return ranges
