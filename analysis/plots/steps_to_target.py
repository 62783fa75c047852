"""Updates to the target against the global batch, with the fitted hyperbola and its three regimes."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from batchbrew.analysis.findings import Findings, Rule, find, statistical_runs
from batchbrew.analysis.measure import estimate, to_target
from batchbrew.analysis.plots.drawing import FIGURES, Drawing, conditions
from batchbrew.analysis.plots.style import (
    COLORS,
    GRID,
    MUTED,
    PAPER,
    color,
    limits,
    log_plain,
    log_values,
    marker,
    panels,
    shared_legend,
    styled,
)
from batchbrew.analysis.records import Run, StudyData
from batchbrew.analysis.tables import Value, table
from batchbrew.analysis.theory import statistics
from batchbrew.analysis.wording import interval, number

COLUMNS = ("lr_rule", "strategy", "batch", "kind", "run_id", "seed", "updates", "updates_low", "updates_high")


@FIGURES.register("steps_to_target")
@styled
def draw(study: StudyData) -> Drawing | None:
    """Draw updates to target of every seed, medians, the hyperbola with its band, perfect scaling and regimes."""
    findings = find(study)
    rules = sorted({(g.lr_rule, g.strategy) for g in findings.groups})
    runs = {rule: statistical_runs([g for g in findings.groups if (g.lr_rule, g.strategy) == rule]) for rule in rules}
    batches = sorted({run.batch for found in runs.values() for run in found})
    if study.target is None or len(batches) < 2 or not any(run.reached for found in runs.values() for run in found):
        return None
    figure, (axis,) = panels(1, width=6.6, height=4.0)
    rows: list[dict[str, Value]] = []
    for i, rule in enumerate(rules):
        name = _name(rule, rules)
        rows += _points(axis, i, name, rule, runs[rule])
        rows += _fit(axis, i, name, rule, findings)
    drawn = [v for r in rows for v in (r["updates"],) if isinstance(v, float) and r["kind"] != "fit"]
    low, high = limits(drawn, 1.6)
    span = (min(batches) / 1.4, max(batches) * 1.4)
    _perfect(axis, runs[rules[0]], span)
    log_values(axis, "x", batches)
    axis.set_xlim(*span)
    log_plain(axis, "y", low, high)
    _regimes(axis, findings, rules, span)
    axis.set_xlabel("global batch [samples per update]")
    axis.set_ylabel("updates to target")
    shared_legend(figure, [axis])
    return Drawing(
        figure=figure,
        table=table("steps_to_target", COLUMNS, rows),
        title="Updates to target against batch",
        caption=(
            f"Updates until {study.metric} {study.target:g}. Small points: one seed (runs of one batch and seed on "
            "more nodes follow the same path and are left out); large points: median. Dashed: perfect scaling, "
            "half the updates for twice the batch. Curve: S = S_min (1 + B_crit / B) with its 95 % band over seeds. "
            "Open triangles: runs that ended without reaching the target, at their last update (a lower bound); "
            "crosses: diverged runs. Shading: perfect scaling (elasticity 0.9 and more), diminishing returns, "
            f"maximal data parallelism (0.1 and less). {conditions(findings)}"
        ),
        alt=_alt(findings, runs),
        order=20,
    )


def _name(rule: Rule, rules: list[Rule]) -> str:
    if len(rules) == 1:
        return ""
    several = len({strategy for _, strategy in rules}) > 1
    return f", lr {rule[0]}" + (f", {rule[1]}" if several else "")


def _points(axis: Axes, i: int, name: str, rule: Rule, runs: list[Run]) -> list[dict[str, Value]]:
    rows: list[dict[str, Value]] = []
    for run in runs:
        updates = float(to_target(run, "updates")) if run.reached else float(run.last.update)
        kind = "reached" if run.reached else "diverged" if run.state == "diverged" else "censored"
        if kind == "reached":
            look = {"marker": "o", "markersize": 3.5, "alpha": 0.55, "color": color(i), "label": f"one seed{name}"}
        elif kind == "censored":
            look = {"marker": "^", "markersize": 8, "markerfacecolor": PAPER, "color": COLORS[1]}
            look["label"] = "target not reached by then"
        else:
            look = {"marker": "x", "markersize": 8, "color": COLORS[1], "label": "diverged"}
        if updates > 0:
            axis.plot([run.batch], [updates], linestyle="none", zorder=3, **look)  # type: ignore[arg-type]
        rows.append(_row(rule, run.batch, kind, updates, run_id=run.run_id, seed=run.seed))
    for batch in sorted({run.batch for run in runs}):
        center = estimate([to_target(run, "updates") for run in runs if run.batch == batch])
        if math.isfinite(center.value):
            look = {"marker": marker(i), "markersize": 7, "markeredgecolor": PAPER, "color": color(i)}
            axis.plot([batch], [center.value], linestyle="none", zorder=4, label=f"median{name}", **look)  # type: ignore[arg-type]
            rows.append(_row(rule, batch, "median", center.value))
    return rows


def _fit(axis: Axes, i: int, name: str, rule: Rule, findings: Findings) -> list[dict[str, Value]]:
    fit = findings.hyperbolas.get(rule)
    if fit is None:
        return []
    grid = fit.band_batches
    curve = statistics.steps(grid, fit.s_min, fit.b_crit)
    crit = f"B_crit {number(fit.b_crit)} {interval(fit.b_crit_interval)}".rstrip()
    label = f"fit{name}: {crit}" + (" (outside the measured range)" if fit.at_edge else "")
    axis.plot(grid, curve, color=color(i), zorder=2.5, label=label)
    if fit.b_crit_interval is not None:
        axis.fill_between(grid, fit.band_low, fit.band_high, color=color(i), alpha=0.18, linewidth=0, zorder=1.5)
    return [
        {**_row(rule, float(b), "fit", float(s)), "updates_low": float(lo), "updates_high": float(hi)}
        for b, s, lo, hi in zip(grid, curve, fit.band_low, fit.band_high, strict=True)
    ]


def _perfect(axis: Axes, runs: list[Run], span: tuple[float, float]) -> None:
    """Draw the perfect-scaling line through the median of the smallest batch that reached the target."""
    for batch in sorted({run.batch for run in runs}):
        start = estimate([to_target(run, "updates") for run in runs if run.batch == batch]).value
        if math.isfinite(start):
            x = np.array(span)
            axis.plot(x, start * batch / x, color=MUTED, linestyle=(0, (5, 3)), linewidth=1.1, label="perfect scaling")
            return


def _regimes(axis: Axes, findings: Findings, rules: list[Rule], span: tuple[float, float]) -> None:
    """Shade the regimes of the only fit; with several fits they would lie over each other."""
    fits = [findings.hyperbolas[rule] for rule in rules if rule in findings.hyperbolas]
    if len(fits) != 1 or fits[0].at_edge:
        return
    first, second = statistics.regime_bounds(fits[0].b_crit)
    edges = [span[0], min(max(first, span[0]), span[1]), min(max(second, span[0]), span[1]), span[1]]
    names = (statistics.PERFECT, statistics.DIMINISHING, statistics.MAXIMAL)
    for k, (left, right, name) in enumerate(zip(edges[:-1], edges[1:], names, strict=True)):
        if right <= left:
            continue
        axis.axvspan(left, right, color=GRID, alpha=(0.0, 0.35, 0.7)[k], linewidth=0, zorder=0)
        share = math.log(right / left) / math.log(span[1] / span[0])
        if share > 0.12:
            text = name if share > 0.3 else name.replace(" ", "\n")
            _note(axis, math.sqrt(left * right), 0.985, text, ha="center", va="top")
    crit = fits[0].b_crit
    if span[0] < crit < span[1]:
        axis.axvline(crit, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        _note(axis, crit * 1.03, 0.03, "B_crit", ha="left", va="bottom")


def _note(axis: Axes, x: float, y: float, text: str, **place: str) -> None:
    """Write a small text at ``x`` in data and ``y`` as a share of the height."""
    axis.text(x, y, text, transform=axis.get_xaxis_transform(), fontsize=8.5, color=MUTED, **place)  # type: ignore[arg-type]


def _row(rule: Rule, batch: float, kind: str, updates: float, **more: Value) -> dict[str, Value]:
    return {"lr_rule": rule[0], "strategy": rule[1], "batch": batch, "kind": kind, "updates": updates, **more}


def _alt(findings: Findings, runs: dict[Rule, list[Run]]) -> str:
    parts = []
    for rule, found in runs.items():
        steps = []
        for batch in sorted({run.batch for run in found}):
            center = estimate([to_target(run, "updates") for run in found if run.batch == batch]).value
            steps.append(f"{number(center, 4)} at {batch}" if math.isfinite(center) else f"not reached at {batch}")
        parts.append(f"{rule[0]} rule: {', '.join(steps)}")
        fit = findings.hyperbolas.get(rule)
        if fit is not None:
            parts.append(f"critical batch {number(fit.b_crit)}")
    return f"Median updates to target by global batch. {'; '.join(parts)}."
