"""Where the time of an update goes, by account, against nodes and batch."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from batchbrew.analysis.findings import find
from batchbrew.analysis.groups import Group
from batchbrew.analysis.measure import account_seconds
from batchbrew.analysis.plots.drawing import FIGURES, Drawing, conditions
from batchbrew.analysis.plots.style import COLORS, INK, PAPER, panels, plain_ticks, shared_legend, styled
from batchbrew.analysis.records import TRAINING_ACCOUNTS, Run, StudyData
from batchbrew.analysis.tables import Value, table
from batchbrew.analysis.wording import number, percent

COLUMNS = ("series", "batch", "nodes", "account", "milliseconds_per_update", "share")
# Compute is the useful part, reduce and wait are what parallelism costs: neighbours differ in hue and lightness.
LOOKS = {
    "data": (COLORS[5], ""),
    "compute": (COLORS[0], ""),
    "reduce": (COLORS[1], "//"),
    "wait": (COLORS[4], "xx"),
    "update": (COLORS[2], ".."),
}


@FIGURES.register("breakdown")
@styled
def draw(study: StudyData) -> Drawing | None:
    """Draw stacked bars of milliseconds per update, a panel for each series, a bar for each node count."""
    findings = find(study)
    shown = {
        key: [(g, means) for g in members if (means := _means(g.runs))] for key, members in findings.series.items()
    }
    shown = {key: bars for key, bars in shown.items() if bars}
    if not shown:
        return None
    figure, axes = panels(len(shown), width=2.9, height=2.8)
    rows: list[dict[str, Value]] = []
    for axis, (key, bars) in zip(axes, shown.items(), strict=True):
        _bars(axis, bars)
        axis.set_title(findings.labels[key])
        axis.set_xlabel("nodes")
        axis.set_ylabel("time of an update [ms]")
        for found, means in bars:
            total = sum(means.values())
            rows += [
                {
                    "series": findings.labels[key],
                    "batch": found.batch,
                    "nodes": found.nodes,
                    "account": name,
                    "milliseconds_per_update": 1e3 * means[name],
                    "share": means[name] / total if total else None,
                }
                for name in TRAINING_ACCOUNTS
            ]
    shared_legend(figure, axes, columns=5)
    return Drawing(
        figure=figure,
        table=table("breakdown", COLUMNS, rows),
        title="Where the time of an update goes",
        caption=(
            "Mean milliseconds per update in each account (mean over nodes, segments after the warm-up, and seeds); "
            "the number on a bar is its total. Evaluation and saving are not part of the training time. "
            f"Each panel has its own scale. {conditions(findings)}"
        ),
        alt=_alt([bar for bars in shown.values() for bar in bars]),
        order=40,
    )


def _means(runs: Sequence[Run]) -> dict[str, float]:
    """Return the mean over runs of the seconds per update of each account; empty when nothing was recorded."""
    found = [seconds for run in runs if (seconds := account_seconds(run))]
    if not found:
        return {}
    return {name: sum(seconds[name] for seconds in found) / len(found) for name in TRAINING_ACCOUNTS}


def _bars(axis: Axes, bars: Sequence[tuple[Group, dict[str, float]]]) -> None:
    places = range(len(bars))
    bottoms = [0.0] * len(bars)
    for name in TRAINING_ACCOUNTS:
        heights = [1e3 * means[name] for _, means in bars]
        face, hatch = LOOKS[name]
        axis.bar(
            places,
            heights,
            bottom=bottoms,
            width=0.68,
            color=face,
            hatch=hatch,
            edgecolor=PAPER,
            linewidth=0.5,
            label=name,
        )
        bottoms = [b + h for b, h in zip(bottoms, heights, strict=True)]
    for x, top in zip(places, bottoms, strict=True):
        axis.annotate(number(top), (x, top), (0, 2), textcoords="offset points", ha="center", fontsize=8.5, color=INK)
    plain_ticks(axis, "y")
    axis.set_ylim(0, max(bottoms) * 1.14 if max(bottoms) else 1)
    axis.set_xticks(list(places), [str(g.nodes) for g, _ in bars])
    axis.set_xlim(-0.6, max(len(bars) - 0.4, 1.6))
    axis.grid(axis="x", visible=False)


def _alt(bars: Sequence[tuple[Group, dict[str, float]]]) -> str:
    parts = []
    for found, means in bars:
        total = sum(means.values())
        shares = (
            ", ".join(f"{name} {percent(means[name] / total)}" for name in TRAINING_ACCOUNTS) if total else "nothing"
        )
        parts.append(f"batch {found.batch} on {found.nodes}: {number(1e3 * total)} ms, of which {shares}")
    return f"Milliseconds per update by account. {'; '.join(parts)}."
