"""The headline table: one row for every cell of the grid that has finished runs, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from batchbrew.analysis import predict
from batchbrew.analysis.arrays import array
from batchbrew.analysis.findings import Findings, find
from batchbrew.analysis.groups import Group
from batchbrew.analysis.intervals import Interval
from batchbrew.analysis.measure import (
    Estimate,
    Ratio,
    Reached,
    check_comparable,
    estimate,
    ratio,
    reached,
    samples_per_second,
    scaling_label,
    speedup,
    values,
)
from batchbrew.analysis.records import StudyData
from batchbrew.analysis.tables import Table, Value, View, table
from batchbrew.analysis.theory.rates import RULES, factor
from batchbrew.analysis.wording import count, duration, interval, local_batch, number, with_interval
from batchbrew.errors import UserError


@dataclass(frozen=True)
class Row:
    """One cell of the grid. ``speedup`` is against the base case, ``same_batch`` against its own series.

    Without a target ``speedup`` is one of throughput. ``theory`` is the prediction from the
    calibration alone. Numbers are NaN, ratios None where nothing supports them.
    """

    group: Group
    lr: float
    updates: Estimate
    samples: Estimate
    seconds: Estimate
    rate: Estimate
    speedup: Ratio | None
    same_batch: Ratio | None
    rate_speedup: float
    efficiency: float
    theory: float
    reached: Reached
    planned: int
    is_base: bool

    @property
    def theory_over_measured(self) -> float:
        """Predicted over measured speedup: 1 when the model explains the measurement."""
        return self.theory / self.speedup.value if self.speedup and self.speedup.value else math.nan

    @property
    def node_seconds(self) -> float:
        """Nodes times seconds to the target: what the run costs."""
        return self.group.nodes * self.seconds.value


@dataclass(frozen=True)
class Headline:
    """The rows, what they are relative to, and why a ratio is missing where one is."""

    base: str
    scaling: str
    target: str
    has_target: bool
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def table(self) -> Table:
        """Return the rows as a tidy table."""
        return table("headline", COLUMNS, [_record(self, row) for row in self.rows])

    def view(self) -> View:
        """Return the rows as texts under short headings."""
        return _view(self)


@lru_cache(maxsize=8)
def headline(study: StudyData) -> Headline:
    """Return the headline table of a study.

    Computed once for each study. Runs that are not comparable yield no ratio and a note instead.
    """
    findings = find(study)
    notes: list[str] = []
    rows = tuple(_row(findings, g, notes) for g in findings.groups if g.finished)
    target = f"{study.metric} {study.target:g}" if study.target is not None else "no target set"
    return Headline(
        base=_base_text(findings),
        scaling=scaling_label(study.scaling),
        target=target,
        has_target=study.target is not None,
        rows=rows,
        notes=tuple(dict.fromkeys(notes)),
    )


def _row(findings: Findings, found: Group, notes: list[str]) -> Row:
    base = findings.base
    against_base = _speedup(findings, base, found, notes)
    rates = [samples_per_second(run) for run in found.finished]
    rate = estimate(rates)
    base_rate = estimate([samples_per_second(r) for r in base.finished]).value if base else math.nan
    scale = found.nodes / base.nodes if base else math.nan
    theory = math.nan
    if base is not None:
        first, second = _key(base), _key(found)
        theory = (
            predict.goal_speedup(findings, first, second)
            if findings.study.target is not None
            else (
                predict.step_seconds(findings, *first[:2])
                / predict.step_seconds(findings, *second[:2])
                * found.batch
                / base.batch
            )
        )
    return Row(
        group=found,
        lr=_rate(found),
        updates=estimate(values(found.runs, "updates")),
        samples=estimate(values(found.runs, "samples")),
        seconds=estimate(values(found.runs, "seconds")),
        rate=rate,
        speedup=against_base,
        same_batch=_speedup(findings, findings.base_of(found), found, notes),
        rate_speedup=rate.value / base_rate,
        efficiency=1.0 if found is base else against_base.value / scale if against_base else math.nan,
        theory=theory,
        reached=reached(found.runs),
        planned=len(found.runs),
        is_base=found is base,
    )


def _speedup(findings: Findings, base: Group | None, found: Group, notes: list[str]) -> Ratio | None:
    """Return the speedup of ``found``, by time to target or, without one, by seconds per sample."""
    if base is None or base is found:
        return None
    try:
        if findings.study.target is not None:
            return speedup(base.runs, found.runs)
        check_comparable([*base.finished, *found.finished])
    except UserError as error:
        notes.append(str(error))
        return None
    costs = [array([1.0 / samples_per_second(run) for run in g.finished]) for g in (base, found)]
    return ratio(costs[0], costs[1])


def _key(found: Group) -> tuple[int, int, str, str]:
    return found.batch, found.nodes, found.lr_rule, found.strategy


def _rate(found: Group) -> float:
    """Return the learning rate at the start, after a warm-up: base rate times the factor of its rule."""
    spec = next((run.spec for run in found.runs if run.spec), None)
    if spec is None or found.lr_rule not in RULES:
        return math.nan
    return spec.base_lr * float(factor(found.lr_rule, found.batch, spec.lr_base_batch))


def _base_text(findings: Findings) -> str:
    base = findings.base
    if base is None:
        return "no finished run yet"
    text = f"{count(base.nodes, 'node')}, global batch {base.batch}, lr rule {base.lr_rule}, {base.strategy}"
    if findings.study.target is None:
        rate = estimate([samples_per_second(run) for run in base.finished])
        return f"{text}: {number(rate.value)} samples/s (the same parallel program on the fewest nodes)"
    time = estimate(values(base.runs))
    return (
        f"{text}: {duration(time.value)} {interval(time.interval)}".rstrip()
        + f" to the target (median of {count(time.count, 'run')}; the same parallel program on the fewest nodes, "
        "at its best batch)"
    )


COLUMNS = (
    "batch", "nodes", "local_batch", "lr", "lr_rule", "strategy", "scaling", "is_base",
    "updates_to_target", "samples_to_target",
    "seconds_to_target", "seconds_low", "seconds_high", "node_seconds", "samples_per_second",
    "speedup", "speedup_low", "speedup_high", "fieller_low", "fieller_high", "efficiency",
    "speedup_same_series", "speedup_same_series_low", "speedup_same_series_high", "throughput_speedup",
    "theory_speedup", "theory_over_measured",
    "reached", "finished", "planned", "reached_low", "reached_high",
)  # fmt: skip


def _record(head: Headline, row: Row) -> dict[str, Value]:
    record: dict[str, Value] = {
        "batch": row.group.batch,
        "nodes": row.group.nodes,
        "local_batch": local_batch(row.group.batch, row.group.nodes),
        "lr": row.lr,
        "lr_rule": row.group.lr_rule,
        "strategy": row.group.strategy,
        "scaling": head.scaling.split(" ")[0],
        "is_base": row.is_base,
        "updates_to_target": row.updates.value,
        "samples_to_target": row.samples.value,
        "seconds_to_target": row.seconds.value,
        "node_seconds": row.node_seconds,
        "samples_per_second": row.rate.value,
        "efficiency": row.efficiency,
        "throughput_speedup": row.rate_speedup,
        "theory_speedup": row.theory,
        "theory_over_measured": row.theory_over_measured,
        "reached": row.reached.count,
        "finished": row.reached.total,
        "planned": row.planned,
    }
    record |= _sides("seconds", row.seconds.interval) | _sides("reached", row.reached.interval)
    for name, found in (("speedup", row.speedup), ("speedup_same_series", row.same_batch)):
        if found is not None:
            record |= {name: found.value} | _sides(name, found.interval)
    return record | _sides("fieller", row.speedup.fieller if row.speedup else None)


def _sides(name: str, found: Interval | None) -> dict[str, Value]:
    return {} if found is None else {f"{name}_low": found.low, f"{name}_high": found.high}


def _view(head: Headline) -> View:
    series = "same batch only" if head.scaling.startswith("strong") else "same batch a node"
    return View(
        caption=f"Time to {head.target}, {head.scaling}. Speedup is relative to the base case: {head.base}.",
        columns=(
            *("global batch", "nodes", "a node", "lr", "lr rule", "updates", "samples", "seconds [95\u00a0%]"),
            *("samples/s", "speedup [95\u00a0%]", "efficiency", series, "theory / measured", "reached"),
        ),
        rows=tuple(_cells(row) for row in head.rows),
        numeric=(True, True, True, True, False, *[True] * 9),
        marks=tuple("base" if row.is_base else "" for row in head.rows),
    )


def _cells(row: Row) -> tuple[str, ...]:
    def shown(found: Ratio | None) -> str:
        return "1 (base)" if found is None and row.is_base else _ratio(found)

    seconds = with_interval(row.seconds.value, row.seconds.interval)
    waiting = row.planned - row.reached.total
    return (
        str(row.group.batch),
        str(row.group.nodes),
        local_batch(row.group.batch, row.group.nodes),
        number(row.lr, short=True),
        row.group.lr_rule,
        number(row.updates.value, 4),
        number(row.samples.value, 4),
        "not reached" if math.isinf(row.seconds.value) else seconds,
        number(row.rate.value),
        shown(row.speedup),
        number(row.efficiency, 2),
        _ratio(row.same_batch),
        number(row.theory_over_measured),
        f"{row.reached.count} of {row.reached.total}" + (f", {waiting} open" if waiting else ""),
    )


def _ratio(found: Ratio | None) -> str:
    return with_interval(found.value, found.interval) if found else "–"
