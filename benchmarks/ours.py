"""Measure this engine's training updates on request (see worker.py), on one rank or, under mpiexec, on several.

One rank runs the update loop itself; several run the strategy that studies use. Data and batch are fixed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
from worker import Run, measure, peak_bytes, serve, settle

from batchbrew.protos import messages as pb
from batchbrew.runner.job import Job
from batchbrew.runner.nodeset import FixedNodes
from batchbrew.runner.pinning import pin
from batchbrew.runner.spec import RunSpec, Stop
from batchbrew.runner.strategies.allreduce import Allreduce
from batchbrew.runner.world import MpiWorld, World, find_world
from batchbrew.solver.data.part import Part
from batchbrew.solver.load import read_solver, solver_net
from batchbrew.solver.net import Net
from batchbrew.solver.solvers import make_solver
from batchbrew.solver.solvers.base import Solver

NETDEFS = Path(__file__).parent.parent / "netdefs"
WORLD = find_world()


class Case:
    """One net at one batch per rank."""

    def __init__(self, net: str, shape: tuple[int, ...], batch: int, threads: int, samples: int) -> None:
        path = NETDEFS / f"{net}_solver.prototxt"
        param = read_solver(path)
        param.base_lr = 0.0  # so that long measuring on noise cannot diverge
        self.net = solver_net(param, path, pb.TRAIN).build(pb.TRAIN, data=noise(shape, samples), threads=threads)
        solver = make_solver(param, self.net)
        spec = spec_of(batch * WORLD.size, threads)
        pin(WORLD, spec)
        self.run: Run = alone(self.net, solver, batch) if WORLD.size == 1 else together(self.net, solver, spec, WORLD)
        self.expected: float | None = None


def noise(shape: tuple[int, ...], samples: int) -> Part:
    """Return random pictures with random labels."""
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (samples, *shape), dtype=np.uint8)
    return Part(images, draw.integers(0, 10, samples, dtype=np.int32), np.full(shape, 128, np.float32))


def alone(net: Net, solver: Solver, batch: int) -> Run:
    """Return what makes updates on one rank."""
    indices = np.arange(batch)

    def run(count: int) -> list[float]:
        times = []
        for _ in range(count):
            start = perf_counter()
            net.zero_sums()
            net.accumulate(indices, 0)
            solver.apply(0.0)
            times.append(perf_counter() - start)
        return times

    return run


def spec_of(batch: int, threads: int) -> RunSpec:
    """Return what a study would say of such a run."""
    none = "sha256:"
    return RunSpec(
        study="bench", net="", solver="", data="", net_digest=none, solver_digest=none, data_digest=none,
        train_samples=batch, test_samples=0, batch=batch, nodes=WORLD.size, threads=threads, shuffle=False,
        base_lr=0.0, schedule_batch=batch, stop=Stop(updates=1),
    )  # fmt: skip


def together(net: Net, solver: Solver, spec: RunSpec, world: World) -> Run:
    """Return what makes updates with synchronous data parallelism; its times are those of rank 0 on all ranks."""
    job, nodes, strategy = Job(spec, net, solver), FixedNodes(world), Allreduce(Allreduce.Options())
    return lambda count: world.bcast(strategy.run_segment(job, nodes, count).step_seconds)


cases = lru_cache(maxsize=1)(Case)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    batch, seconds = request["batch"], request["seconds"]
    samples = max(batch * WORLD.size, request.get("samples", 0))
    case = cases(request["net"], tuple(request["shape"]), batch, request["threads"], samples)
    if case.expected is None:
        case.expected = settle(case.run, seconds)
    case.expected = measure(case.run, seconds, case.expected)
    return {"seconds": case.expected, "peak_bytes": peak_bytes(), "flops_per_sample": case.net.flops_per_sample}


def requests(world: MpiWorld) -> Iterator[str]:
    """Yield rank 0's lines on every rank. Ranks sleep while they wait: others are measured meanwhile."""
    while True:
        line = sys.stdin.readline().encode() if world.rank == 0 else b""
        buffer = np.zeros(4096, np.uint8)
        buffer[: len(line)] = np.frombuffer(line, np.uint8)
        request = world.comm.Ibcast(buffer, root=0)
        while not request.Test():
            sleep(0.005)
        text = buffer.tobytes().rstrip(b"\0").decode()
        if not text:
            return
        yield text


if __name__ == "__main__":
    serve(requests(WORLD) if isinstance(WORLD, MpiWorld) else sys.stdin, answer, WORLD.rank, WORLD.size)
