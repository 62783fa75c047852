"""Stop when the target is reached."""

from __future__ import annotations

from batchbrew.runner.history import History
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.stopping.base import STOP_RULES, StopRule


@STOP_RULES.register("target")
class TargetReached(StopRule):
    """Stop at the first evaluation whose accuracy (or loss) is at the target or beyond."""

    order = 10

    @classmethod
    def of(cls, spec: RunSpec) -> TargetReached | None:
        """Return the rule if the run has a target."""
        return cls() if spec.target is not None else None

    def verdict(self, history: History) -> str | None:
        """Stop when the last evaluation meets the target."""
        values = history.values()
        if not values or not history.meets_target(values[-1]):
            return None
        return f"{history.metric} {values[-1]:.4g} reached the target {history.target:.4g}"
