"""One file a scheduler; importing this folder registers them all in ``SCHEDULERS``."""

import importlib
import pkgutil

from batchbrew.flux_jobs.schedulers.base import SCHEDULERS, Scheduler

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["SCHEDULERS", "Scheduler"]
