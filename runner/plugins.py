"""Import every module of a folder, so that adding a file is all that adding an entry takes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable


def import_all(package: str, path: Iterable[str]) -> None:
    """Import all modules of ``package`` (found under ``path``); each enters itself in its registry."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
