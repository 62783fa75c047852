"""Speedup and efficiency against nodes, each batch relative to itself on the fewest nodes."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes

from batchbrew.analysis.findings import find
from batchbrew.analysis.groups import series_of
from batchbrew.analysis.headline import Row, headline
from batchbrew.analysis.plots.drawing import FIGURES, Drawing, conditions
from batchbrew.analysis.plots.style import (
    MUTED,
    color,
    limits,
    log_values,
    marker,
    panels,
    plain_ticks,
    shared_legend,
    styled,
)
from batchbrew.analysis.records import StudyData
from batchbrew.analysis.tables import Value, table
from batchbrew.analysis.wording import number

COLUMNS = ("series", "batch", "nodes", "speedup", "low", "high", "efficiency", "base_runs", "runs")


@FIGURES.register("speedup")
@styled
def draw(study: StudyData) -> Drawing | None:
    """Draw speedup (log-log) beside efficiency, a marker for each series, with intervals."""
    findings = find(study)
    shown = [row for row in headline(study).rows if row.same_batch and 0 < row.same_batch.value < math.inf]
    if not shown:
        return None
    keys = sorted({series_of(row.group, study.scaling) for row in shown})
    all_nodes = sorted({g.nodes for key in keys for g in findings.series[key]})
    figure, (left, right) = panels(2, width=4.2, height=3.5)
    rows: list[dict[str, Value]] = []
    for i, key in enumerate(keys):
        members = [row for row in shown if series_of(row.group, study.scaling) == key]
        base = findings.base_of(members[0].group)
        dodge = 1.03 ** (i - (len(keys) - 1) / 2)
        for row in members:
            record = _record(findings.labels[key], row, base.nodes)
            rows.append(record)
            look = {"color": color(i), "marker": marker(i), "linestyle": "none", "label": findings.labels[key]}
            for axis, scale in ((left, 1.0), (right, base.nodes / row.group.nodes)):
                _point(axis, row.group.nodes * dodge, row, scale, look)
    first = all_nodes[0]
    span = [float(first), float(all_nodes[-1])]
    left.plot(span, [n / first for n in span], color=MUTED, linestyle=(0, (5, 3)), linewidth=1, label="ideal")
    right.axhline(1.0, color=MUTED, linestyle=(0, (5, 3)), linewidth=1, label="ideal")
    values = [v for r in rows for v in (r["speedup"], r["low"], r["high"]) if isinstance(v, float)]
    low, high = limits([*values, 1.0, span[1] / first], 1.15)
    log_values(left, "y", [2.0**k for k in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)])
    left.set_ylim(low, high)
    for axis in (left, right):
        log_values(axis, "x", all_nodes)
        axis.set_xlim(span[0] / 1.2, span[1] * 1.25)
        axis.set_xlabel("nodes")
    left.set_ylabel("speedup")
    right.set_ylabel("efficiency (speedup / nodes)")
    plain_ticks(right, "y")
    right.set_ylim(0, max(1.08, right.get_ylim()[1]))
    shared_legend(figure, [left])
    what = "time to target" if study.target is not None else "throughput"
    return Drawing(
        figure=figure,
        table=table("speedup", COLUMNS, rows),
        title="Speedup and efficiency against nodes",
        caption=(
            f"Speedup in {what}: median on the fewest nodes over median on p nodes, {keys[0].scaling} scaling, each "
            "batch relative to itself, with 95 % bootstrap intervals"
            f"{' (seeds drawn in pairs)' if any(r.same_batch and r.same_batch.paired for r in shown) else ''}. "
            f"Points of one node count are set apart for reading. {conditions(findings)}"
        ),
        alt="Speedup by nodes. "
        + "; ".join(
            f"{r['series']} on {r['nodes']}: {number(r['speedup'] if isinstance(r['speedup'], float) else None)}"
            for r in rows
        )
        + ".",
        order=15,
    )


def _point(axis: Axes, x: float, row: Row, scale: float, look: dict[str, Any]) -> None:
    found = row.same_batch
    assert found is not None
    errors = None
    if found.interval is not None and math.isfinite(found.interval.high):
        errors = [[(found.value - found.interval.low) * scale], [(found.interval.high - found.value) * scale]]
    axis.errorbar([x], [found.value * scale], yerr=errors, **look)


def _record(label: str, row: Row, base_nodes: int) -> dict[str, Value]:
    found = row.same_batch
    assert found is not None
    return {
        "series": label,
        "batch": row.group.batch,
        "nodes": row.group.nodes,
        "speedup": found.value,
        "low": found.interval.low if found.interval else None,
        "high": found.interval.high if found.interval else None,
        "efficiency": found.value * base_nodes / row.group.nodes,
        "base_runs": found.base_count,
        "runs": found.other_count,
    }
