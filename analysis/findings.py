"""What a study shows, computed once: groups, base case, fits and warnings; figures and tables only present it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from batchbrew.analysis import groups as grouping
from batchbrew.analysis.fit import AllreduceFit, AmdahlFit, ComputeFit, fit_allreduce, fit_amdahl, fit_compute
from batchbrew.analysis.groups import Group, Series
from batchbrew.analysis.hyperbola import HyperbolaFit, fit_hyperbola
from batchbrew.analysis.intervals import SMALL
from batchbrew.analysis.measure import estimate, samples_per_second, to_target, values
from batchbrew.analysis.records import Run, StudyData

Rule = tuple[str, str]
"""Learning-rate rule and strategy: what the relation of batch and updates depends on."""


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything the presentation of a study needs; None or absent where the runs do not give it."""

    study: StudyData
    groups: tuple[Group, ...]
    series: Mapping[Series, tuple[Group, ...]]
    labels: Mapping[Series, str]
    base: Group | None
    compute: ComputeFit | None
    allreduce: AllreduceFit | None
    hyperbolas: Mapping[Rule, HyperbolaFit]
    amdahl: Mapping[Series, AmdahlFit]
    warnings: tuple[str, ...]

    def base_of(self, found: Group) -> Group:
        """Return the group with the fewest nodes that has finished runs in the series of ``found``."""
        members = self.series[grouping.series_of(found, self.study.scaling)]
        return next((m for m in members if m.finished), members[0])


@lru_cache(maxsize=8)
def find(study: StudyData) -> Findings:
    """Return the findings of ``study``; the same object when asked again."""
    groups = grouping.group(study)
    series = grouping.by_series(groups, study.scaling)
    has_target = study.target is not None
    amdahl = {key: fit_amdahl({g.nodes: values(g.runs) for g in members}) for key, members in series.items()}
    return Findings(
        study=study,
        groups=groups,
        series=series,
        labels=grouping.labels(list(series)),
        base=_base(groups, has_target),
        compute=_compute(study),
        allreduce=_allreduce(study),
        hyperbolas=_hyperbolas(groups) if has_target else {},
        amdahl={key: fit for key, fit in amdahl.items() if fit is not None} if study.scaling == "strong" else {},
        warnings=_warnings(study, groups),
    )


def statistical_runs(groups: Sequence[Group]) -> list[Run]:
    """Return one finished run for each batch and seed, that with the fewest nodes.

    With synchronous strategies the trajectory does not depend on the node count, so runs of one batch
    and seed on more nodes would count the same observation again.
    """
    chosen: dict[tuple[int, int], Run] = {}
    for found in sorted(groups, key=lambda g: g.nodes):
        for run in found.finished:
            chosen.setdefault((run.batch, run.seed), run)
    return [chosen[key] for key in sorted(chosen)]


def _base(groups: Sequence[Group], has_target: bool) -> Group | None:
    """Return the case every speedup is relative to: fewest nodes, at its best batch and learning rate."""
    finished = [g for g in groups if g.finished]
    if has_target:
        finished = [g for g in finished if math.isfinite(estimate(values(g.runs)).value)] or finished
    if not finished:
        return None
    fewest = min(g.nodes for g in finished)

    def cost(found: Group) -> float:
        if has_target:
            return estimate(values(found.runs)).value
        return -estimate([samples_per_second(run) for run in found.finished]).value

    return min((g for g in finished if g.nodes == fewest), key=cost)


def _compute(study: StudyData) -> ComputeFit | None:
    timings = [t for t in study.calibration.compute if t.seconds] if study.calibration else []
    return fit_compute([t.batch for t in timings], [t.seconds for t in timings]) if timings else None


def _allreduce(study: StudyData) -> AllreduceFit | None:
    timings = study.calibration.allreduce if study.calibration else ()
    return fit_allreduce([t.nodes for t in timings], [t.bytes for t in timings], [t.seconds for t in timings])


def _hyperbolas(groups: Sequence[Group]) -> dict[Rule, HyperbolaFit]:
    found: dict[Rule, HyperbolaFit] = {}
    for rule in sorted({(g.lr_rule, g.strategy) for g in groups}):
        runs = statistical_runs([g for g in groups if (g.lr_rule, g.strategy) == rule])
        # A diverged run says nothing about how many updates the target needs, a censored one does.
        runs = [run for run in runs if run.reached or (run.censored and run.state == "done" and run.last.update > 0)]
        fit = fit_hyperbola(
            [run.batch for run in runs],
            [to_target(run, "updates") if run.reached else run.last.update for run in runs],
            [run.seed for run in runs],
            [not run.reached for run in runs],
        )
        if fit is not None:
            found[rule] = fit
    return found


def _warnings(study: StudyData, groups: Sequence[Group]) -> tuple[str, ...]:
    found = list(study.notes)
    environments = [run.header.environment for run in study.runs if run.header]
    over = [run.run_id for run in study.runs if run.header and run.header.environment.get("oversubscribed")]
    if over:
        found.append(
            f"{len(over)} of {len(study.runs)} runs were oversubscribed (more threads than cores): "
            "their times do not show what as many separate nodes would need"
        )
    for key, what in (("cpu", "processors"), ("hosts", "hosts"), ("kernels", "kernels"), ("batchbrew", "versions")):
        kinds = {str(e.get(key)) for e in environments if e.get(key) is not None}
        if len(kinds) > 1 and (key != "hosts" or _differing_hosts(study)):
            found.append(f"the runs were made with different {what}: {'; '.join(sorted(kinds))}")
    if len({run.spec.threads for run in study.runs if run.spec}) > 1:
        found.append("the runs use different numbers of threads per node: their times compare different machines")
    for state, words in (
        ("running", "not finished (running or interrupted)"),
        ("missing", "not started"),
        ("diverged", "diverged (not a finite number) and count as never reaching the target"),
    ):
        names = [run.run_id for run in study.runs if run.state == state]
        if names and not (study.single and state == "running"):
            found.append(f"{len(names)} of {len(study.runs)} runs {words}: {_some(names)}")
    censored = [run.run_id for run in study.runs if run.censored and run.state == "done"]
    if censored:
        found.append(
            f"{len(censored)} of {len(study.runs)} runs ended without reaching the target (censored): "
            f"{_some(censored)}; medians treat them as infinitely slow"
        )
    seeds = [len(g.finished) for g in groups if g.finished]
    if seeds and min(seeds) < SMALL and not study.single:
        found.append(
            f"as few as {min(seeds)} finished {'run' if min(seeds) == 1 else 'runs'} in a cell: "
            f"with fewer than {SMALL} bootstrap intervals are too narrow"
        )
    dirty = [run.run_id for run in study.runs if run.header and (run.header.environment.get("git") or {}).get("dirty")]
    if dirty:
        found.append(f"{len(dirty)} runs were made from sources with uncommitted changes")
    return tuple(found)


def _differing_hosts(study: StudyData) -> bool:
    """Return whether runs on the same number of nodes used different hosts."""
    by_nodes: dict[int, set[tuple[str, ...]]] = {}
    for run in study.runs:
        if run.header and run.header.environment.get("hosts"):
            hosts = tuple(sorted({str(h) for h in run.header.environment["hosts"]}))
            by_nodes.setdefault(run.nodes, set()).add(hosts)
    return any(len(kinds) > 1 for kinds in by_nodes.values())


def _some(names: Sequence[str], limit: int = 4) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
