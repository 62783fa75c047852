"""Measure what the theory needs: compute time by local batch, Allreduce time by size, time by training-set size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from batchbrew.runner.build import build
from batchbrew.runner.folder import RunFolder, write_json
from batchbrew.runner.job import Job
from batchbrew.runner.order import batch_indices
from batchbrew.runner.pinning import pin
from batchbrew.runner.worker import check_size
from batchbrew.runner.world import World

COMPUTE_SECONDS = 5.0
SET_SIZE_SECONDS = 3.0
ALLREDUCE_SECONDS = 1.5
MESSAGES = (4, 4096, 65536, 1 << 20, 1 << 22)
LEAST, MOST = 5, 200


def measure(path: Path, world: World, nodes: int) -> None:
    """Measure on this world and write ``nodes-<size>.json`` into the calibration folder ``path`` (rank 0).

    One rank measures compute and set sizes, several measure the Allreduce of a range of message sizes.
    Raises RefusedError if the world has not ``nodes`` ranks.
    """
    check_size(world, nodes)
    folder = RunFolder(path)
    spec = folder.spec()
    built = build(folder, spec)
    pin(world, spec)
    message_bytes = built.job.net.flat.message.nbytes
    if world.size > 1:
        result: dict[str, Any] = {"allreduce": allreduce_seconds(world, message_bytes)}
    else:
        plan = json.loads((path / "plan.json").read_text(encoding="utf-8"))
        base = plan["base_batch"]
        sizes = sorted({*plan["batches"], 1, 2, 4, 8, 16, 32, 64, 128, 256, base})
        sizes = [size for size in sizes if size <= max(*plan["batches"], base)]
        result = {
            "compute": compute_seconds(built.job, sizes),
            "set_size": set_size_seconds(built.job, base),
            "base_batch": base,
            "message_bytes": message_bytes,
            "train_samples": built.job.spec.train_samples,
        }
    if world.rank == 0:
        write_json(path / f"nodes-{world.size}.json", result)


def combine(path: Path) -> dict[str, Any]:
    """Return calibration.json from the files of all node counts."""
    result: dict[str, Any] = {"format": 1, "allreduce": []}
    for file in sorted(path.glob("nodes-*.json"), key=lambda file: int(file.stem.split("-")[1])):
        part = json.loads(file.read_text(encoding="utf-8"))
        result["allreduce"] += part.pop("allreduce", [])
        result.update(part)
    return result


def repeat(step: Callable[[int], None], seconds: float) -> list[float]:
    """Return the durations of ``step(0), step(1), ...`` after one unmeasured call, for about ``seconds``."""
    step(0)
    times: list[float] = []
    while len(times) < LEAST or (sum(times) < seconds and len(times) < MOST):
        begin = perf_counter()
        step(len(times) + 1)
        times.append(perf_counter() - begin)
        if sum(times) > 4 * seconds:
            break
    return times


def compute_seconds(job: Job, sizes: list[int]) -> list[dict[str, Any]]:
    """Return the seconds of updates on one node for every local batch in ``sizes``."""
    found = []
    for size in sizes:

        def step(number: int, size: int = size) -> None:
            _update(job, number * size, size)

        found.append({"batch": size, "seconds": repeat(step, COMPUTE_SECONDS / len(sizes))})
    return found


def set_size_seconds(job: Job, batch: int) -> list[dict[str, Any]]:
    """Return the seconds of one pass over sets of growing size, in updates of ``batch`` samples, on one node."""
    begin = perf_counter()
    _update(job, 0, batch)
    per_sample = (perf_counter() - begin) / batch
    largest = min(job.spec.train_samples, max(2 * batch, int(SET_SIZE_SECONDS / 4 / per_sample)))
    found = []
    for size in sorted({max(batch, largest * k // 8) for k in (1, 2, 4, 8)}):
        times = []
        for _ in range(2):
            begin = perf_counter()
            for start in range(0, size, batch):
                _update(job, start, min(batch, size - start))
            times.append(perf_counter() - begin)
        found.append({"samples": size, "seconds": times})
    return found


def allreduce_seconds(world: World, message_bytes: int) -> list[dict[str, Any]]:
    """Return the seconds of an Allreduce for a range of message sizes; ranks start each at the same time."""
    sizes = sorted({*MESSAGES, message_bytes})
    found = []
    for size in sizes:
        buffer = np.zeros(max(1, size // 8))  # doubles, as gradients are
        times: list[float] = []
        for number in range(-3, MOST):
            world.barrier()
            begin = perf_counter()
            world.allreduce_sum(buffer)
            if number >= 0:
                times.append(perf_counter() - begin)
            enough = number >= LEAST and sum(times) > ALLREDUCE_SECONDS / len(sizes)
            if world.bcast(enough):
                break
        found.append({"nodes": world.size, "bytes": buffer.nbytes, "seconds": times})
    return found


def _update(job: Job, start: int, count: int) -> None:
    """Make one update with ``count`` samples at a learning rate of 0, so that long measuring cannot diverge."""
    job.net.zero_sums()
    for epoch, indices in batch_indices(1, start, count, job.spec.train_samples, shuffle=True):
        job.net.accumulate(indices, epoch)
    job.solver.apply(0.0)
