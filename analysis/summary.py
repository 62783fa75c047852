"""The findings of a study in three to five plain sentences, computed from its numbers."""

from __future__ import annotations

import math

from batchbrew.analysis.findings import Findings, find
from batchbrew.analysis.headline import Headline, Row, headline
from batchbrew.analysis.intervals import SMALL
from batchbrew.analysis.measure import samples_per_second, step_seconds
from batchbrew.analysis.records import StudyData
from batchbrew.analysis.wording import count, duration, interval, number, percent

CLOSE = math.exp(0.1)
"""A model is said to explain a speedup when they differ by less than a tenth (on the log scale)."""


def sentences(study: StudyData) -> list[str]:
    """Return what was found and how sure it is."""
    if study.single:
        return _single(study)
    findings, head = find(study), headline(study)
    if findings.base is None:
        return [f"None of the {count(len(study.runs), 'planned run')} has finished yet, so nothing can be said so far."]
    found = [_base(study, head), *_fastest(head), *_statistics(findings), *_model(head), _certainty(study, head)]
    return found[:5]


def best_row(head: Headline) -> Row | None:
    """Return the row with the highest speedup over the base case, None when nothing is faster."""
    rows = [row for row in head.rows if row.speedup and math.isfinite(row.speedup.value)]
    best = max(rows, key=lambda row: row.speedup.value if row.speedup else 0.0, default=None)
    return best if best and best.speedup and best.speedup.value > 1 else None


def _base(study: StudyData, head: Headline) -> str:
    net = next((run.header.net.get("name") for run in study.runs if run.header), None)
    data = next((run.header.dataset.get("name") for run in study.runs if run.header), None)
    what = f"{net or 'The net'} on {data or 'its data set'}"
    row = next(row for row in head.rows if row.is_base)
    where = f"on {count(row.group.nodes, 'node')} with a global batch of {row.group.batch}"
    if not head.has_target:
        return (
            f"{what}: without a target set, speed is compared; the base case, {where}, trains "
            f"{number(row.rate.value)} samples/s."
        )
    if not math.isfinite(row.seconds.value):
        return f"{what}: most runs did not reach {head.target} {where}, so no time to target can be given for it."
    return (
        f"{what} reached {head.target} in {duration(row.seconds.value)} {where} (median of "
        f"{count(row.seconds.count, 'run')}), the best batch on so few nodes and the base of all speedups here."
    )


def _fastest(head: Headline) -> list[str]:
    if len(head.rows) < 2:
        return []
    best = best_row(head)
    if best is None:
        return ["No other case was faster than the base case."]
    assert best.speedup is not None
    group, found = best.group, best.speedup.interval
    time = f"took {duration(best.seconds.value)}" if head.has_target else f"trained {number(best.rate.value)} samples/s"
    sure = f"95 % interval {interval(found)}" if found is not None else "a single run a side, so without an interval"
    doubt = ""
    if found is not None and found.low <= 1.0 <= found.high:
        doubt = "; as the interval includes 1, these runs do not establish a speedup"
    return [
        f"The fastest case, {count(group.nodes, 'node')} with a global batch of {group.batch}, {time}: a speedup of "
        f"{number(best.speedup.value)} ({sure}) and an efficiency of {percent(best.efficiency)}{doubt}."
    ]


def _statistics(findings: Findings) -> list[str]:
    usable = [(rule, fit) for rule, fit in findings.hyperbolas.items() if fit.batches >= 3]
    if not usable:
        return []
    base = findings.base
    rule, fit = next(((r, f) for r, f in usable if base and r == (base.lr_rule, base.strategy)), usable[0])
    named = f" with the {rule[0]} learning-rate rule" if len(usable) > 1 else ""
    if fit.at_edge:
        return [
            f"The batches tried{named} do not bracket the critical batch: all of them lie on one side of the bend, "
            "so where larger batches stop paying cannot be said."
        ]
    within = f" {interval(fit.b_crit_interval)}" if fit.b_crit_interval else ""
    return [
        f"Larger batches save updates up to a critical batch of about {number(fit.b_crit)}{within}{named}; there the "
        "target takes twice the fewest possible updates and twice the fewest possible samples."
    ]


def _model(head: Headline) -> list[str]:
    best = best_row(head)
    if best is None or best.speedup is None or not math.isfinite(best.theory):
        return []
    off = best.theory_over_measured
    verdict = (
        "which explains the measurement of the fastest case"
        if 1 / CLOSE < off < CLOSE
        else (
            "so the model misses something that slows the real runs" if off > 1 else "so the model is too pessimistic"
        )
    )
    offs = [row.theory_over_measured for row in head.rows]
    offs = [value for value in offs if math.isfinite(value)]
    spread = f" (over all cases {number(min(offs))} to {number(max(offs))} times)" if len(offs) > 1 else ""
    return [
        f"From one-node and allreduce calibration alone a speedup of {number(best.theory)} was to be expected for "
        f"that case, {number(off)} times the measured one{spread}, {verdict}."
    ]


def _certainty(study: StudyData, head: Headline) -> str:
    total = sum(row.reached.total for row in head.rows)
    fewest = min(row.reached.total for row in head.rows)
    parts = [f"{total} of {count(len(study.runs), 'planned run')} have finished"]
    if head.has_target:
        parts.append(f"{sum(row.reached.count for row in head.rows)} of these reached the target")
    diverged = sum(run.state == "diverged" for run in study.runs)
    if diverged:
        parts.append(f"{diverged} diverged")
    text = "How sure: " + ", ".join(parts)
    if fewest < 2:
        text += "; cells with a single run have no interval"
    elif fewest < SMALL:
        text += f"; with as few as {count(fewest, 'run')} a cell the intervals are rather too narrow"
    over = sum(bool(run.header and run.header.environment.get("oversubscribed")) for run in study.runs)
    if over:
        text += f"; {over} runs shared cores between nodes, so their times do not show what real nodes would need"
    return text + "."


def _single(study: StudyData) -> list[str]:
    run = study.runs[0]
    cell = f"{count(run.nodes, 'node')} with a global batch of {run.batch}"
    if run.summary is None:
        return [
            f"The run {run.run_id} on {cell} has not finished (running or interrupted).",
            f"So far it made {count(int(run.last.update), 'update')} in {duration(run.last.seconds)} of training.",
        ]
    end = run.summary
    ending = f": {end.reason}" if end.reason and end.reason != end.outcome else ""
    found = [
        f"The run {run.run_id} on {cell} made {count(int(end.at_end.update), 'update')} over "
        f"{count(int(end.at_end.samples), 'sample')} in {duration(end.at_end.seconds)} of training and ended by "
        f"'{end.outcome}'{ending}.",
    ]
    if end.to_target is not None and run.target is not None:
        found.append(
            f"It reached {study.metric} {run.target:g} after {count(int(end.to_target.update), 'update')} and "
            f"{duration(end.to_target.seconds)}."
        )
    elif run.target is not None:
        found.append(f"It did not reach {study.metric} {run.target:g}.")
    found.append(
        f"An update took {duration(step_seconds(run))} (median after the warm-up), "
        f"{number(samples_per_second(run))} samples/s; being one run, nothing can be said about its spread."
    )
    return found
