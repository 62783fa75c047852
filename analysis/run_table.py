"""The table of all runs of a study, whatever became of them."""

from __future__ import annotations

from batchbrew.analysis.measure import samples_per_second, step_seconds
from batchbrew.analysis.records import Run, StudyData
from batchbrew.analysis.tables import Table, Value, View, table
from batchbrew.analysis.wording import number

COLUMNS = (
    "run_id", "batch", "nodes", "seed", "lr_rule", "strategy", "state", "outcome", "reason", "censored",
    "updates", "samples", "train_seconds", "updates_to_target", "samples_to_target", "seconds_to_target",
    "best", "step_seconds", "samples_per_second", "resumes",
)  # fmt: skip


def runs_table(study: StudyData) -> Table:
    """Return one row a run of the grid, missing ones included."""
    return table("runs", COLUMNS, [_record(run, study.metric) for run in study.runs])


def runs_view(study: StudyData) -> View:
    """Return the runs as texts; outcome words, not only colour, tell what went wrong."""
    return View(
        caption="The run." if study.single else f"All {len(study.runs)} runs of the grid. "
        "Censored: ended without reaching the target.",
        columns=("run", "global batch", "nodes", "seed", "lr rule", "outcome", "updates", "training [s]",
                 "to target [s]", f"best {study.metric}", "update [ms]", "samples/s"),
        rows=tuple(_cells(run, study.metric) for run in study.runs),
        numeric=(False, True, True, True, False, False, *[True] * 6),
        marks=tuple(mark(run) for run in study.runs),
    )  # fmt: skip


def mark(run: Run) -> str:
    """Return the word that a run's row is marked with; empty for a run that went well."""
    if run.state != "done":
        return run.state
    return "censored" if run.censored else ""


def outcome(run: Run) -> str:
    """Return in words what became of a run.

    >>> outcome(Run("a", 32, 1, 0, "none", "sync", "missing", None))
    'missing'
    """
    if run.state == "missing":
        return "missing"
    if run.state == "running":
        return "not finished"
    assert run.summary is not None
    return f"censored ({run.summary.outcome})" if run.state == "done" and run.censored else run.summary.outcome


def _record(run: Run, metric: str) -> dict[str, Value]:
    record: dict[str, Value] = {
        "run_id": run.run_id,
        "batch": run.batch,
        "nodes": run.nodes,
        "seed": run.seed,
        "lr_rule": run.lr_rule,
        "strategy": run.strategy,
        "state": run.state,
        "censored": run.censored,
    }
    if run.state == "missing":
        return record
    record |= {
        "updates": run.last.update,
        "samples": run.last.samples,
        "train_seconds": run.last.seconds,
        "step_seconds": step_seconds(run),
        "samples_per_second": samples_per_second(run),
        "resumes": sum(event.event == "resume" for event in run.events),
    }
    if run.summary is not None:
        record |= {"outcome": run.summary.outcome, "reason": run.summary.reason, "best": run.summary.best.get(metric)}
        moment = run.summary.to_target
        if moment is not None:
            record |= {
                "updates_to_target": moment.update,
                "samples_to_target": moment.samples,
                "seconds_to_target": moment.seconds,
            }
    return record


def _cells(run: Run, metric: str) -> tuple[str, ...]:
    cell = (run.run_id, str(run.batch), str(run.nodes), str(run.seed), run.lr_rule, outcome(run))
    if run.state == "missing":
        return (*cell, *["–"] * 6)
    reached = run.summary.to_target.seconds if run.summary and run.summary.to_target else None
    best = run.summary.best.get(metric) if run.summary else None
    return (
        *cell,
        number(run.last.update, 9),
        number(run.last.seconds, 4),
        number(reached, 4),
        number(best, 4),
        number(1e3 * step_seconds(run)),
        number(samples_per_second(run)),
    )
