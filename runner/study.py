"""A study: study.yaml with the files it names, and the runs it stands for. Needs no MPI."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchbrew.config import read_yaml
from batchbrew.errors import UserError
from batchbrew.runner.source_files import SourceFiles, read_sources
from batchbrew.runner.spec import Metric, Plateau, RunSpec, Stop, digest, read_spec
from batchbrew.runner.study_file import Grid, LearningRate, Length, StrategyChoice, StudyFile, Target
from batchbrew.solver.schedules import number

__all__ = [
    "Grid", "LearningRate", "Length", "Metric", "Plateau", "RunSpec", "Stop", "StrategyChoice", "Study", "StudyFile",
    "Target", "load_study", "read_spec",
]  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A study file, read and checked, with the solver, nets and data set it names."""

    file: StudyFile
    path: Path
    sources: SourceFiles

    @property
    def metric(self) -> Metric:
        """Return the test output the study is about."""
        if self.file.target is not None:
            return "accuracy" if self.file.target.accuracy is not None else "loss"
        return self.sources.metric

    @property
    def target(self) -> float | None:
        """Return the value of the metric that counts as reached."""
        target = self.file.target
        return None if target is None else target.accuracy if target.accuracy is not None else target.loss

    def expand(self) -> list[RunSpec]:
        """Return every run of the grid: batch outermost, then nodes, lr rule, seed."""
        cells = list(self.file.cells())
        rules, seeds = self.file.lr_rules, self.file.grid.seed
        return [
            self._spec(batch, nodes, rule, seed)
            for (batch, nodes), rule, seed in itertools.product(cells, rules, seeds)
        ]

    def _spec(self, batch: int, nodes: int, rule: str, seed: int) -> RunSpec:
        file, sources = self.file, self.sources
        train = sources.data.train

        def samples(length: Length | None, default: int | None) -> int | None:
            return max(1, length.in_samples(train, batch)) if length is not None else default

        warmup = file.lr.warmup.in_samples(train, batch) if file.lr.warmup is not None and rule != "none" else 0
        interval = sources.solver.test_interval * sources.schedule_batch
        return RunSpec(
            study=file.study,
            **describe(sources, file.solver_overrides),
            batch=batch,
            nodes=nodes,
            accumulate=file.accumulate,
            threads=file.threads,
            pin=file.pin,
            seed=seed,
            shuffle=file.shuffle,
            strategy=file.strategy.name,
            strategy_options=file.strategy.options,
            balancer=file.balancer,
            scaling=file.scaling,
            lr_rule=rule,
            lr_base_batch=file.lr.base_batch if rule != "none" else None,
            lr_warmup_samples=warmup,
            metric=self.metric,
            target=self.target,
            stop=self._stop(batch),
            evaluate_every_samples=samples(file.evaluate_every, interval or train),
            checkpoint_every_samples=samples(file.checkpoint_every, train),
            segment_updates=sources.solver.display or 50,
            warmup_updates=file.warmup_updates,
            allow_oversubscription=file.allow_oversubscription,
        )

    def _stop(self, batch: int) -> Stop:
        """Return the study's stopping rules; the solver's max_iter, as samples, stands in for a missing limit."""
        stop, longest = self.file.stop, self.sources.max_samples
        if stop.bounded or longest is None:
            return stop
        return stop.model_copy(update={"updates": -(-longest // batch)})

    def study_json(self) -> dict[str, Any]:
        """Return what the analysis needs to know of the whole grid, also of runs that do not exist yet."""
        names = ("run_id", "batch", "nodes", "seed", "lr_rule", "strategy")
        return {
            "format": 1,
            "name": self.file.study,
            "scaling": self.file.scaling,
            "metric": self.metric,
            "target": self.target,
            "warmup_updates": self.file.warmup_updates,
            "runs": [{name: getattr(spec, name) for name in names} for spec in self.expand()],
        }


def describe(sources: SourceFiles, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a RunSpec that say which net, solver and data set it is about."""
    return {
        "net": Path(sources.net_path).name,
        "solver": str(sources.solver_path),
        "data": sources.data.source,
        "net_digest": digest(sources.net_text + (sources.test_text or "")),
        "solver_digest": digest(sources.solver_text),
        "data_digest": sources.data.digest,
        "train_samples": sources.data.train,
        "test_samples": sources.data.test,
        "solver_overrides": overrides,
        "base_lr": number(overrides.get("base_lr", sources.solver.base_lr)),
        "schedule_batch": sources.schedule_batch,
    }


def load_study(path: Path | str) -> Study:
    """Read a study file and what it names; UserError ``file:line:col: ...`` for anything that cannot run."""
    path = Path(path)
    file = read_yaml(path, StudyFile)
    solver = path.parent / file.solver
    if not solver.is_file():
        raise UserError(f"{path}: solver: no file '{solver}' (the path is relative to the study file)")
    sources = read_sources(solver, file.data, path.parent)
    study = Study(file, path, sources)
    if not file.stop.bounded and sources.max_samples is None:
        raise UserError(f"{path}: stop: nothing ends a run: give epochs, updates or seconds (no max_iter either)")
    if sources.metrics and study.metric not in sources.metrics:
        outputs = ", ".join(sources.metrics)
        raise UserError(f"{path}: target: the test net has no output '{study.metric}' (its outputs: {outputs})")
    if study.target is not None and not sources.metrics:
        raise UserError(f"{path}: target: the net has no layers in phase TEST to measure it with")
    return study
