"""Stop after a number of passes over the training set."""

from __future__ import annotations

import math

from batchbrew.runner.history import History
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.stopping.base import STOP_RULES, StopRule


@STOP_RULES.register("epochs")
class Epochs(StopRule):
    """Stop at the first update that completes ``epochs`` passes over the training set."""

    order = 61
    is_limit = True

    def __init__(self, epochs: float, batch: int) -> None:
        self.epochs = epochs
        self.batch = batch

    @classmethod
    def of(cls, spec: RunSpec) -> Epochs | None:
        """Return the rule for ``stop.epochs``."""
        return cls(spec.stop.epochs, spec.batch) if spec.stop.epochs is not None else None

    def _missing(self, history: History) -> float:
        return round(self.epochs * history.train_samples) - history.samples

    def verdict(self, history: History) -> str | None:
        """Stop at the limit."""
        return f"{history.epoch:.6g} epochs" if self._missing(history) <= 0 else None

    def updates_left(self, history: History) -> int:
        """Return what is left to the limit."""
        return math.ceil(self._missing(history) / self.batch)
