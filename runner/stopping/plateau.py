"""Stop when the result no longer improves."""

from __future__ import annotations

from batchbrew.runner.history import History
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.stopping.base import STOP_RULES, StopRule


@STOP_RULES.register("plateau")
class PlateauReached(StopRule):
    """Stop after ``patience`` evaluations in a row none of which beat the best before by more than ``delta``."""

    order = 20

    def __init__(self, patience: int, delta: float) -> None:
        self.patience = patience
        self.delta = delta

    @classmethod
    def of(cls, spec: RunSpec) -> PlateauReached | None:
        """Return the rule for ``stop.plateau``."""
        plateau = spec.stop.plateau
        return cls(plateau.patience, plateau.delta) if plateau is not None else None

    def verdict(self, history: History) -> str | None:
        """Count the evaluations since the last real improvement."""
        sign = 1.0 if history.metric == "accuracy" else -1.0
        best, since = float("-inf"), 0
        for value in history.values():
            if sign * value > best + self.delta:
                best, since = sign * value, 0
            else:
                since += 1
        if since < self.patience:
            return None
        return f"no {history.metric} better than {sign * best:.4g} in {since} evaluations"
