"""The known data sets, one file each; importing this package enters all of them in `SOURCES`."""

from __future__ import annotations

import importlib
import pkgutil

from batchbrew.solver.data.sources.base import SOURCES, Download, Raw, Source

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["SOURCES", "Download", "Raw", "Source"]
