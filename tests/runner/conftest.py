from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from runner_support import MPIEXEC, Ranks


def pytest_configure(config):
    config.addinivalue_line("markers", "mpi: starts real ranks with mpiexec, under a time limit")


@pytest.fixture
def ranks(tmp_path):
    if not MPIEXEC.exists():
        pytest.skip("no mpiexec in this environment")
    return Ranks(tmp_path)


@pytest.fixture(autouse=True)
def _no_launcher_variables(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("OMPI_COMM", "PMIX_", "BREW_")):
            monkeypatch.delenv(name)
