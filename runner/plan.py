"""From the options of ``batchbrew train`` to a run: what the solver file says, unless an option says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from batchbrew.errors import UserError
from batchbrew.runner.source_files import SourceFiles, read_sources
from batchbrew.runner.spec import Metric, RunSpec, Stop
from batchbrew.runner.start import file_digest
from batchbrew.runner.study import describe

# Fields of SolverParameter that change nothing here.
_UNUSED = ("test_compute_loss", "debug_info", "snapshot_diff", "device_id", "layer_wise_reduce")


@dataclass(frozen=True)
class TrainOptions:
    """What can be said about one run on the command line; None leaves it to the solver file."""

    solver: Path
    nodes: int = 1
    threads: int = 1
    pin: bool = True
    batch: int | None = None
    accumulate: int | None = None
    data: str | None = None
    seed: int | None = None
    snapshot: Path | None = None
    weights: Path | None = None
    target: str | None = None
    max_updates: int | None = None
    epochs: float | None = None
    seconds: float | None = None
    checkpoint_every: int | None = None
    oversubscribe: bool = False
    shuffle: bool = True


@dataclass(frozen=True)
class TrainPlan:
    """One run with the files it is made of, and what the user should be told about it."""

    spec: RunSpec
    sources: SourceFiles
    notes: tuple[str, ...]


def plan_train(options: TrainOptions) -> TrainPlan:
    """Return the run that ``options`` mean; UserError for anything that cannot run."""
    sources = read_sources(options.solver, options.data)
    solver, own = sources.solver, sources.schedule_batch
    batch = options.batch or own
    accumulate = options.accumulate or (max(1, solver.iter_size) if options.batch is None else 1)
    if batch < options.nodes * accumulate:
        raise UserError(f"a global batch of {batch} cannot be cut into {options.nodes} nodes x accumulate {accumulate}")
    metric, target = parse_target(options.target, sources)
    start, kind = _start(options, sources)
    every = solver.snapshot or None
    wanted = every is not None or solver.HasField("snapshot_prefix")
    spec = RunSpec(
        study=sources.solver_path.stem,
        **describe(sources, {}),
        start=str(start.resolve()) if start is not None else None,
        start_kind=kind,
        start_digest=file_digest(start) if start is not None else None,
        batch=batch,
        nodes=options.nodes,
        threads=options.threads,
        pin=options.pin,
        accumulate=accumulate,
        seed=_seed(options, sources),
        shuffle=options.shuffle,
        metric=metric,
        target=target,
        stop=_stop(options, sources, batch),
        evaluate_every_samples=solver.test_interval * own or None,
        evaluate_first=solver.test_initialization,
        checkpoint_every_samples=options.checkpoint_every * batch if options.checkpoint_every else sources.data.train,
        snapshot_every_updates=max(1, round(every * own / batch)) if every else None,
        snapshot_after_train=wanted and solver.snapshot_after_train,
        snapshot_prefix=snapshot_prefix(sources) if wanted else None,
        segment_updates=solver.display or 50,
        allow_oversubscription=options.oversubscribe,
    )
    return TrainPlan(spec, sources, tuple(_notes(spec, sources)))


def parse_target(text: str | None, sources: SourceFiles) -> tuple[Metric, float | None]:
    """Return metric and value of ``accuracy=0.7`` or ``loss=0.9``; UserError where the test net has no such output."""
    if text is None:
        return sources.metric, None
    name, _, number = text.partition("=")
    metrics: dict[str, Metric] = {"accuracy": "accuracy", "loss": "loss"}
    try:
        metric, value = metrics[name.strip()], float(number)
    except (KeyError, ValueError):
        raise UserError(f"--target {text}: give accuracy=0.7 or loss=0.9") from None
    if metric not in sources.metrics:
        outputs = ", ".join(sources.metrics) or "none"
        raise UserError(f"--target {text}: the test net has no output '{metric}' (its outputs: {outputs})")
    return metric, value


def snapshot_prefix(sources: SourceFiles) -> str:
    """Return the prefix of snapshot files by Caffe's rules; UserError where they could not be written."""
    given, solver_path = sources.solver.snapshot_prefix, sources.solver_path
    prefix = Path(given) if given else solver_path.with_suffix("")
    if prefix.is_dir():
        prefix = prefix / solver_path.stem
    if not prefix.parent.is_dir():
        raise UserError(f"{solver_path}: snapshot_prefix: no folder '{prefix.parent}': make it, or change the prefix")
    return str(prefix.resolve())


def _seed(options: TrainOptions, sources: SourceFiles) -> int:
    if options.seed is not None:
        return options.seed
    return sources.solver.random_seed if sources.solver.random_seed >= 0 else 1


def _start(options: TrainOptions, sources: SourceFiles) -> tuple[Path | None, Literal["snapshot", "weights"] | None]:
    """Return the file the run begins with: an option before the solver's own ``weights``."""
    if options.snapshot is not None and options.weights is not None:
        raise UserError("give --snapshot to go on from a saved state or --weights to begin from a model, not both")
    if options.snapshot is not None:
        return options.snapshot, "snapshot"
    if options.weights is not None:
        return options.weights, "weights"
    from batchbrew.solver.load import find_file

    named = [name.strip() for names in sources.solver.weights for name in names.split(",") if name.strip()]
    if len(named) > 1:
        raise UserError(f"{sources.solver_path}: weights: give one file, or load several with --as-caffe")
    return (find_file(named[0], sources.solver_path, "weights"), "weights") if named else (None, None)


def _stop(options: TrainOptions, sources: SourceFiles, batch: int) -> Stop:
    stop = Stop(updates=options.max_updates, epochs=options.epochs, seconds=options.seconds)
    if stop.bounded:
        return stop
    if sources.max_samples is None:
        raise UserError(
            f"{options.solver}: without max_iter nothing ends the run: give --max-updates, --epochs or --seconds"
        )
    return Stop(updates=-(-sources.max_samples // batch))


def _notes(spec: RunSpec, sources: SourceFiles) -> list[str]:
    """Return the notes on what was converted and what of the solver file is not used."""
    notes = []
    solver: Any = sources.solver
    if len(solver.test_iter):
        notes.append(f"test_iter is not used: every evaluation counts exactly all {spec.test_samples} test samples")
    if spec.batch != spec.schedule_batch:
        notes.append(
            f"the solver is written for batches of {spec.schedule_batch}: its max_iter, test_interval and lr_policy "
            f"are taken as samples ({spec.stop.updates or 'no limit of'} updates of {spec.batch})"
        )
    if len(solver.test_iter) > 1:
        notes.append(f"of {len(solver.test_iter)} test nets only the first is evaluated; --as-caffe tests them all")
    unused = [name for name in _UNUSED if any(field.name == name for field, _ in solver.ListFields())]
    if unused:
        notes.append(f"not used: {', '.join(unused)}")
    if solver.HasField("solver_mode") and solver.solver_mode == type(solver).GPU:
        notes.append("solver_mode: GPU is not used: training runs on CPU cores")
    return notes
