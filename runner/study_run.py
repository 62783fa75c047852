"""Run what is missing of a study, one run after the other; safe to interrupt and to repeat."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchbrew.errors import UserError
from batchbrew.runner import launch
from batchbrew.runner.folder import RunFolder, write_json
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.study import Study

Show = Callable[[RunSpec, Path, str], AbstractContextManager[launch.Tick]]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Cell:
    """One run of a study as its folder shows it."""

    spec: RunSpec
    folder: RunFolder

    @property
    def state(self) -> str:
        """Return the run's outcome, ``running``, ``interrupted`` or ``missing``."""
        return self.folder.status()


def cells(study: Study, out: Path) -> list[Cell]:
    """Return every run of the study with its folder."""
    return [Cell(spec, RunFolder(out / "runs" / spec.run_id)) for spec in study.expand()]


def prepare(study: Study, out: Path) -> list[Cell]:
    """Write study.yaml and study.json into ``out`` and return the runs.

    Raises UserError before anything is written if some run needs more cores than there are, or if ``out`` belongs
    to another study.
    """
    todo = cells(study, out)
    plan = out / "study.json"
    if plan.exists() and (name := json.loads(plan.read_text(encoding="utf-8"))["name"]) != study.file.study:
        raise UserError(f"{out}: holds the study '{name}', this one is '{study.file.study}': use another --out")
    for cell in todo:
        if not cell.folder.done:
            launch.check_cores(cell.spec.nodes, cell.spec.threads, cell.spec.allow_oversubscription)
    if any(cell.spec.nodes > 1 for cell in todo):
        launch.find_mpiexec()
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(study.path, out / "study.yaml")
    write_json(out / "study.json", study.study_json())
    return todo


def run_study(study: Study, out: Path, show: Show, tell: Tell) -> int:
    """Run the missing runs; return 0, or 1 if some crashed, or 2 as soon as one was refused.

    A refused run has already said why. ``show`` gives the progress display of a run, ``tell`` prints a line. Raises
    UserError, KeyboardInterrupt.
    """
    todo = prepare(study, out)
    missing = [cell for cell in todo if not cell.folder.done]
    tell(f"{study.file.study}: {len(todo)} runs, {len(todo) - len(missing)} finished, {len(missing)} to do")
    if missing and study.file.calibrate and not (out / "calibration.json").exists():
        code = calibrate(study, out, tell)
        if code:
            return code
    failed = []
    for number, cell in enumerate(missing, 1):
        title = f"{number}/{len(missing)} {cell.spec.run_id}"
        cell.folder.create(cell.spec, study.sources.texts)
        with show(cell.spec, cell.folder.record, title) as tick:
            arguments = ["worker", str(cell.folder.path)]
            code = launch.launch(cell.spec.nodes, cell.spec.threads, arguments, cell.spec.allow_oversubscription, tick)
        if code == 2:
            return code
        if code or not cell.folder.done:
            failed.append(cell.spec.run_id)
            tell(f"{title}: FAILED with code {code}; run the study again to go on from its last checkpoint")
        else:
            tell(f"{title}: {outcome_line(cell.spec, cell.folder.summary() or {})}")
    if failed:
        tell(f"{len(failed)} of {len(missing)} runs failed: {', '.join(failed)}")
    return 1 if failed else 0


def calibrate(study: Study, out: Path, tell: Tell) -> int:
    """Write calibration.json, measured with the study's net on its node counts; return the exit code.

    A measurement that failed has already said why.
    """
    tell("calibrating: compute time by batch, Allreduce time by size (about 10 s)")
    specs = study.expand()
    folder = RunFolder(out / "calibration")
    folder.create(specs[0], study.sources.texts)
    batches = sorted({size for spec in specs for size in (spec.batch, -(-spec.batch // spec.nodes))})
    node_counts = sorted({spec.nodes for spec in specs if spec.nodes > 1})
    write_json(folder.path / "plan.json", {"batches": batches, "base_batch": study.sources.schedule_batch})
    for nodes in (1, *node_counts):
        arguments = ["calibrate-worker", str(folder.path), "--nodes", str(nodes)]
        code = launch.launch(nodes, study.file.threads, arguments, study.file.allow_oversubscription)
        if code:
            return code
    from batchbrew.runner.calibrate import combine

    write_json(out / "calibration.json", combine(folder.path))
    return 0


def outcome_line(spec: RunSpec, summary: dict[str, Any]) -> str:
    """Return a finished run in one line."""
    value = (summary.get("final") or {}).get(spec.metric)
    shown = "nan" if value is None else f"{value:.4f}"
    spent = f"{summary['update']} updates, {summary['train_seconds']:.1f} s"
    return f"{summary['outcome']} after {spent}, {spec.metric} {shown}"
