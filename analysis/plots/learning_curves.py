"""The metric during training on three axes: whether a gain is one of statistics or of speed shows at a glance."""

from __future__ import annotations

import math

from matplotlib.lines import Line2D

from batchbrew.analysis.findings import find
from batchbrew.analysis.groups import Series, labels
from batchbrew.analysis.plots.drawing import FIGURES, Drawing, conditions
from batchbrew.analysis.plots.style import DASHES, INK, MUTED, color, panels, plain_ticks, styled
from batchbrew.analysis.records import Evaluation, Run, StudyData
from batchbrew.analysis.tables import Value, table
from batchbrew.analysis.wording import count, number

COLUMNS = ("run_id", "batch", "nodes", "lr_rule", "strategy", "seed", "update", "samples", "seconds")
AXES = (("update", "updates"), ("samples", "samples"), ("train_seconds", "training time [s]"))


@FIGURES.register("learning_curves")
@styled
def draw(study: StudyData) -> Drawing | None:
    """Draw the metric of every run against updates, samples and training seconds."""
    findings = find(study)
    runs = [run for run in study.runs if sum(study.metric in e.outputs for e in run.evaluations) > 1]
    if not runs:
        return None
    figure, axes = panels(3, width=3.5, height=3.2, sharey=True)
    kinds, nodes = _kinds(runs), sorted({run.nodes for run in runs})
    drawn = _thinned(runs)
    for run in drawn:
        i, k = list(kinds).index(_kind(run)), nodes.index(run.nodes)
        points = [(e, e.outputs[study.metric]) for e in run.evaluations if study.metric in e.outputs]
        look = {"color": color(i), "linestyle": DASHES[k % len(DASHES)], "linewidth": 1.1, "alpha": 0.75}
        if study.single:
            look |= {"marker": "o", "markersize": 4, "linewidth": 1.6, "alpha": 1.0}
        for axis, (attribute, _) in zip(axes, AXES, strict=True):
            axis.plot([getattr(e, attribute) for e, _ in points], [y for _, y in points], **look)
            if run.state == "diverged":
                last, y = points[-1]
                axis.plot([getattr(last, attribute)], [y], marker="x", markersize=7, color=color(i))
    for axis, (_, label) in zip(axes, AXES, strict=True):
        axis.set_xlabel(label)
        plain_ticks(axis, "x")
        axis.set_xlim(left=0)
        axis.locator_params(axis="x", nbins=4)
        if study.target is not None:
            axis.axhline(study.target, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
    axes[0].set_ylabel(f"test {study.metric}")
    plain_ticks(axes[0], "y")
    handles = [Line2D([], [], color=color(i), label=label) for i, label in enumerate(kinds.values())]
    handles += [
        Line2D([], [], color=MUTED, linestyle=DASHES[k % len(DASHES)], label=count(n, "node"))
        for k, n in enumerate(nodes)
    ]
    if study.target is not None:
        goal = f"target {study.target:g}"
        handles.append(Line2D([], [], color=INK, linewidth=0.9, linestyle=(0, (1, 2)), label=goal))
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return Drawing(
        figure=figure,
        table=table(
            "learning_curves", (*COLUMNS, study.metric), [row for run in runs for row in _rows(run, study.metric)]
        ),
        title="Learning curves on three axes",
        caption=(
            f"Test {study.metric} at every evaluation; {_which(drawn, runs)}, colour for the global batch, "
            "dashes for the nodes. Lines of one batch that fall together over updates and samples but not over time "
            f"differ in speed only. A cross ends a diverged run. {conditions(findings)}"
        ),
        alt=_alt(runs, study.metric),
        order=50,
    )


def _kind(run: Run) -> tuple[int, str, str]:
    return run.batch, run.lr_rule, run.strategy


def _kinds(runs: list[Run]) -> dict[tuple[int, str, str], str]:
    """Return the cells that get a colour of their own, with their labels."""
    series = {_kind(run): Series(float(run.batch), run.lr_rule, run.strategy, "strong") for run in runs}
    names = labels(list(series.values()))
    return {kind: names[series[kind]] for kind in sorted(series)}


def _thinned(runs: list[Run], most: int = 30) -> list[Run]:
    """Return all runs, or of too many to tell apart one of each cell: the lowest seed, and all that went wrong."""
    if len(runs) <= most:
        return runs
    first: dict[tuple[object, ...], Run] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        first.setdefault((run.batch, run.nodes, run.lr_rule, run.strategy), run)
    return [run for run in runs if run in first.values() or run.state == "diverged"]


def _which(drawn: list[Run], runs: list[Run]) -> str:
    return "one line a run" if len(drawn) == len(runs) else "the first seed of each cell (the table has all)"


def _rows(run: Run, metric: str) -> list[dict[str, Value]]:
    def row(evaluation: Evaluation) -> dict[str, Value]:
        return {
            "run_id": run.run_id,
            "batch": run.batch,
            "nodes": run.nodes,
            "lr_rule": run.lr_rule,
            "strategy": run.strategy,
            "seed": run.seed,
            "update": evaluation.update,
            "samples": evaluation.samples,
            "seconds": evaluation.train_seconds,
            metric: evaluation.outputs[metric],
        }

    return [row(e) for e in run.evaluations if metric in e.outputs]


def _alt(runs: list[Run], metric: str) -> str:
    ends = [[e.outputs[metric] for e in run.evaluations if metric in e.outputs][-1] for run in runs]
    finite = [v for v in ends if math.isfinite(v)]
    span = f"last values from {number(min(finite))} to {number(max(finite))}" if finite else "no finite last value"
    return f"Test {metric} of {count(len(runs), 'run')} against updates, samples and training seconds; {span}."
