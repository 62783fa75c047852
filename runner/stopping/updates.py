"""Stop after a number of updates."""

from __future__ import annotations

from batchbrew.runner.history import History
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.stopping.base import STOP_RULES, StopRule


@STOP_RULES.register("updates")
class Updates(StopRule):
    """Stop when ``updates`` updates have been made."""

    order = 60
    is_limit = True

    def __init__(self, updates: int) -> None:
        self.updates = updates

    @classmethod
    def of(cls, spec: RunSpec) -> Updates | None:
        """Return the rule for ``stop.updates``."""
        return cls(spec.stop.updates) if spec.stop.updates is not None else None

    def verdict(self, history: History) -> str | None:
        """Stop at the limit."""
        return f"{history.update} updates" if history.update >= self.updates else None

    def updates_left(self, history: History) -> int:
        """Return what is left to the limit."""
        return self.updates - history.update
