"""Stop after a time of training."""

from __future__ import annotations

from batchbrew.runner.history import History
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.stopping.base import STOP_RULES, StopRule


@STOP_RULES.register("seconds")
class Seconds(StopRule):
    """Stop after ``seconds`` of training time; evaluation and saving do not count."""

    order = 62
    is_limit = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    @classmethod
    def of(cls, spec: RunSpec) -> Seconds | None:
        """Return the rule for ``stop.seconds``."""
        return cls(spec.stop.seconds) if spec.stop.seconds is not None else None

    def verdict(self, history: History) -> str | None:
        """Stop at the limit."""
        return f"{history.train_seconds:.3g} s of training" if history.train_seconds >= self.seconds else None

    def updates_left(self, history: History) -> int:
        """Return how many updates fit into nine tenths of the time left, at the speed so far.

        Coming nearer by nine tenths each time keeps the overshoot to about one update without a clock in the loop.
        """
        if not history.update or not history.train_seconds:
            return 1
        return int(0.9 * (self.seconds - history.train_seconds) / (history.train_seconds / history.update))
