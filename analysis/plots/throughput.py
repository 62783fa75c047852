"""Samples per second of one node against its local batch: calibration, the model a + c b, and the runs."""

from __future__ import annotations

import math

import numpy as np

from batchbrew.analysis.findings import find
from batchbrew.analysis.measure import Estimate, estimate, samples_per_second
from batchbrew.analysis.plots.drawing import FIGURES, Drawing, conditions
from batchbrew.analysis.plots.style import (
    COLORS,
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
from batchbrew.analysis.records import StudyData
from batchbrew.analysis.tables import Value, table
from batchbrew.analysis.theory import compute
from batchbrew.analysis.wording import count, duration, interval, number, percent

COLUMNS = ("source", "nodes", "global_batch", "local_batch", "samples_per_second_node", "low", "high")


@FIGURES.register("throughput")
@styled
def draw(study: StudyData) -> Drawing | None:
    """Draw rate against local batch on a log-log plane, with b_1/2 and the peak 1/c."""
    findings = find(study)
    timings = [t for t in study.calibration.compute if t.seconds] if study.calibration else []
    groups = [g for g in findings.groups if g.finished]
    if study.single or (not timings and len(groups) < 2):
        return None
    figure, (axis,) = panels(1, width=6.6, height=3.8)
    rows: list[dict[str, Value]] = []
    for timing in timings:
        found = estimate([timing.batch / s for s in timing.seconds])
        look = {"marker": "o", "markerfacecolor": PAPER, "markersize": 8, "color": MUTED}
        look["label"] = "one-node calibration"
        axis.plot([timing.batch], [found.value], linestyle="none", zorder=3, **look)  # type: ignore[arg-type]
        rows.append(_row("calibration", 1, timing.batch, found))
    for i, nodes in enumerate(sorted({g.nodes for g in groups})):
        for found_group in (g for g in groups if g.nodes == nodes):
            local = found_group.batch / nodes
            rates = estimate([samples_per_second(run) / nodes for run in found_group.finished])
            look = {"marker": marker(i), "markersize": 5.5, "color": color(i), "label": count(nodes, "node")}
            axis.plot([local], [rates.value], linestyle="none", zorder=4, **look)  # type: ignore[arg-type]
            rows.append(_row("runs", nodes, found_group.batch, rates))
    x_values = [r["local_batch"] for r in rows if isinstance(r["local_batch"], float)]
    y_values = [r["samples_per_second_node"] for r in rows if isinstance(r["samples_per_second_node"], float)]
    low, high = limits(y_values, 1.25)
    caption = "Open circles: one-node calibration. Small points: the runs, their throughput divided by their nodes. "
    fit = findings.compute
    if fit is not None and fit.c > 0:
        grid = np.geomspace(min(x_values), max(x_values), 80)
        axis.plot(grid, compute.throughput(grid, fit.a, fit.c), color=MUTED, zorder=2, label="model b / (a + c b)")
        peak = f"peak 1/c = {number(1.0 / fit.c)}/s"
        axis.axhline(1.0 / fit.c, color=MUTED, linestyle=(0, (5, 3)), linewidth=1, label=peak)
        high = max(high, 1.15 / fit.c)
        if fit.b_half > 0:
            half = f"b_half = {number(fit.b_half)} {interval(fit.b_half_interval)}".rstrip()
            if min(x_values) < fit.b_half < max(x_values):
                axis.axvline(fit.b_half, color=COLORS[1], linestyle=(0, (1, 1.5)), linewidth=1.4, label=half)
            caption += (
                f"Model fitted to the calibration: a = {duration(fit.a)}, c = {duration(fit.c)} a sample, {half} "
                f"samples (half of the peak rate); relative error {percent(fit.error)}. "
            )
    first, last = math.floor(math.log2(min(x_values))), math.ceil(math.log2(max(x_values)))
    log_values(axis, "x", [2.0**k for k in range(first, last + 1)])
    axis.set_xlim(*limits(x_values, 1.3))
    log_plain(axis, "y", low, high)
    axis.set_xlabel("local batch [samples per update on a node]")
    axis.set_ylabel("samples/s of one node")
    shared_legend(figure, [axis])
    return Drawing(
        figure=figure,
        table=table("throughput", COLUMNS, rows),
        title="Throughput against local batch",
        caption=caption + conditions(findings),
        alt="Samples per second of one node by local batch. "
        + "; ".join(f"{number(float(t.batch))}: {number(t.batch / float(np.median(t.seconds)))}" for t in timings)
        + ".",
        order=30,
    )


def _row(source: str, nodes: int, batch: int, rate: Estimate) -> dict[str, Value]:
    return {
        "source": source,
        "nodes": nodes,
        "global_batch": batch,
        "local_batch": batch / nodes,
        "samples_per_second_node": rate.value,
        "low": rate.interval.low if rate.interval else None,
        "high": rate.interval.high if rate.interval else None,
    }
