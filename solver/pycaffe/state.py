"""What holds for the whole process in pycaffe: random seed, mode, place in a set of solvers, the log."""

from __future__ import annotations

import os

import numpy as np

from batchbrew import glog

LEVEL = "GLOG_minloglevel"  # in the environment

_seeds = np.random.SeedSequence()
_solver = {"count": 1, "rank": 0, "multiprocess": 0}
_told_of_gpu = False


def set_random_seed(seed: int) -> None:
    """Make what nets and solvers draw from now on reproducible."""
    global _seeds
    _seeds = np.random.SeedSequence(int(seed) % (1 << 64))


def next_seed() -> int:
    """Return the seed of the next net: another one each time."""
    return int(_seeds.spawn(1)[0].generate_state(1, np.uint64)[0]) >> 1


def set_mode_cpu() -> None:
    """Compute on the processor, as always here."""


def set_mode_gpu() -> None:
    """Say, once, that there is no GPU mode: the processor computes."""
    global _told_of_gpu
    if not _told_of_gpu:
        glog.log("common.cpp:152", "There is no GPU mode here: nets are computed on the processor.", "W")
    _told_of_gpu = True


def set_device(device_id: int) -> None:
    """Accept a device number, which says nothing to a processor."""


def solver_count() -> int:
    """Return what set_solver_count was given, else 1."""
    return _solver["count"]


def set_solver_count(count: int) -> None:
    """Note the number of solvers that a script says it runs side by side."""
    _solver["count"] = count


def solver_rank() -> int:
    """Return what set_solver_rank was given, else 0."""
    return _solver["rank"]


def set_solver_rank(rank: int) -> None:
    """Note the number of this solver among those."""
    _solver["rank"] = rank


def set_multiprocess(multiprocess: bool) -> None:
    """Note that solvers run in processes of their own."""
    _solver["multiprocess"] = int(multiprocess)


def init_log(level: int = 0, to_stderr: bool = True) -> None:
    """Log from severity ``level`` on: 0 everything, 1 warnings, 2 errors. The log always goes to stderr."""
    os.environ[LEVEL] = str(level)


def log(text: str) -> None:
    """Write one line into the log."""
    glog.log("_caffe.cpp:45", text)
