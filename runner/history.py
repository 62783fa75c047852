"""What has happened so far, as rank 0 knows it: plain numbers that stopping rules can be replayed on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchbrew.runner.spec import Metric, RunSpec


@dataclass(frozen=True)
class Evaluation:
    """One pass over the whole test set."""

    update: int
    samples: int
    train_seconds: float
    outputs: dict[str, float]


@dataclass
class History:
    """A run up to now; ``step_seconds`` are those of all updates but the warm-up ones of each start.

    It is built from the lines of the run's record alone (:meth:`absorb`), live and on resume alike.
    """

    metric: Metric
    target: float | None
    train_samples: int
    warmup_updates: int = 0
    update: int = 0
    samples: int = 0
    train_seconds: float = 0.0
    diverged: bool = False
    evaluations: list[Evaluation] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    since_start: int = 0

    @classmethod
    def of(cls, spec: RunSpec) -> History:
        """Return the empty history of a run."""
        return cls(spec.metric, spec.target, spec.train_samples, spec.warmup_updates)

    def absorb(self, line: Mapping[str, Any]) -> None:
        """Take in one line of the record; null stands for a number that was not finite."""
        if line["kind"] in ("segment", "evaluation", "event"):
            self.update, self.samples = line["update"], line["samples"]
            self.train_seconds = line["train_seconds"]
        if line["kind"] == "segment":
            warm = max(0, self.warmup_updates - self.since_start)
            self.step_seconds += line["step_seconds"][warm:]
            self.since_start += line["updates"]
        elif line["kind"] == "evaluation":
            outputs = {name: math.nan if value is None else value for name, value in line["outputs"].items()}
            self.evaluations.append(Evaluation(self.update, self.samples, self.train_seconds, outputs))
        elif line["kind"] == "event" and line["event"] == "diverged":
            self.diverged = True
        elif line["kind"] == "event" and line["event"] in ("start", "resume"):
            self.since_start = 0

    @property
    def epoch(self) -> float:
        """Return the number of passes over the training set."""
        return self.samples / self.train_samples

    @property
    def evaluated(self) -> bool:
        """Return whether the present parameters have been evaluated."""
        return bool(self.evaluations) and self.evaluations[-1].update == self.update

    def better(self, a: float, b: float) -> bool:
        """Return whether value ``a`` of the metric is better than ``b``; anything beats not-a-number."""
        if math.isnan(a) or math.isnan(b):
            return math.isnan(b) and not math.isnan(a)
        return a > b if self.metric == "accuracy" else a < b

    def values(self) -> list[float]:
        """Return the metric at every evaluation."""
        return [evaluation.outputs.get(self.metric, math.nan) for evaluation in self.evaluations]

    def meets_target(self, value: float) -> bool:
        """Return whether ``value`` of the metric is at the target or beyond; False without a target."""
        if self.target is None:
            return False
        return value >= self.target if self.metric == "accuracy" else value <= self.target

    def first_at_target(self) -> Evaluation | None:
        """Return the first evaluation that met the target."""
        for evaluation, value in zip(self.evaluations, self.values(), strict=True):
            if self.meets_target(value):
                return evaluation
        return None

    def best(self) -> tuple[float, Evaluation] | None:
        """Return the best value of the metric and the evaluation it was reached at."""
        best: tuple[float, Evaluation] | None = None
        for value, evaluation in zip(self.values(), self.evaluations, strict=True):
            if not math.isnan(value) and (best is None or self.better(value, best[0])):
                best = value, evaluation
        return best
