"""How a global batch is cut into one share a node."""

from batchbrew.runner.balance.base import BALANCERS, Balancer, Speeds
from batchbrew.runner.plugins import import_all

import_all(__name__, __path__)

__all__ = ["BALANCERS", "Balancer", "Speeds"]
