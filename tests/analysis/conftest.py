"""Studies written by a simulated runner whose constants are known, for the tests to find again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchbrew.analysis.load import load
from batchbrew.analysis.records import StudyData


@dataclass(frozen=True)
class Truth:
    """The world a simulated study is drawn from, and which of its runs go wrong."""

    batches: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    nodes: tuple[int, ...] = (1, 2, 4)
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    lr_rules: tuple[str, ...] = ("linear",)
    scaling: str = "strong"
    target: float | None = 0.7
    s_min: float = 400.0
    b_crit: float = 300.0
    a: float = 4e-3
    c: float = 2.5e-4
    alpha: float = 60e-6
    beta: float = 1.5e-9
    message: int = 582_312
    seed_noise: float = 0.06
    time_noise: float = 0.01
    warmup: int = 5
    censored: tuple[tuple[int, int, int], ...] = ((1024, 1, 2),)
    diverged: tuple[tuple[int, int, int], ...] = ((1024, 4, 3),)
    missing: tuple[tuple[int, int, int], ...] = ((32, 4, 5),)
    running: tuple[tuple[int, int, int], ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    calibrate: bool = True

    def comm(self, nodes: int) -> float:
        """Return the seconds of a ring allreduce, from the textbook."""
        return 2 * (nodes - 1) * self.alpha + 2 * (nodes - 1) / nodes * self.message * self.beta

    def step(self, batch: int, nodes: int) -> float:
        return self.a + self.c * batch / nodes + self.comm(nodes)

    def steps(self, batch: int, seed: int, rule: str = "linear") -> int:
        noise = np.random.default_rng([seed, batch]).standard_normal()
        penalty = 1.0 if rule == "linear" else 1.0 + 0.25 * math.log2(batch / 32)
        return round(penalty * self.s_min * (1 + self.b_crit / batch) * math.exp(self.seed_noise * noise))


def build_study(folder: Path, truth: Truth) -> Path:
    """Write the study folder of ``truth`` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = [
        (batch * (nodes if truth.scaling == "weak" else 1), nodes, seed, rule)
        for rule in truth.lr_rules
        for batch in truth.batches
        for nodes in truth.nodes
        for seed in truth.seeds
    ]
    cells = [
        {"run_id": run_id(*cell), "batch": cell[0], "nodes": cell[1], "seed": cell[2], "lr_rule": cell[3],
         "strategy": "sync"}
        for cell in grid
    ]  # fmt: skip
    dump(
        folder / "study.json",
        {"format": 1, "name": "simulated", "scaling": truth.scaling, "metric": "accuracy", "target": truth.target,
         "warmup_updates": truth.warmup, "runs": cells},
    )  # fmt: skip
    if truth.calibrate:
        dump(folder / "calibration.json", calibration(truth))
    for cell in grid:
        if cell[:3] not in truth.missing:
            build_run(folder / "runs" / run_id(*cell), truth, cell)
    return folder


def run_id(batch: int, nodes: int, seed: int, rule: str) -> str:
    return f"b{batch}-n{nodes}-s{seed}-{rule}"


def calibration(truth: Truth) -> dict[str, Any]:
    rng = np.random.default_rng(7)

    def repeated(seconds: float) -> list[float]:
        return [float(s) for s in seconds * np.exp(truth.time_noise * rng.standard_normal(9))]

    sizes = [5000, 12500, 25000, 50000]
    return {
        "format": 1,
        "compute": [
            {"batch": b, "seconds": repeated(truth.step(b, 1))} for b in (1, 4, 16, 64, 256, 1024)
        ],
        "allreduce": [
            {"nodes": p, "bytes": m, "seconds": repeated(
                2 * (p - 1) * truth.alpha + 2 * (p - 1) / p * m * truth.beta)}
            for p in truth.nodes if p > 1
            for m in (4096, 65536, truth.message)
        ],
        "set_size": [{"samples": n, "seconds": repeated(0.02 + n / 64 * truth.step(64, 1))} for n in sizes],
        "base_batch": 64,
        "message_bytes": truth.message,
        "train_samples": 50000,
    }  # fmt: skip


