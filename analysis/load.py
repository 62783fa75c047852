"""Read a study folder, or the folder of a single run, into StudyData."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from batchbrew.analysis.fields import Fields, read_json, read_lines
from batchbrew.analysis.records import (
    AllreduceTiming,
    Calibration,
    ComputeTiming,
    Evaluation,
    Event,
    Header,
    Moment,
    Run,
    Segment,
    SetSizeTiming,
    Spec,
    State,
    StudyData,
    Summary,
)
from batchbrew.errors import UserError

FORMAT = 1


def load(folder: Path) -> StudyData:
    """Return what is recorded in ``folder``: a study (study.json) or a single run (record.jsonl).

    Runs that are missing, still being written, interrupted or diverged are part of the answer.
    Raises UserError for a folder that is neither, and for a damaged file.
    """
    if (folder / "study.json").is_file():
        return _study(folder)
    if (folder / "record.jsonl").is_file():
        return _single(folder)
    raise UserError(
        f"{folder}: neither a study (no study.json) nor a run (no record.jsonl); "
        "give the folder that 'batchbrew study' or 'batchbrew train' wrote"
    )


def _study(folder: Path) -> StudyData:
    study = read_json(folder / "study.json")
    _check_format(study)
    target = study.number("target") if study.has("target") else None
    runs = tuple(_grid_run(cell, folder / "runs", target) for cell in study.parts("runs"))
    known = {run.run_id for run in runs}
    found = sorted(path.parent.name for path in (folder / "runs").glob("*/record.jsonl"))
    strangers = [name for name in found if name not in known]
    notes = (f"not in the study's grid and left out: {', '.join(strangers)}",) if strangers else ()
    return StudyData(
        name=study.text("name"),
        scaling=study.text("scaling", "strong"),
        metric=study.text("metric", "accuracy"),
        target=target,
        warmup_updates=study.integer("warmup_updates", 0),
        runs=runs,
        calibration=_calibration(folder / "calibration.json"),
        notes=notes,
    )


def _single(folder: Path) -> StudyData:
    run = _recorded(folder, None)
    if run.spec is None:
        raise UserError(f"{folder / 'record.jsonl'}: no complete line yet; wait until the run has started")
    spec = run.spec
    return StudyData(
        name=run.run_id,
        scaling=spec.scaling,
        metric=spec.metric,
        target=spec.target,
        warmup_updates=spec.warmup_updates,
        runs=(run,),
        calibration=_calibration(folder / "calibration.json"),
        single=True,
    )


def _grid_run(cell: Fields, folder: Path, target: float | None) -> Run:
    planned = Run(
        run_id=cell.text("run_id"),
        batch=cell.integer("batch"),
        nodes=cell.integer("nodes"),
        seed=cell.integer("seed"),
        lr_rule=cell.text("lr_rule", "none"),
        strategy=cell.text("strategy", "allreduce"),
        state="missing",
        target=target,
    )
    path = folder / planned.run_id
    return _recorded(path, planned) if (path / "record.jsonl").is_file() else planned


def _recorded(folder: Path, planned: Run | None) -> Run:
    """Return the run in ``folder``; ``planned`` is its cell of the grid, None for a single run."""
    header: Header | None = None
    spec: Spec | None = None
    segments: list[Segment] = []
    evaluations: dict[int, Evaluation] = {}
    events: list[Event] = []
    for line in read_lines(folder / "record.jsonl"):
        kind = line.text("kind")
        if kind == "header":
            _check_format(line)
            header, spec = _header(line), _spec(line.part("spec"))
        elif kind == "segment":
            segments.append(_segment(line))
        elif kind == "evaluation":
            evaluation = _evaluation(line)
            evaluations.setdefault(evaluation.update, evaluation)
        elif kind == "event":
            event = Event(line.text("event"), line.integer("update", 0))
            events.append(event)
            if event.event == "resume":
                # What was recorded after the checkpoint is trained again: it counts once.
                segments = [s for s in segments if s.update <= event.update]
                evaluations = {u: e for u, e in evaluations.items() if u <= event.update}
    summary = _summary(folder / "summary.json")
    if planned is None:
        planned = _cell_of(spec, folder)
    return replace(
        planned,
        state=_state(summary, done=(folder / "DONE").exists()),
        spec=spec,
        header=header,
        segments=tuple(segments),
        evaluations=tuple(evaluations[u] for u in sorted(evaluations)),
        events=tuple(events),
        summary=summary,
    )


def _cell_of(spec: Spec | None, folder: Path) -> Run:
    if spec is None:
        return Run(folder.name, 0, 0, 0, "none", "allreduce", "running", None)
    return Run(spec.run_id, spec.batch, spec.nodes, spec.seed, spec.lr_rule, spec.strategy, "running", spec.target)


def _state(summary: Summary | None, done: bool) -> State:
    if summary is None or (summary.outcome == "interrupted" and not done):
        return "running"
    return "diverged" if summary.outcome == "diverged" else "done"


def _spec(spec: Fields) -> Spec:
    return Spec(
        run_id=spec.text("run_id"),
        batch=spec.integer("batch"),
        nodes=spec.integer("nodes"),
        accumulate=spec.integer("accumulate", 1),
        threads=spec.integer("threads", 1),
        seed=spec.integer("seed", 0),
        strategy=spec.text("strategy", "allreduce"),
        lr_rule=spec.text("lr_rule", "none"),
        lr_base_batch=spec.number("lr_base_batch") if spec.has("lr_base_batch") else None,
        base_lr=spec.number("base_lr"),
        metric=spec.text("metric", "accuracy"),
        target=spec.number("target") if spec.has("target") else None,
        warmup_updates=spec.integer("warmup_updates", 0),
        scaling=spec.text("scaling", "strong"),
        comparable=spec.text("comparable", ""),
        raw=spec.data,
    )


def _header(line: Fields) -> Header:
    return Header(
        identity=line.text("identity", ""),
        net=line.part("net", {}).data,
        dataset=line.part("dataset", {}).data,
        environment=line.part("environment", {}).data,
    )


def _segment(line: Fields) -> Segment:
    return Segment(
        update=line.integer("update"),
        samples=line.integer("samples"),
        updates=line.integer("updates"),
        loss=line.number("loss"),
        rate=line.number("rate"),
        seconds=line.number("seconds"),
        train_seconds=line.number("train_seconds"),
        step_seconds=line.numbers("step_seconds"),
        nodes=line.integer("nodes", 1),
        accounts=line.table("accounts"),
    )


def _evaluation(line: Fields) -> Evaluation:
    return Evaluation(
        update=line.integer("update"),
        samples=line.integer("samples"),
        train_seconds=line.number("train_seconds"),
        outputs=line.table("outputs"),
    )


def _summary(path: Path) -> Summary | None:
    if not path.is_file():
        return None
    data = read_json(path)
    moment = data.part("to_target") if data.has("to_target") else None
    return Summary(
        outcome=data.text("outcome"),
        reason=data.text("reason", ""),
        reached=data.flag("reached", False),
        at_end=Moment(data.number("update"), data.number("samples"), data.number("train_seconds")),
        to_target=Moment(moment.number("update"), moment.number("samples"), moment.number("seconds"))
        if moment is not None and data.flag("reached", False)
        else None,
        best=data.table("best"),
        final=data.table("final"),
        step_seconds=data.table("step_seconds"),
        samples_per_second=data.number("samples_per_second"),
        accounts=data.table("accounts"),
    )


def _calibration(path: Path) -> Calibration | None:
    if not path.is_file():
        return None
    data = read_json(path)
    _check_format(data)
    return Calibration(
        compute=tuple(ComputeTiming(t.integer("batch"), t.numbers("seconds")) for t in data.parts("compute")),
        allreduce=tuple(
            AllreduceTiming(t.integer("nodes"), t.integer("bytes"), t.numbers("seconds"))
            for t in data.parts("allreduce")
        ),
        set_size=tuple(SetSizeTiming(t.integer("samples"), t.numbers("seconds")) for t in data.parts("set_size")),
        base_batch=data.integer("base_batch", 0),
        message_bytes=data.integer("message_bytes", 0),
        train_samples=data.integer("train_samples", 0),
    )


def _check_format(data: Fields) -> None:
    found = data.integer("format", FORMAT)
    if found != FORMAT:
        raise UserError(f"{data.where}: format {found} is not known to this version (it reads format {FORMAT}); update")
