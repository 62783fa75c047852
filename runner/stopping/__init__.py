"""When a run ends."""

from batchbrew.runner.plugins import import_all
from batchbrew.runner.stopping.base import STOP_RULES, StopRule, Verdict, first_verdict, rules_for, updates_left

import_all(__name__, __path__)

__all__ = ["STOP_RULES", "StopRule", "Verdict", "first_verdict", "rules_for", "updates_left"]
