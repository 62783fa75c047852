"""Runs that differ in their seed only, and series of such groups over node counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchbrew.analysis.records import Run, StudyData


@dataclass(frozen=True, eq=False)
class Group:
    """All seeds of one cell of the grid."""

    batch: int
    nodes: int
    lr_rule: str
    strategy: str
    runs: tuple[Run, ...]

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that have ended."""
        return tuple(run for run in self.runs if run.finished)

    @property
    def accumulate(self) -> int:
        """How many pieces a node cuts its share into."""
        return max(run.accumulate for run in self.runs)


@dataclass(frozen=True, order=True)
class Series:
    """What stays the same while nodes are added: the global batch (strong) or the batch per node (weak)."""

    size: float
    lr_rule: str
    strategy: str
    scaling: str

    @property
    def short(self) -> str:
        """The fixed batch in a few words."""
        size = f"{self.size:g}"
        return f"global batch {size}" if self.scaling == "strong" else f"{size} samples a node"


def group(study: StudyData) -> tuple[Group, ...]:
    """Return the cells of the grid, each with its seeds, by rule, strategy, batch and nodes."""
    cells: dict[tuple[str, str, int, int], list[Run]] = {}
    for run in study.runs:
        cells.setdefault((run.lr_rule, run.strategy, run.batch, run.nodes), []).append(run)
    return tuple(
        Group(batch, nodes, rule, strategy, tuple(sorted(runs, key=lambda run: (run.seed, run.run_id))))
        for (rule, strategy, batch, nodes), runs in sorted(cells.items())
    )


def series_of(found: Group, scaling: str) -> Series:
    """Return the series ``found`` belongs to."""
    size = found.batch if scaling == "strong" else found.batch / found.nodes
    return Series(float(size), found.lr_rule, found.strategy, scaling)


def by_series(groups: Sequence[Group], scaling: str) -> dict[Series, tuple[Group, ...]]:
    """Return the groups of each series by rising node count."""
    found: dict[Series, list[Group]] = {}
    for item in groups:
        found.setdefault(series_of(item, scaling), []).append(item)
    return {key: tuple(sorted(found[key], key=lambda item: item.nodes)) for key in sorted(found)}


def labels(series: Sequence[Series]) -> dict[Series, str]:
    """Return a label for each series: the fixed batch, and rule and strategy where these vary."""
    several_rules = len({s.lr_rule for s in series}) > 1
    several_strategies = len({s.strategy for s in series}) > 1
    return {
        s: s.short + (f", lr {s.lr_rule}" if several_rules else "") + (f", {s.strategy}" if several_strategies else "")
        for s in series
    }
