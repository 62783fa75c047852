"""What a run ran on and with, for the head of its record."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import batchbrew
from batchbrew.errors import UserError
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.world import World

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip


def affinity() -> list[int]:
    """Return the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def collect(world: World, threads: int) -> dict[str, Any]:
    """Return the environment of the run on rank 0 (an empty dict elsewhere): collective."""
    ranks = world.gather((world.host, affinity()))
    if world.rank != 0:
        return {}
    import threadpoolctl

    return {
        "batchbrew": batchbrew.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        **_mpi(world),
        "kernels": _kernels(),
        "blas": threadpoolctl.threadpool_info(),
        "hosts": [host for host, _ in ranks],
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "thread_variables": {name: os.environ.get(name) for name in THREAD_VARIABLES},
        "affinity": [cores for _, cores in ranks],
        "oversubscribed": oversubscribed_host(ranks, threads) is not None,
        "git": git_state(Path(batchbrew.__file__).resolve().parent),
        "command": sys.orig_argv,
    }


def check_cores(world: World, spec: RunSpec) -> None:
    """Raise UserError on all ranks if some host has fewer cores than its nodes have threads, unless allowed."""
    host = oversubscribed_host(world.gather((world.host, affinity())), spec.threads)
    host = world.bcast(host)
    if host is not None and not spec.allow_oversubscription:
        raise UserError(too_many(spec.nodes, spec.threads, f"host {host} has too few"))


def too_many(nodes: int, threads: int, found: str) -> str:
    """Return the text of the refusal to run more threads than there are cores."""
    thread = "thread" if threads == 1 else "threads"
    node = "node" if nodes == 1 else "nodes"
    return (
        f"{nodes} {node} x {threads} {thread} need {nodes * threads} cores, but {found}: use fewer nodes, or allow it "
        "(--oversubscribe; allow_oversubscription: true in a study) and do not read its times as a measurement"
    )


def oversubscribed_host(ranks: list[tuple[str, list[int]]], threads: int) -> str | None:
    """Return a host whose nodes together have more threads than cores they may run on, None if there is none.

    >>> oversubscribed_host([("a", [0]), ("a", [1])], 1) is None, oversubscribed_host([("a", [0]), ("a", [0])], 1)
    (True, 'a')
    """
    for host in dict.fromkeys(name for name, _ in ranks):
        here = [set(cores) for name, cores in ranks if name == host]
        if len(here) * threads > len(set.union(*here)):
            return host
    return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return {"sha", "dirty"} of the checkout the package lies in, None where there is none."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None
    try:
        sha = _git(folder, "rev-parse", "HEAD")
        return {"sha": sha, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def _mpi(world: World) -> dict[str, Any]:
    if world.size == 1 and "mpi4py.MPI" not in sys.modules:
        return {"mpi4py": None, "mpi": None}
    import mpi4py
    from mpi4py import MPI

    return {"mpi4py": mpi4py.__version__, "mpi": MPI.Get_library_version().split("\0")[0].strip()}


def _kernels() -> str:
    from batchbrew.solver import kernels

    return kernels.choose()


def cpu_model() -> str:
    """Return what the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
