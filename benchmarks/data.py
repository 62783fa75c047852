"""What data costs: training throughput from each kind of source against that of a net whose batch never changes.

python benchmarks/data.py [--cores N] [--json FILE]

The sources are made in a temporary folder. Each figure is the best of several rounds, taken by turns; the share is that
of the throughput of the same net without reading.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchbrew.protos import messages as pb
from batchbrew.solver.ahead import Feed
from batchbrew.solver.blob import Blob
from batchbrew.solver.data import images
from batchbrew.solver.data.convert import sample_records, write_lmdb
from batchbrew.solver.data.part import Part
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.data_layer import Data
from batchbrew.solver.load import read_solver, solver_net
from batchbrew.solver.net import Net
from batchbrew.solver.solvers import make_solver

NETS = {"cifar10_quick": (3, 32, 32), "lenet": (1, 28, 28), "mlp": (1, 28, 28)}
NETDEFS = Path(__file__).parent.parent / "netdefs"
SAMPLES = 10_000
AUGMENTED = 28, 24  # crop_size for pictures of 32 and of 28 columns


@LAYERS.register("FixedData")
class FixedData(Data):
    """Data that reads its first batch only: what a net does without reading."""

    def feeding(self, build: Builder, top: Sequence[Blob]) -> Feed:
        """Write the samples now, and nothing later."""
        count = len(top[0].data)
        self.feed([blob.data for blob in top], np.arange(count, dtype=np.uint64), np.arange(count))
        return Feed(lambda arrays, keys, indices: None, [])

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing."""


def pictures(shape: tuple[int, int, int]) -> Part:
    """Return smooth random pictures, so that JPEG files of them are about as large as those of photographs."""
    draw = np.random.default_rng(1)
    coarse = draw.integers(0, 256, (SAMPLES, shape[0], shape[1] // 4, shape[2] // 4), dtype=np.uint8)
    labels = draw.integers(0, 10, SAMPLES, dtype=np.int32)
    return Part(coarse.repeat(4, axis=2).repeat(4, axis=3), labels, np.full(shape, 128, np.float32))


def write_files(folder: Path, part: Part) -> None:
    """Write the pictures as JPEG files, ``list.txt`` of them, and the LMDB ``lmdb``."""
    write_lmdb(folder / "lmdb", sample_records(part, 5))
    lines = []
    for number, (picture, label) in enumerate(zip(part.images, part.labels, strict=True)):
        (folder / f"{number}.jpg").write_bytes(images.encode(picture, "jpg"))
        lines.append(f"{number}.jpg {label}\n")
    (folder / "list.txt").write_text("".join(lines))


def build(name: str, source: str, folder: Path, part: Part) -> Net:
    """Return the training net ``name`` reading from ``source``, one of SOURCES."""
    path = NETDEFS / f"{name}_solver.prototxt"
    file = solver_net(read_solver(path), path, pb.TRAIN)
    layer = file.param.layer[0]
    kind, _, augmented = source.partition(" ")
    if augmented:
        layer.transform_param.mirror = True
        layer.transform_param.crop_size = AUGMENTED[part.shape[2] == 28]
    if kind in ("lmdb", "jpeg") and layer.transform_param.mean_file:
        layer.transform_param.ClearField("mean_file")
        layer.transform_param.mean_value.append(128.0)
    if kind == "fixed":
        layer.type = "FixedData"
    if kind == "lmdb":
        layer.data_param.source = str(folder / "lmdb")
    if kind == "jpeg":
        layer.type = "ImageData"
        settings = layer.image_data_param
        settings.source, settings.root_folder = str(folder / "list.txt"), str(folder)
        settings.is_color, settings.batch_size = part.shape[0] == 3, layer.data_param.batch_size
    return file.build(pb.TRAIN, data=None if kind in ("lmdb", "jpeg") else part)


class Run:
    """One net in training; ``step`` makes an update with the next samples of a shuffled order."""

    def __init__(self, name: str, source: str, folder: Path, part: Part, batch: int) -> None:
        self.net = build(name, source, folder, part)
        self.solver = make_solver(read_solver(NETDEFS / f"{name}_solver.prototxt"), self.net)
        self.batch, self.at, self.best = batch, 0, np.inf
        self.order: NDArray[np.int64] = np.random.default_rng(2).permutation(SAMPLES)

    def step(self) -> None:
        """Make one update."""
        here, self.at = self.at, (self.at + self.batch) % (SAMPLES - self.batch)
        self.net.zero_sums()
        self.net.expect(self.order[self.at : self.at + self.batch], 0)
        self.net.accumulate(self.order[here : here + self.batch], 0)
        self.solver.apply(0.0)

    def measure(self, updates: int) -> None:
        """Keep the best seconds of an update."""
        begin = time.perf_counter()
        for _ in range(updates):
            self.step()
        self.best = min(self.best, (time.perf_counter() - begin) / updates)


SOURCES = ("fixed", "memory", "lmdb", "jpeg", "fixed cropped", "memory cropped", "lmdb cropped", "jpeg cropped")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=1, help="processors to use (default 1)")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    rows = []
    print(f"{'net':16}{'source':16}{'images/s':>12}{'of fixed':>10}")
    for name, shape in NETS.items():
        with tempfile.TemporaryDirectory() as folder:
            part = pictures(shape)
            write_files(Path(folder), part)
            runs = {source: Run(name, source, Path(folder), part, options.batch) for source in SOURCES}
            for run in runs.values():
                run.step()
            updates = max(1, round(0.1 / min(time_of(run) for run in runs.values())))
            for _ in range(options.rounds):
                for run in runs.values():
                    for _ in range(updates):
                        run.measure(2)
            for source, run in runs.items():
                fixed = runs["fixed cropped" if source.endswith("cropped") else "fixed"].best
                rows.append({"net": name, "source": source, "batch": options.batch, "cores": options.cores,
                             "images_per_second": options.batch / run.best, "of_fixed": fixed / run.best})  # fmt: skip
                print(f"{name:16}{source:16}{options.batch / run.best:12.0f}{fixed / run.best:10.3f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def time_of(run: Run) -> float:
    """Return the seconds of one update."""
    run.measure(1)
    return run.best


if __name__ == "__main__":
    main()
