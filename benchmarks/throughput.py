"""Training throughput of the engine: images/s and GFLOP/s for each net and batch size, one node, one thread.

python benchmarks/throughput.py [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from batchbrew.protos import messages as pb
from batchbrew.solver.data.part import Part
from batchbrew.solver.load import read_solver, solver_net
from batchbrew.solver.solvers import make_solver

NETS = {
    "cifar10_quick": (3, 32, 32),
    "cifar10_full": (3, 32, 32),
    "cifar10_sigmoid_bn": (3, 32, 32),
    "lenet": (1, 28, 28),
    "mlp": (1, 28, 28),
}
BATCHES = (1, 8, 32, 100, 256, 1024)
NETDEFS = Path(__file__).parent.parent / "netdefs"


def samples(shape: tuple[int, int, int], count: int) -> Part:
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (count, *shape), dtype=np.uint8)
    return Part(images, draw.integers(0, 10, count, dtype=np.int32), np.full(shape, 128, np.float32))


def seconds_per_update(name: str, batch: int, repeats: int = 5) -> tuple[float, float]:
    """Return the median seconds of one whole update, and its GFLOP."""
    path = NETDEFS / f"{name}_solver.prototxt"
    param = read_solver(path)
    part = samples(NETS[name], 2048)
    net = solver_net(param, path, pb.TRAIN).build(pb.TRAIN, data=part)
    solver = make_solver(param, net)
    indices = np.arange(batch)
    times = []
    for repeat in range(repeats + 1):
        updates = max(1, 256 // batch)
        start = time.perf_counter()
        for _ in range(updates):
            net.zero_sums()
            net.accumulate(indices, 0)
            solver.apply(0.0)
        if repeat:  # the first is warm-up
            times.append((time.perf_counter() - start) / updates)
    return float(np.median(times)), net.flops_per_sample * batch / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"{'net':20}{'batch':>8}{'images/s':>12}{'GFLOP/s':>10}")
    for name in NETS:
        for batch in BATCHES:
            seconds, gflop = seconds_per_update(name, batch)
            rows.append({"net": name, "batch": batch, "images_per_second": batch / seconds, "gflops": gflop / seconds})
            print(f"{name:20}{batch:8}{batch / seconds:12.0f}{gflop / seconds:10.1f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
