"""What several nodes of one machine cost over one: the Allreduce behind the backward pass and in buckets during it.

python benchmarks/overlap.py [--nodes N] [--net NET ...] [--batch B ...] [--rounds R] [--bucket-kib KIB ...]

``alone`` is one node while the others sleep, ``apart`` all nodes at once without messages (what they take from each
other in memory and clock), ``blocking`` the Allreduce behind the backward pass, ``overlap K`` the same in buckets of K
KiB. The ways take turns, and rounds in which another process took a core away do not count. ``compute`` to
``overlapped`` are those of the fastest round.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
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
SHAPES = {"cifar10_quick": (3, 32, 32), "lenet": (1, 28, 28)}
SAMPLES = 2000
TIMES = ("p10", "p50", "p90", "compute", "reduce", "wait", "overlapped")
WIDTH = 11
ROUND_SECONDS = 0.03  # of one way at a time
ENOUGH = 0.98  # share of a core without which a round does not count
TRIES = 40  # rounds made for one that counts, at most


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


def measured(job: Job, world: World, options: dict[str, Any], updates: int) -> tuple[Sums, float]:
    """Return what ``updates`` updates took, and the share of that time for which this rank had its core.

    A rank that waits for a message does so in a loop, so less than 1 is another process's doing.
    """
    used = time.process_time()
    sums = Allreduce(Allreduce.Options(**options)).run_segment(job, FixedNodes(world), updates)
    return sums, (time.process_time() - used) / sums.seconds


def rows_of(world: MpiWorld, name: str, batch: int, rounds: int, kibs: list[int]) -> list[dict[str, Any]]:
    """Return one row a way of working, on rank 0, from ``rounds`` rounds in which all ranks had their cores."""
    ways = {"blocking": {}, **{f"overlap {kib}": {"overlap": True, "bucket_kib": kib} for kib in kibs}}
    alone, together = job_for(name, batch, 1), job_for(name, batch, world.size)
    measured(together, world, {}, 3)
    warm, _ = measured(alone, OneRank(), {}, 3)
    updates = world.bcast(max(1, int(ROUND_SECONDS * warm.updates / warm.seconds)))
    found: dict[str, list[Sums]] = {way: [] for way in ("alone", "apart", *ways)}

    def keep(way: str, mine: list[tuple[Sums, float]]) -> None:
        each = [pair for pairs in world.gather(mine) for pair in pairs]
        if each and min(share for _, share in each) > ENOUGH:
            found[way].append(each[0][0] if way in ways else max((s for s, _ in each), key=lambda s: s.seconds))

    for _ in range(TRIES * rounds):
        with sleeping(world) as works:
            mine = [measured(alone, OneRank(), {}, updates)] if works else []
        keep("alone", mine)
        world.barrier()
        keep("apart", [measured(alone, OneRank(), {}, updates)])
        for way, options in ways.items():
            world.barrier()
            keep(way, [measured(together, world, options, updates)])
        if world.bcast(min(map(len, found.values())) >= rounds):
            break
    return [] if world.rank else [_row(name, batch, way, sums) for way, sums in found.items() if sums]


def _row(name: str, batch: int, way: str, sums: list[Sums]) -> dict[str, Any]:
    """Return milliseconds an update: percentiles 10, 50 and 90, and the accounts of the fastest round."""
    steps = [1e3 * seconds for each in sums for seconds in each.step_seconds]
    low, middle, high = np.percentile(steps, (10, 50, 90))
    fastest = min(sums, key=lambda each: each.seconds)
    spent = fastest.accounts | {"overlapped": fastest.overlapped_seconds}
    accounts = {f"{key}_ms": 1e3 * seconds / fastest.updates for key, seconds in spent.items()}
    return {
        "net": name, "batch": batch, "way": way, "updates": len(steps), "p10_ms": low, "p50_ms": middle, "p90_ms": high,
        **accounts,
    }  # fmt: skip


def show(rows: list[dict[str, Any]], nodes: int) -> None:
    """Print the rows of one net and batch; the speedup is the throughput of all nodes over that of one alone."""
    alone = next((row for row in rows if row["way"] == "alone"), None)
    for row in rows:
        work = 1 if row is alone else nodes
        cells = [row[f"{key}_ms"] for key in TIMES]
        cells += [work * alone[key] / row[key] for key in ("p10_ms", "p50_ms")] if alone else []
        numbers = "".join(f"{cell:{WIDTH}.3f}" for cell in cells)
        print(f"{row['net']:14}{row['batch']:6} {row['way']:13}{row['updates']:8}{numbers}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--net", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32, 100], help="each node's share")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--bucket-kib", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not under_mpi():
        ranks = [*find_mpiexec(), "-n", str(options.nodes), sys.executable, "-m", "mpi4py", *sys.argv]
        env = environment_for(1, check_cores(options.nodes, 1, allowed=True))
        os.execvpe(ranks[0], ranks, env)
    world = MpiWorld()
    if world.rank == 0:
        heads = "".join(f"{text:>{WIDTH}}" for text in (*TIMES, "speedup", "at p50"))
        print(f"{'net':14}{'batch':>6} {'way':13}{'updates':>8}{heads}   ms an update; batch a node")
    rows = []
    for name, batch in product(options.net, options.batch):
        mine = rows_of(world, name, batch, options.rounds, options.bucket_kib)
        show(mine, world.size)
        rows += mine
    if world.rank == 0 and options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