def build_run(folder: Path, truth: Truth, cell: tuple[int, int, int, str]) -> Path:
    """Write the folder of one run."""
    batch, nodes, seed, rule = cell
    folder.mkdir(parents=True, exist_ok=True)
    fate = next((name for name in ("censored", "diverged", "running") if cell[:3] in getattr(truth, name)), "target")
    needed = truth.steps(batch, seed, rule)
    last = max(2, int(needed * {"target": 1.0, "censored": 0.8, "diverged": 0.3, "running": 0.5}[fate]))
    rng = np.random.default_rng([batch, nodes, seed])
    slow = math.exp(truth.time_noise * rng.standard_normal())
    step = truth.step(batch, nodes) * slow
    spec = {
        "run_id": folder.name, "study": "simulated", "net": "quick.prototxt", "solver": "quick_solver.prototxt",
        "data": "generated", "batch": batch, "nodes": nodes, "accumulate": 1, "threads": 1, "seed": seed,
        "strategy": "sync", "strategy_options": {}, "lr_rule": rule, "lr_base_batch": 32, "lr_warmup_samples": 0,
        "base_lr": 0.001, "metric": "accuracy", "target": truth.target, "stop": {"epochs": 20},
        "evaluate_every_samples": 5000, "warmup_updates": truth.warmup, "scaling": truth.scaling,
        "comparable": "c0ffee",
    }  # fmt: skip
    header = {
        "kind": "header", "format": 1, "run_id": folder.name, "spec": spec,
        "identity": f"global {batch} = {nodes} nodes x {batch // nodes} x accumulate 1",
        "net": {"name": "CIFAR10_quick", "parameters": 145578, "flops_per_sample": 6.92e7,
                "layers": [{"type": "Convolution", "name": "conv1", "shape": [batch, 32, 32, 32], "parameters": 2432,
                            "mflop": 4.9}]},
        "dataset": {"name": "generated", "train": 50000, "test": 10000, "digest": "sha256:5eed"},
        "environment": {"batchbrew": "0.1.0", "python": "3.11.2", "numpy": "2.4.6", "mpi4py": "4.1.2",
                        "mpi": "Open MPI v5.0.11", "kernels": "avx512", "blas": ["openblas 0.3.30"],
                        "hosts": ["alpha"] * nodes, "cpu": "Simulated CPU @ 2.0 GHz", "cores": 8, "threads": 1,
                        "affinity": [[r] for r in range(nodes)], "oversubscribed": False,
                        "git": {"sha": "0123abc", "dirty": False}, "command": ["batchbrew", "study", "x.yaml"],
                        **truth.environment},
        "started": "2024-01-01T00:00:00",
    }  # fmt: skip
    lines: list[dict[str, Any]] = [header, evaluation(0, batch, 0.0, 0.1)]
    edges = np.unique(np.linspace(0, last, 9).round().astype(int))
    clock = 0.0
    for first, end in pairwise(edges.tolist()):
        steps = step * np.exp(truth.time_noise * rng.standard_normal(end - first))
        clock += float(steps.sum())
        lines.append(segment(truth, cell, (first, end), clock, steps))
        goal = truth.target or 0.7
        reach = 0.1 + (goal - 0.1) * (1 - math.exp(-3 * end / needed)) / (1 - math.exp(-3))
        lines.append(evaluation(end, batch, clock, reach))
    (folder / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    dump(folder / "spec.json", spec)
    if fate == "running":
        return folder
    moment = {"update": last, "samples": last * batch, "seconds": clock}
    met = fate == "target" and truth.target is not None
    dump(
        folder / "summary.json",
        {"run_id": folder.name, "outcome": {"censored": "epochs", "diverged": "diverged"}.get(fate, "target"),
         "reason": fate, "reached": met, "update": last, "samples": last * batch, "epoch": last * batch / 50000,
         "train_seconds": clock, "wall_seconds": clock * 1.2, "to_target": moment if met else None,
         "best": {"accuracy": 0.7, "update": last}, "final": {"accuracy": 0.7, "loss": None},
         "step_seconds": {"median": step, "mean": step, "p10": step * 0.99, "p90": step * 1.01, "count": last},
         "samples_per_second": batch / step,
         "accounts": {"data": 0.0, "compute": clock * 0.8, "reduce": clock * 0.1, "wait": 0.0, "update": clock * 0.1,
                      "evaluate": 1.0, "save": 0.2, "resize": 0.0},
         "spec": spec},
    )  # fmt: skip
    (folder / "DONE").touch()
    return folder


def segment(
    truth: Truth, cell: tuple[int, int, int, str], span: tuple[int, int], clock: float, steps: np.ndarray
) -> dict[str, Any]:
    (batch, nodes, seed, rule), (first, end) = cell, span
    needed = truth.steps(batch, seed, rule)
    total, comm = float(steps.sum()), truth.comm(nodes) * (end - first)
    rest = total - comm
    return {
        "kind": "segment", "update": end, "samples": end * batch, "epoch": end * batch / 50000, "updates": end - first,
        "loss": 2.3 * math.exp(-2 * end / needed), "rate": 0.001 * batch / 32, "seconds": total,
        "train_seconds": clock, "step_seconds": [float(s) for s in steps], "nodes": nodes,
        "shares": [batch // nodes] * nodes,
        "accounts": {"data": 0.04 * rest, "compute": 0.86 * rest, "reduce": 0.7 * comm, "wait": 0.3 * comm,
                     "update": 0.1 * rest},
    }  # fmt: skip


def evaluation(update: int, batch: int, clock: float, accuracy: float) -> dict[str, Any]:
    return {
        "kind": "evaluation", "update": update, "samples": update * batch, "epoch": update * batch / 50000,
        "train_seconds": clock, "wall_seconds": clock * 1.2,
        "outputs": {"accuracy": accuracy, "loss": 2.3 * (1 - accuracy)}, "count": 10000, "seconds": 0.8,
    }  # fmt: skip


def dump(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a simulated study: ``make_study(seeds=(1, 2))``."""
    made = [0]

    def make(**settings: Any) -> Path:
        made[0] += 1
        return build_study(tmp_path / f"study{made[0]}", Truth(**settings))

    return make


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default simulated study, written once and only read."""
    return build_study(tmp_path_factory.mktemp("simulated") / "study", Truth())


@pytest.fixture(scope="session")
def study(study_folder: Path) -> StudyData:
    """The default simulated study, read once."""
    return load(study_folder)


@pytest.fixture(scope="session")
def truth() -> Truth:
    return Truth()
