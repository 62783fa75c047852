"""Where a run begins: its own saved state, somebody's snapshot, given weights, or the net's fillers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batchbrew.errors import UserError
from batchbrew.runner import checkpoint
from batchbrew.runner.build import Built
from batchbrew.runner.folder import RunFolder
from batchbrew.runner.job import Job
from batchbrew.runner.spec import digest
from batchbrew.runner.train import Listener
from batchbrew.runner.world import World


@dataclass(frozen=True)
class Start:
    """``state`` is the run's own saved state it goes on from (rank 0), None where it starts its record afresh."""

    state: checkpoint.State | None


def take_up(folder: RunFolder, built: Built, world: World) -> Start:
    """Bring all ranks into the state the run goes on from: rank 0 reads it, the others receive it."""
    problem: UserError | None = None
    own = None
    if world.rank == 0:
        try:
            own = checkpoint.load_newest(folder.path, built.job.spec.run_id, _tell)
            if own is not None:
                checkpoint.restore(built.job, *own)
            else:
                begin(built)
        except UserError as error:
            problem = error
    if world.bcast(str(problem) if problem is not None else None) is not None:
        if problem is not None:
            raise problem
        return Start(None)
    hand_out(built.job, world)
    return Start(own[0] if own is not None else None)


def hand_out(job: Job, world: World) -> None:
    """Give every rank rank 0's parameters, update rule history and position."""
    for array in (job.net.flat.values, *job.solver.history):
        world.bcast_array(array)
    job.solver.iter, job.samples = world.bcast((job.solver.iter, job.samples))


def begin(built: Built) -> None:
    """Take up the snapshot or the weights the spec names (on one rank); UserError where they do not fit."""
    spec, job, files = built.job.spec, built.job, built.caffe_files
    if spec.start is None:
        return
    path = Path(spec.start)
    if file_digest(path) != spec.start_digest:
        raise UserError(f"{path}: has changed since the run was planned: plan the run again")
    if spec.start_kind == "snapshot" and checkpoint.is_state(path):
        checkpoint.restore(job, checkpoint.load(path), path)
        return
    if files is None:
        raise UserError(f"{path}: this net takes no files in Caffe's format")
    if spec.start_kind == "weights":
        unused = files.load_weights(path)
        if unused:
            _tell(f"{path}: not in this net, so not used: {', '.join(unused)}")
    else:
        files.restore(path)
        job.samples = job.solver.iter * spec.batch


def file_digest(path: Path) -> str:
    """Return ``sha256:...`` of a file; UserError if it cannot be read."""
    try:
        return digest(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from None


def snapshot_writer(built: Built, listener: Listener) -> Callable[[], None] | None:
    """Return what writes Caffe-format files of the present state, None where none are asked for."""
    prefix, files = built.job.spec.snapshot_prefix, built.caffe_files
    if prefix is None or files is None:
        return None
    return lambda: listener.snapshot(*files.save(prefix))


def _tell(text: str) -> None:
    sys.stderr.write(f"batchbrew: note: {text}\n")
    sys.stderr.flush()
