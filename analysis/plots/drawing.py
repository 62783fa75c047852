"""What a figure function returns, and where it is entered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from batchbrew.analysis.findings import Findings
from batchbrew.analysis.measure import scaling_label
from batchbrew.analysis.records import StudyData
from batchbrew.analysis.tables import Table
from batchbrew.analysis.wording import count
from batchbrew.registry import Registry


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with everything that goes with it.

    ``table`` holds every number drawn, ``caption`` says how to read it and under which conditions it
    was measured, ``alt`` says what it shows to those who do not see it, ``order`` places it in the report.
    """

    figure: Figure
    table: Table
    title: str
    caption: str
    alt: str
    order: int


FIGURES: Registry[Callable[[StudyData], Drawing | None]] = Registry("figure")


def conditions(findings: Findings) -> str:
    """Return the sentence of measuring conditions that ends every caption."""
    study = findings.study
    specs = [run.spec for run in study.runs if run.spec]
    threads = sorted({spec.threads for spec in specs})
    over = sum(bool(run.header and run.header.environment.get("oversubscribed")) for run in study.runs)
    parts = [scaling_label(study.scaling)]
    if threads:
        parts.append(f"{'/'.join(map(str, threads))} {'thread' if threads == [1] else 'threads'} a node")
    if not study.single:
        seeds = sorted({len(g.finished) for g in findings.groups if g.finished})
        if seeds:
            spread = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
            parts.append(f"{spread} {'seed' if seeds == [1] else 'seeds'} a cell")
    if study.warmup_updates:
        parts.append(f"step times without the first {count(study.warmup_updates, 'update')}")
    parts.append(
        f"{over} of {len(study.runs)} runs oversubscribed (more threads than cores)" if over else "not oversubscribed"
    )
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."
