"""What was measured: times to a target, speedups with intervals, censoring, and what may be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from batchbrew.analysis.arrays import Array, array
from batchbrew.analysis.intervals import (
    DRAWS,
    SMALL,
    Interval,
    Statistic,
    bootstrap,
    bootstrap_ratio,
    center,
    fieller,
    wilson,
)
from batchbrew.analysis.records import TRAINING_ACCOUNTS, Run
from batchbrew.errors import UserError

Unit = Literal["seconds", "samples", "updates"]
UNITS: tuple[Unit, ...] = ("updates", "samples", "seconds")


def to_target(run: Run, unit: Unit = "seconds") -> float:
    """Return what ``run`` needed to its target: NaN while not finished, infinite when it never got there."""
    if not run.finished or run.target is None:
        return math.nan
    moment = run.summary.to_target if run.summary else None
    if moment is None:
        return math.inf
    return {"updates": moment.update, "samples": moment.samples, "seconds": moment.seconds}[unit]


def step_seconds(run: Run) -> float:
    """Return the median training seconds of one update after the warm-up; NaN when nothing was recorded."""
    if run.summary is not None and run.summary.step_seconds.get("median"):
        return run.summary.step_seconds["median"]
    warmup = run.spec.warmup_updates if run.spec else 0
    steps = [s for segment in run.segments for s in segment.step_seconds][warmup:]
    return float(np.median(steps)) if steps else math.nan


def samples_per_second(run: Run) -> float:
    """Return the training throughput after the warm-up; NaN when nothing was recorded."""
    if run.summary is not None and math.isfinite(run.summary.samples_per_second):
        return run.summary.samples_per_second
    return run.batch / step_seconds(run)


def account_seconds(run: Run) -> dict[str, float]:
    """Return the mean seconds per update of each training account, without the segments of the warm-up.

    When the whole run lies within the warm-up all of it is used.
    """
    warmup = run.spec.warmup_updates if run.spec else 0
    warm = [s for s in run.segments if s.update - s.updates >= warmup] or list(run.segments)
    updates = sum(s.updates for s in warm)
    if not updates:
        return {}
    return {name: sum(s.accounts.get(name, 0.0) for s in warm) / updates for name in TRAINING_ACCOUNTS}


def values(runs: Sequence[Run], unit: Unit = "seconds") -> Array:
    """Return the (n,) values to target of the finished runs, ordered by seed; misses are infinite."""
    ordered = sorted((run for run in runs if run.finished), key=lambda run: (run.seed, run.run_id))
    return array([to_target(run, unit) for run in ordered])


@dataclass(frozen=True)
class Reached:
    """How many finished runs met the target, with a Wilson interval of their share."""

    count: int
    total: int
    interval: Interval


def reached(runs: Sequence[Run]) -> Reached:
    """Return how many of the finished ``runs`` met the target."""
    finished = [run for run in runs if run.finished]
    count = sum(run.reached for run in finished)
    return Reached(count, len(finished), wilson(count, len(finished)))


@dataclass(frozen=True)
class Estimate:
    """A median or mean over seeds with its bootstrap interval (None for fewer than two); infinite: mostly missed."""

    value: float
    interval: Interval | None
    count: int


def estimate(sample: Sequence[float] | Array, statistic: Statistic = "median") -> Estimate:
    """Return the center of the numbers in ``sample`` that are not NaN."""
    v = array(sample)
    v = v[~np.isnan(v)]
    if v.size == 0:
        return Estimate(math.nan, None, 0)
    return Estimate(float(center(v, statistic)), bootstrap(v, statistic), int(v.size))


@dataclass(frozen=True)
class Ratio:
    """A speedup T_base / T_other with its intervals and what to beware of."""

    value: float
    interval: Interval | None
    fieller: Interval | None
    statistic: Statistic
    paired: bool
    base_count: int
    other_count: int
    warnings: tuple[str, ...]


def speedup(
    base: Sequence[Run],
    other: Sequence[Run],
    unit: Unit = "seconds",
    statistic: Statistic = "median",
    *,
    draws: int = DRAWS,
) -> Ratio:
    """Return center(T_base) / center(T_other) over the finished runs; > 1 means ``other`` is faster.

    Runs that missed the target count as infinite, so use the median when there are any. When both
    sides hold the same seeds these are resampled as pairs. ``fieller`` belongs to the ratio of means.
    Raises UserError when any two runs are not comparable.
    """
    check_comparable([*base, *other])
    pairs = _seeds(base) == _seeds(other) and len(set(_seeds(base))) == len(_seeds(base))
    return ratio(values(base, unit), values(other, unit), statistic, paired=pairs, draws=draws)


def ratio(
    base: Array, other: Array, statistic: Statistic = "median", *, paired: bool = False, draws: int = DRAWS
) -> Ratio:
    """Return center(base) / center(other) with intervals; ``paired`` when position i is the same seed in both."""
    if base.size == 0 or other.size == 0:
        return Ratio(math.nan, None, None, statistic, paired, base.size, other.size, ("no finished run on one side",))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(center(base, statistic) / center(other, statistic))
    return Ratio(
        value=value,
        interval=bootstrap_ratio(base, other, statistic, paired=paired, draws=draws),
        fieller=fieller(base, other, paired=paired),
        statistic=statistic,
        paired=paired,
        base_count=base.size,
        other_count=other.size,
        warnings=_warnings(base, other),
    )


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise UserError naming two runs that differ in something that must match for a ratio of their times."""
    known = [run for run in runs if run.spec is not None]
    for run in known[1:]:
        first, second = known[0].spec, run.spec
        assert first is not None and second is not None
        if first.comparable != second.comparable:
            raise UserError(
                f"runs {first.run_id} and {second.run_id} are not comparable{_difference(first.raw, second.raw)}; "
                "form ratios only between runs with the same data, net, target, evaluation and threads"
            )


def scaling_label(scaling: str) -> str:
    """Return the words that say what was held fixed."""
    return {"strong": "strong scaling (fixed global batch)", "weak": "weak scaling (fixed batch per node)"}[scaling]


def _seeds(runs: Sequence[Run]) -> list[int]:
    return sorted(run.seed for run in runs if run.finished)


def _warnings(base: Array, other: Array) -> tuple[str, ...]:
    found = []
    fewest = min(base.size, other.size)
    if fewest < 2:
        found.append("one run on one side: no interval can be given")
    elif fewest < SMALL:
        found.append(f"{fewest} runs on one side: with fewer than {SMALL} the bootstrap interval is too narrow")
    missed = int(np.isinf(base).sum() + np.isinf(other).sum())
    if missed:
        found.append(f"{missed} of {base.size + other.size} runs missed the target and count as infinitely slow")
    return tuple(found)


MAY_DIFFER = {
    *(
        "run_id",
        "study",
        "net",
        "solver",
        "data",
        "batch",
        "nodes",
        "accumulate",
        "seed",
        "strategy",
        "strategy_options",
    ),
    *("balancer", "lr_rule", "lr_base_batch", "lr_warmup_samples", "start", "allow_oversubscription"),
}
"""Settings that a study varies, or that only name things: never why two runs are not comparable."""


def _difference(first: object, second: object) -> str:
    """Return `` (they differ in ...)`` for two raw specs."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return ""
    keys = sorted((first.keys() | second.keys()) - MAY_DIFFER - {"comparable"})
    names = [key for key in keys if first.get(key) != second.get(key)]
    return f" (they differ in {', '.join(names)})" if names else ""
