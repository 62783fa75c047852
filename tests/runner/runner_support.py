"""Specs, folders and ranks for the runner's tests."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import runner_standin
from runner_standin import TEST, TRAIN

from batchbrew.runner import worker
from batchbrew.runner.folder import RunFolder
from batchbrew.runner.launch import environment_for
from batchbrew.runner.record import read_lines
from batchbrew.runner.spec import RunSpec, Stop
from batchbrew.runner.world import OneRank

HERE = Path(__file__).parent
MPIEXEC = Path(sysconfig.get_path("scripts")) / "mpiexec"


def make_spec(**changes) -> RunSpec:
    base = {
        "study": "test", "net": "net", "solver": "solver", "data": "standin", "net_digest": "a", "solver_digest": "b",
        "data_digest": "c", "train_samples": TRAIN, "test_samples": TEST, "batch": 12, "nodes": 1, "base_lr": 0.2,
        "schedule_batch": 12, "stop": Stop(updates=40), "evaluate_every_samples": 120, "segment_updates": 7,
        "allow_oversubscription": True, "warmup_updates": 2,
    }  # fmt: skip
    return RunSpec(**(base | changes))


class Ranks:
    """Run the stand-in worker on real ranks."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str, **changes) -> RunFolder:
        folder = RunFolder(self.root / name)
        folder.create(make_spec(**changes), {})
        return folder

    def command(self, folder: RunFolder, ranks: int, *arguments: str) -> list[str]:
        script = [str(HERE / "runner_standin.py"), str(folder.path), *arguments]
        if ranks == 1:
            return [sys.executable, *script]
        return [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", "mpi4py", *script]

    def start(self, folder: RunFolder, ranks: int = 1, *arguments: str, **variables: str):
        env = environment_for(1, ranks > 1) | {key: str(value) for key, value in variables.items()}
        command = self.command(folder, ranks, *arguments)
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, folder: RunFolder, ranks: int = 1, *arguments: str, code: int = 0, limit: float = 30, **variables):
        process = self.start(folder, ranks, *arguments, **variables)
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == code, err
        return out + err

    def trained(self, name: str, ranks: int = 1, **changes) -> RunFolder:
        folder = self.folder(name, nodes=ranks, **changes)
        self.run(folder, ranks)
        return folder


def lines(folder: RunFolder, kind: str) -> list[dict]:
    return [line for line in read_lines(folder.record) if line["kind"] == kind]


def losses(folder: RunFolder) -> list[float]:
    return [line["loss"] for line in lines(folder, "segment")]


def outputs(folder: RunFolder) -> list[tuple]:
    found = lines(folder, "evaluation")
    return [(line["update"], line["outputs"]["loss"], line["outputs"]["accuracy"]) for line in found]


def summary(folder: RunFolder) -> dict:
    return json.loads((folder.path / "summary.json").read_text())


def here(folder: RunFolder, builder=runner_standin.build) -> dict:
    """Do the run in this process, on one rank."""
    return worker.work(folder.path, OneRank(), builder=builder)


def new_folder(path: Path, **changes) -> RunFolder:
    folder = RunFolder(path)
    folder.create(make_spec(**changes), {})
    return folder


def values(folder: RunFolder):
    import h5py

    with h5py.File(folder.path / "state.h5", "r") as file:
        return file["values"][:]


NET = """
name: "tiny"
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.00390625 }
  data_param { source: "tiny.h5" batch_size: 10 } }
layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1"
  inner_product_param { num_output: 16 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt"
test_iter: 3
test_interval: 5
base_lr: 0.1
lr_policy: "step"
gamma: 0.5
stepsize: 20
momentum: 0.9
max_iter: 30
display: 5
"""
STUDY = """
study: tiny
solver: solver.prototxt
scaling: strong
grid:
  batch: [10, 20]
  nodes: [1, 2]
  seed: [1, 2]
  lr_rule: [none, linear]
lr: {base_batch: 10, warmup: {epochs: 0.5}}
target: {accuracy: 0.9}
stop: {epochs: 2, seconds: 30}
evaluate_every: {samples: 40}
checkpoint_every: {epochs: 1}
calibrate: false
allow_oversubscription: true
"""
TINY_TRAIN, TINY_TEST = 83, 31


def write_files(folder: Path, net: str = NET, solver: str = SOLVER, study: str = STUDY) -> Path:
    """Write a tiny net, solver, study and data set of 1 x 4 x 4 pictures; return the study's path."""
    import numpy as np

    from batchbrew.solver.data import dataset

    rng = np.random.default_rng(5)
    patterns = rng.integers(0, 200, (4, 1, 4, 4))
    parts = []
    for count in (TINY_TRAIN, TINY_TEST):
        labels = rng.integers(0, 4, count).astype(np.int32)
        images = patterns[labels] + rng.integers(0, 56, (count, 1, 4, 4))
        parts.append(dataset.Part(images.astype(np.uint8), labels))
    dataset.write_dataset(folder / "tiny.h5", "tiny", ["a", "b", "c", "d"], *parts)
    for name, text in (("net.prototxt", net), ("solver.prototxt", solver), ("study.yaml", study)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "study.yaml"
