"""Sums over samples beside the gradients: of losses and accuracies, and of what to divide by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from batchbrew.solver.blob import Array, Blob
from batchbrew.solver.layer import Layer
from batchbrew.solver.layers.losses import Loss
from batchbrew.solver.wiring import Wiring


class Statistics:
    """What the losses and accuracies of a net add up to while samples are run.

    ``sums`` float64 [n + 1, 2] holds (sum, count) of each of the n statistics and at last (samples, samples); for a net
    that cannot be cut (``uncut``), (sum, passes) of each output and of the total loss. ``named``: live views by name.
    """

    def __init__(self, net: Wiring, uncut: bool) -> None:
        counted: list[tuple[str, Layer | None]]
        if uncut:
            counted = [(name, None) for name in net.outputs if not net.shape_of(name)]
        else:
            counted = [(tops[0].name, x) for x, tops in zip(net.layers, net.tops, strict=True) if x.statistic]
        self._uncut = uncut
        self.sums = np.zeros((len(counted) + 1, 2))
        self.named: dict[str, Array] = {name: pair for (name, _), pair in zip(counted, self.sums, strict=False)}
        self._rows = [name for name, _ in counted]
        for (_, layer), pair in zip(counted, self.sums, strict=False):
            if layer is not None:
                layer.stat = pair
        self._losses = [
            (layer, net.weights[tops[0].number])
            for layer, tops in zip(net.layers, net.tops, strict=True)
            if isinstance(layer, Loss) and tops[0].number in net.weights
        ]
        self.passes = 0  # whole ones since the sums were cleared

    def clear(self) -> None:
        """Set all to 0."""
        self.sums[...] = 0
        self.passes = 0

    def add_pass(self, loss: float, blobs: Mapping[str, Blob]) -> None:
        """Count a whole pass with this total loss; ``blobs`` hold the outputs."""
        self.sums += [*((float(blobs[name].data), 1) for name in self._rows), (loss, 1)]

    @property
    def factors(self) -> dict[int, float]:
        """The factor of each loss within the gradient sums, by its salt; none where there is but one."""
        if len(self._losses) < 2:
            return {}
        return {layer.salt: 1 / (layer.divisor_per_sample() or 1.0) for layer, _ in self._losses}

    @property
    def count(self) -> float:
        """What the gradient sums so far must be divided by: with one loss its own divisor, else samples, or passes."""
        if self.passes:
            return float(self.passes)
        if len(self._losses) == 1 and not self._uncut:
            return float(self._losses[0][0].stat[1])
        return float(self.sums[-1, 1])

    @property
    def mean_loss(self) -> float:
        """The total loss per sample of the sums so far, each loss by its own divisor and weight; or that of a pass."""
        if self._uncut:
            return float(self.sums[-1, 0] / max(self.sums[-1, 1], 1.0))
        return float(sum(weight * layer.stat[0] / max(layer.stat[1], 1.0) for layer, weight in self._losses))
