"""The lines of Caffe's log about training and testing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from batchbrew.glog import log, number, seconds
from batchbrew.solver.net import Net

Outputs = list[tuple[str, float]]  # name of the blob and value, one an element


def read_outputs(net: Net) -> Outputs:
    """Return what the outputs of a net hold, element by element."""
    return [(name, float(value)) for name in net.outputs for value in np.ravel(net.blobs[name].data)]


def log_outputs(phase: str, place: str, net: Net, outputs: Outputs) -> None:
    """Write one line an element; those of a loss say what it contributes."""
    for k, (name, value) in enumerate(outputs):
        weight = net.loss_weights.get(name, 0.0)
        share = f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
        log(place, f"    {phase} net output #{k}: {name} = {number(value)}{share}")


class Progress:
    """The lines every ``display`` iterations: the loss as a mean over the last ``average`` ones, the speed between."""

    def __init__(self, display: int, average: int) -> None:
        self._display = display
        self._losses: deque[float] = deque(maxlen=average)
        self._mark: tuple[int, float] | None = None  # iteration and time of the last line

    def restart(self) -> None:
        """Forget the losses so far."""
        self._losses.clear()

    def add(self, loss: float) -> float:
        """Take the loss of an iteration; return the mean of the last ones."""
        self._losses.append(loss)
        return sum(self._losses) / len(self._losses)

    def log(self, iteration: int, loss: float) -> None:
        """Write how fast it goes, and the loss."""
        now = seconds()
        before = self._mark or (iteration, now)
        self._mark = iteration, now
        passed = now - before[1]
        speed = (iteration - before[0]) / passed if passed > 0 else 0.0
        log(
            "solver.cpp:239",
            f"Iteration {iteration} ({number(speed)} iter/s, {number(passed)}s/{self._display} iters), "
            f"loss = {number(loss)}",
        )


def log_ignored(names: Sequence[str]) -> None:
    """Write which layers of a model, or of the training net, a net has not."""
    for name in names:
        log("net.cpp:685", f"Ignoring source layer {name}")
