"""What several nodes of one machine cost over one: the Allreduce behind the backward pass and in buckets during it.

python benchmarks/overlap.py [--nodes N] [--rounds R] [--bucket-kib KIB ...] [--json FILE]

``alone`` is one node while the others sleep, ``apart`` all nodes at once without messages (what they take from each
other in memory and clock), ``blocking`` the Allreduce behind the backward pass, ``overlap K`` the same in buckets of K
KiB. The ways take turns, so that a disturbance meets them all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from batchbrew.protos import messages as pb
from batchbrew.runner.job import Job
from batchbrew.runner.launch import check_cores, environment_for, find_mpiexec
from batchbrew.runner.nodeset import FixedNodes
from batchbrew.runner.spec import RunSpec, Stop
from batchbrew.runner.strategies import Sums
from batchbrew.runner.strategies.allreduce import Allreduce
from batchbrew.runner.world import MpiWorld, OneRank, World, under_mpi
from batchbrew.solver.data.part import Part
from batchbrew.solver.load import read_solver, solver_net
from batchbrew.solver.solvers import make_solver

NETDEFS = Path(__file__).parent.parent / "netdefs"
CASES = [(name, batch) for name in ("cifar10_quick", "lenet") for batch in (8, 32, 100)]  # a node's share
SHAPES = {"cifar10_quick": (3, 32, 32), "lenet": (1, 28, 28)}
SAMPLES = 2000
ROUND_SECONDS = 0.1  # short, so that some rounds meet no disturbance


def job_for(name: str, batch: int, nodes: int) -> Job:
    """Return a job on random pictures that stays where it is: its learning rate is 0."""
    path = NETDEFS / f"{name}_solver.prototxt"
    param = read_solver(path)
    param.base_lr = 0
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (SAMPLES, *SHAPES[name]), dtype=np.uint8)
    part = Part(images, draw.integers(0, 10, SAMPLES, dtype=np.int32), np.full(SHAPES[name], 128, np.float32))
    net = solver_net(param, path, pb.TRAIN).build(pb.TRAIN, data=part)
    net.clock = time.perf_counter
    spec = RunSpec(
        study="overlap", net=name, solver=name, data="random", net_digest="", solver_digest="", data_digest="",
        train_samples=SAMPLES, test_samples=0, batch=batch * nodes, nodes=nodes, base_lr=0.0, schedule_batch=batch,
        stop=Stop(updates=1),
    )  # fmt: skip
    return Job(spec, net, make_solver(param, net))


@contextmanager
def sleeping(world: MpiWorld) -> Iterator[bool]:
    """Yield whether this rank works; the others sleep until rank 0 has left."""
    yield world.rank == 0
    request = world.comm.Ibarrier()
    while not request.Test():
        time.sleep(0.002)


def measured(job: Job, world: World, options: dict[str, Any], updates: int) -> Sums:
    """Return what ``updates`` updates took."""
    return Allreduce(Allreduce.Options(**options)).run_segment(job, FixedNodes(world), updates)


def rows_of(world: MpiWorld, name: str, batch: int, rounds: int, kibs: list[int]) -> list[dict[str, Any]]:
    """Return one row a way of working, on rank 0."""
    ways = {"blocking": {}, **{f"overlap {kib}": {"overlap": True, "bucket_kib": kib} for kib in kibs}}
    alone, together = job_for(name, batch, 1), job_for(name, batch, world.size)
    measured(together, world, {}, 3)
    warm = measured(alone, OneRank(), {}, 3)
    updates = world.bcast(max(3, int(ROUND_SECONDS * warm.updates / warm.seconds)))
    found: dict[str, list[Sums]] = {way: [] for way in ("alone", "apart", *ways)}
    for _ in range(rounds):
        with sleeping(world) as works:
            if works:
                found["alone"].append(measured(alone, OneRank(), {}, updates))
        world.barrier()
        found["apart"].append(measured(alone, OneRank(), {}, updates))
        for way, options in ways.items():
            world.barrier()
            found[way].append(measured(together, world, options, updates))
    return [] if world.rank else [_row(name, batch, way, sums) for way, sums in found.items()]


def _row(name: str, batch: int, way: str, sums: list[Sums]) -> dict[str, Any]:
    """Return milliseconds an update: of the rounds, and of the fastest one's accounts."""
    each = [1e3 * s.seconds / s.updates for s in sums]
    fastest = sums[int(np.argmin(each))]
    accounts = {f"{key}_ms": 1e3 * value / fastest.updates for key, value in fastest.accounts.items()}
    overlapped = 1e3 * fastest.overlapped_seconds / fastest.updates
    return {
        "net": name, "batch": batch, "way": way, "best_ms": min(each), "median_ms": float(np.median(each)),
        "rounds_ms": each, **accounts, "overlapped_ms": overlapped,
    }  # fmt: skip


def show(rows: list[dict[str, Any]], nodes: int) -> None:
    """Print the rows of one net and batch; ``speedup`` is the throughput of all nodes over that of one alone."""
    alone = rows[0]
    for row in rows:
        work = 1 if row is alone else nodes
        ratios = "".join(f"{work * alone[key] / row[key]:9.3f}" for key in ("best_ms", "median_ms"))
        columns = ("best_ms", "median_ms", "compute_ms", "reduce_ms", "wait_ms", "overlapped_ms")
        times = "".join(f"{row[key]:9.3f}" for key in columns)
        print(f"{row['net']:14}{row['batch']:6} {row['way']:13}{times}{ratios}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--bucket-kib", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not under_mpi():
        ranks = [*find_mpiexec(), "-n", str(options.nodes), sys.executable, "-m", "mpi4py", *sys.argv]
        env = environment_for(1, check_cores(options.nodes, 1, allowed=True))
        return subprocess.run(ranks, env=env, check=False).returncode
    world = MpiWorld()
    if world.rank == 0:
        names = ("best", "median", "compute", "reduce", "wait", "overlap", "speedup", "(median)")
        heads = "".join(f"{text:>9}" for text in names)
        print(f"{'net':14}{'batch':>6} {'way':13}{heads}   ms an update; batch a node")
    rows = []
    for name, batch in CASES:
        rows += rows_of(world, name, batch, options.rounds, options.bucket_kib)
        if world.rank == 0:
            show(rows[-2 - 1 - len(options.bucket_kib) :], world.size)
    if world.rank == 0 and options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
