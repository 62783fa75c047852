"""How the nodes of a set turn samples into updates between two decision points."""

from batchbrew.runner.plugins import import_all
from batchbrew.runner.strategies.base import STRATEGIES, Strategy, Sums

import_all(__name__, __path__)

__all__ = ["STRATEGIES", "Strategy", "Sums"]
