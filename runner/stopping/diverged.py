"""Stop when the numbers are no longer finite."""

from __future__ import annotations

from batchbrew.runner.history import History
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.stopping.base import STOP_RULES, StopRule


@STOP_RULES.register("diverged")
class Diverged(StopRule):
    """Stop before the update whose loss or gradients are not finite. Always on."""

    order = 0
    is_limit = True

    @classmethod
    def of(cls, spec: RunSpec) -> Diverged:
        """Return the rule."""
        return cls()

    def verdict(self, history: History) -> str | None:
        """Stop when the strategy met non-finite sums."""
        return f"loss or gradients not finite in update {history.update + 1}" if history.diverged else None
