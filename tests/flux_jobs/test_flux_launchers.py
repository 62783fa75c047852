"""Launchers: their words, and what real ones make of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from batchbrew.flux_jobs.launchers import LAUNCHERS, Pinning

PINNED, TWO, FREE = Pinning(), Pinning(threads=2, ranks_per_machine=4), Pinning(threads=2, bind=False)
CROWDED = Pinning(oversubscribe=True)

GOLDEN = {
    "mpiexec": ["mpiexec -n 3"] * 4,
    "mpirun": [
        "mpirun --map-by node:PE=1 --bind-to core -n 3",
        "mpirun --map-by node:PE=2 --bind-to core -n 3",
        "mpirun --map-by node --bind-to none -n 3",
        "mpirun --map-by node:OVERSUBSCRIBE --bind-to none -n 3",
    ],
    "mpiexec.hydra": [
        "mpiexec.hydra -bind-to core:1 -n 3",
        "mpiexec.hydra -ppn 4 -bind-to core:2 -n 3",
        "mpiexec.hydra -bind-to none -n 3",
        "mpiexec.hydra -bind-to none -n 3",
    ],
    "srun": [
        "srun --cpus-per-task=1 --cpu-bind=cores --kill-on-bad-exit=1 -n 3",
        "srun --cpus-per-task=2 --cpu-bind=cores --kill-on-bad-exit=1 -n 3",
        "srun --cpus-per-task=2 --cpu-bind=none --kill-on-bad-exit=1 -n 3",
        "srun --cpus-per-task=1 --cpu-bind=none --kill-on-bad-exit=1 --overcommit -n 3",
    ],
}


@pytest.mark.parametrize("name", LAUNCHERS.names())
def test_commands(name: str) -> None:
    launcher = LAUNCHERS.get(name)()
    assert [" ".join(launcher.command(3, pinning)) for pinning in (PINNED, TWO, FREE, CROWDED)] == GOLDEN[name]
    assert launcher.command(3) == launcher.command(3, Pinning())


def test_srun_hands_on_the_cores_of_a_rank() -> None:
    assert LAUNCHERS.get("srun")().environment(TWO) == {"SRUN_CPUS_PER_TASK": "2"}


def test_mpiexec_is_never_pinned() -> None:
    variables = LAUNCHERS.get("mpiexec")().environment(PINNED)
    assert variables["PRTE_MCA_hwloc_default_binding_policy"] == "none"
    assert not any("oversubscribe" in text for item in variables.items() for text in item)


def started(name: str, ranks: int, pinning: Pinning) -> list[int]:
    """Return how many cores each rank of a real start may use."""
    folder = Path(sys.executable).parent
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    launcher = LAUNCHERS.get(name)()
    if shutil.which(launcher.prefix(pinning)[0], path=path) is None:
        pytest.skip(f"{name} is not installed")
    environment = {**os.environ, **launcher.environment(pinning), "PATH": path}
    environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    code = "import os; print('cores', len(os.sched_getaffinity(0)))"
    ended = subprocess.run(
        [*launcher.command(ranks, pinning), sys.executable, "-I", "-S", "-c", code],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [int(cores) for cores in re.findall(r"cores (\d+)", ended.stdout)]


CORES = len(os.sched_getaffinity(0))
SEVERAL = pytest.mark.skipif(CORES < 2, reason="pinning shows on two cores or more only")


@SEVERAL
@pytest.mark.parametrize("name", ["mpirun", "mpiexec.hydra"])
def test_pinned_ranks_get_their_cores(name: str) -> None:
    assert started(name, 2, Pinning(threads=1)) == [1, 1]
    assert started(name, 1, Pinning(threads=2)) == [2]


@SEVERAL
@pytest.mark.parametrize("name", ["mpiexec", "mpirun", "mpiexec.hydra"])
def test_more_ranks_than_cores_start_unpinned(name: str) -> None:
    ranks = CORES + 1
    assert started(name, ranks, Pinning(oversubscribe=True)) == [CORES] * ranks


@SEVERAL
def test_mpiexec_leaves_the_threads_of_a_rank_their_cores() -> None:
    assert started("mpiexec", 1, Pinning(threads=2)) == [CORES]
