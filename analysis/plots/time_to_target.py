"""Time to the target against nodes: what was measured, and what theory says from one node."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from batchbrew.analysis import predict
from batchbrew.analysis.arrays import Array, array
from batchbrew.analysis.findings import Findings, find
from batchbrew.analysis.groups import Group, Series, series_of
from batchbrew.analysis.intervals import Interval
from batchbrew.analysis.measure import estimate, to_target, values
from batchbrew.analysis.plots.drawing import FIGURES, Drawing, conditions
from batchbrew.analysis.plots.style import (
    COLORS,
    DASHES,
    INK,
    MUTED,
    PAPER,
    limits,
    log_plain,
    log_values,
    panels,
    shared_legend,
    styled,
)
from batchbrew.analysis.records import StudyData
from batchbrew.analysis.tables import Value, table
from batchbrew.analysis.theory.laws import amdahl
from batchbrew.analysis.wording import duration, number, percent

Curve = Callable[[list[int]], Array]
COLUMNS = ("series", "batch", "nodes", "kind", "name", "seed", "seconds", "seconds_low", "seconds_high")


@FIGURES.register("time_to_target")
@styled
def draw(study: StudyData) -> Drawing | None:
    """Draw a panel for each fixed batch: seeds, median with interval, and the theory curves."""
    findings = find(study)
    shown = {
        key: members
        for key, members in findings.series.items()
        if len({g.nodes for g in members if g.finished}) > 1 and any(run.reached for g in members for run in g.runs)
    }
    if study.target is None or not shown:
        return None
    figure, axes = panels(len(shown), sharey=True)
    rows: list[dict[str, Value]] = []
    for axis, (key, members) in zip(axes, shown.items(), strict=True):
        new = _curves(axis, findings, key, members) + _measured(axis, findings, members)
        rows += new
        axis.set_title(findings.labels[key])
        axis.set_xlabel("nodes")
        log_values(axis, "x", [g.nodes for g in members])
    seconds = [v for r in rows for v in (r["seconds"], r.get("seconds_high")) if isinstance(v, float)]
    measured = [r["seconds"] for r in rows if r["kind"] != "theory" and isinstance(r["seconds"], float)]
    for axis in axes:
        log_plain(axis, "y", limits(seconds)[0], limits(measured, 1.5)[1])
    for axis in axes[:: 2 if len(axes) == 4 else 3]:
        axis.set_ylabel("time to target [s]")
    shared_legend(figure, axes)
    return Drawing(
        figure=figure,
        table=table("time_to_target", COLUMNS, rows),
        title="Time to target against nodes",
        caption=(
            f"Training seconds until {study.metric} {study.target:g}, evaluation not counted. Large points: median "
            "over seeds with its 95 % bootstrap interval (a bar that leaves the panel has no upper end); "
            "small points: every seed; open triangles: runs that ended without "
            "reaching the target. The theory curves begin at the measured time on the fewest nodes; apart from "
            "Amdahl's law, which is fitted to the measured times, they use only one-node and allreduce "
            f"calibration{_reach(findings)}. {conditions(findings)}"
        ),
        alt=_alt(findings, shown),
        order=10,
    )


def _measured(axis: Axes, findings: Findings, members: tuple[Group, ...]) -> list[dict[str, Value]]:
    rows: list[dict[str, Value]] = []
    for found in members:
        for i, run in enumerate(found.finished):
            x = found.nodes * 1.035 ** (i - (len(found.finished) - 1) / 2)
            seconds = to_target(run) if run.reached else run.last.seconds
            style = {"color": MUTED, "marker": "o", "markersize": 3.5, "alpha": 0.7, "label": "one seed"}
            if not run.reached:
                style = {"color": COLORS[1], "marker": "^", "markersize": 7, "markerfacecolor": PAPER}
                style["label"] = "target not reached by then"
            axis.plot([x], [seconds], linestyle="none", zorder=3, **style)  # type: ignore[arg-type]
            kind = "reached" if run.reached else run.state if run.state == "diverged" else "censored"
            rows.append(_row(findings, found, kind, run.run_id, seconds, seed=run.seed))
        center = estimate(values(found.runs))
        if math.isfinite(center.value):
            _point(axis, found.nodes, center.value, center.interval)
            ends = center.interval
            sides: dict[str, Value] = {"seconds_low": ends.low, "seconds_high": ends.high} if ends else {}
            rows.append(_row(findings, found, "measured", "median", center.value, **sides))
    return rows


def _point(axis: Axes, x: float, y: float, found: Interval | None) -> None:
    errors = None
    if found is not None:
        high = found.high if math.isfinite(found.high) else y * 1e6
        errors = [[y - found.low], [high - y]]
    axis.errorbar([x], [y], yerr=errors, color=INK, marker="o", linestyle="none", zorder=4, label="measured median")


def _curves(axis: Axes, findings: Findings, key: Series, members: tuple[Group, ...]) -> list[dict[str, Value]]:
    base = next(g for g in members if g.finished)
    start = estimate(values(base.runs)).value
    if not math.isfinite(start):
        return []
    nodes = list(range(base.nodes, max(g.nodes for g in members) + 1))
    rows: list[dict[str, Value]] = []
    for i, (name, curve) in enumerate(_theory(findings, key, base).items()):
        speedups = curve(nodes)
        if not np.isfinite(speedups[1:]).any():
            continue
        seconds = start / speedups
        look = {"color": MUTED, "linewidth": 1.0} if name == "ideal" else {"color": COLORS[i - 1]}
        axis.plot(nodes, seconds, linestyle=DASHES[i], label=name, zorder=2, **look)
        rows += [
            {
                "series": findings.labels[key],
                "batch": int(key.size) if key.scaling == "strong" else round(key.size * p),
                "nodes": p,
                "kind": "theory",
                "name": name,
                "seconds": float(s),
            }
            for p, s in zip(nodes, seconds, strict=True)
        ]
    return rows


def _theory(findings: Findings, key: Series, base: Group) -> dict[str, Curve]:
    """Return speedups relative to ``base`` as functions of node counts, by the name in the legend."""

    def relative(curve: Curve) -> Curve:
        return lambda nodes: curve(nodes) / curve([base.nodes])[0]

    curves: dict[str, Curve] = {"ideal": lambda nodes: array(nodes) / base.nodes}
    fit = findings.amdahl.get(key)
    if fit is not None:
        curves[
            f"Amdahl's law, serial {percent(fit.serial_fraction)}" if len(findings.amdahl) == 1 else "Amdahl fit"
        ] = relative(lambda nodes: amdahl(fit.serial_fraction, nodes))
    if key.scaling == "strong":
        curves["compute + allreduce"] = relative(lambda nodes: predict.comm_speedup(findings, int(key.size), nodes))
    else:
        first = (base.batch, base.nodes, key.lr_rule, key.strategy)
        curves["compute + allreduce + statistics"] = lambda nodes: array(
            [predict.goal_speedup(findings, first, (round(key.size * p), p, key.lr_rule, key.strategy)) for p in nodes]
        )
    curves["training-set size, T(N) / T(N/p)"] = relative(lambda nodes: predict.set_size_speedup(findings, nodes))
    return curves


def _row(findings: Findings, found: Group, kind: str, name: str, seconds: float, **more: Value) -> dict[str, Value]:
    label = findings.labels[series_of(found, findings.study.scaling)]
    return {
        "series": label,
        "batch": found.batch,
        "nodes": found.nodes,
        "kind": kind,
        "name": name,
        "seconds": seconds,
        **more,
    }


def _reach(findings: Findings) -> str:
    """Say when the set-size curve is read beyond the sizes it was measured at."""
    calibration = findings.study.calibration
    largest = max((t.samples for t in calibration.set_size), default=0) if calibration else 0
    if calibration is None or not 0 < largest < calibration.train_samples:
        return ""
    return f" (training-set size: measured up to {number(largest)} samples and prolonged from there)"


def _alt(findings: Findings, shown: dict[Series, tuple[Group, ...]]) -> str:
    parts = []
    for key, members in shown.items():
        steps = [f"{duration(estimate(values(g.runs)).value)} on {g.nodes}" for g in members if g.finished]
        parts.append(f"{findings.labels[key]}: {', '.join(steps)}")
    return f"Median time to target by number of nodes. {'; '.join(parts)}."
