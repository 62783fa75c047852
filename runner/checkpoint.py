"""state.h5: everything a run needs to go on after a kill, on any number of nodes."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from batchbrew.atomic import sync_folder
from batchbrew.errors import UserError
from batchbrew.runner.job import Job
from batchbrew.solver.hdf5 import DAMAGED

KIND, FORMAT = "batchbrew state", 1
NEWEST, PREVIOUS = "state.h5", "state.prev.h5"


@dataclass
class State:
    """The parameters, the update rule's history and the position in the stream."""

    values: NDArray[np.float32]
    history: list[NDArray[np.float32]]
    update: int
    samples: int
    run_id: str
    trajectory: dict[str, Any]
    record_offset: int = 0
    wall_seconds: float = 0.0
    ledger: dict[str, float] | None = None


def capture(job: Job) -> State:
    """Return the state of ``job``; the arrays are the job's own, not copies."""
    spec = job.spec
    return State(job.net.flat.values, job.solver.history, job.solver.iter, job.samples, spec.run_id, spec.trajectory)


def restore(job: Job, state: State, path: Path) -> None:
    """Put ``state`` into ``job``, in place; UserError where the run it was saved by followed another trajectory."""
    for name, value in job.spec.trajectory.items():
        found = state.trajectory.get(name)
        if found != value:
            raise UserError(f"{path}: was saved by a run with {name} {found}, this one has {value}: start afresh")
    ours, theirs = [job.net.flat.values, *job.solver.history], [state.values, *state.history]
    if [a.shape for a in ours] != [a.shape for a in theirs]:
        raise UserError(f"{path}: holds arrays of other sizes than this net and solver have: start afresh instead")
    for target, source in zip(ours, theirs, strict=True):
        target[...] = source
    job.solver.iter, job.samples = state.update, state.samples


def save(folder: Path, state: State) -> None:
    """Write ``state`` as the folder's newest; the one before is kept."""
    temporary = folder / f".{NEWEST}.{os.getpid()}.tmp"
    # Structures with checksums, and texts of fixed size: HDF5 can loop for ever in damaged ones that are neither.
    with h5py.File(temporary, "w", libver="v110") as file:
        texts = {"kind": KIND, "run_id": state.run_id, "trajectory": json.dumps(state.trajectory)}
        texts["ledger"] = json.dumps(state.ledger or {})
        file.attrs.update({name: np.bytes_(text.encode()) for name, text in texts.items()}, format=FORMAT)
        file.attrs.update(update=state.update, samples=state.samples, record_offset=state.record_offset)
        file.attrs.update(wall_seconds=state.wall_seconds, histories=len(state.history))
        for name, array in _named(state):
            file.create_dataset(name, data=array)
        file.attrs["crc32"] = _checksum(state)
    with temporary.open("rb+") as stream:
        os.fsync(stream.fileno())
    newest = folder / NEWEST
    if newest.exists():
        newest.replace(folder / PREVIOUS)
    temporary.replace(newest)
    sync_folder(folder)


def _named(state: State) -> list[tuple[str, NDArray[Any]]]:
    return [("values", state.values)] + [(f"history/{i}", array) for i, array in enumerate(state.history)]


def _checksum(state: State) -> int:
    checksum = 0
    for _, array in _named(state):
        checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    return checksum


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def is_state(path: Path) -> bool:
    """Return whether ``path`` is a state.h5, whole or not (Caffe's .solverstate.h5 is an HDF5 file as well)."""
    try:
        with h5py.File(path, "r") as file:
            return _text(file.attrs.get("kind")) == KIND
    except DAMAGED:
        return path.name in (NEWEST, PREVIOUS)


def load(path: Path) -> State:
    """Read a state; UserError if it is damaged, of another kind or of another format."""
    try:
        with h5py.File(path, "r") as file:
            attrs = dict(file.attrs)
            if _text(attrs.get("kind")) != KIND:
                raise UserError(f"{path}: is no saved state of batchbrew")
            if int(attrs["format"]) != FORMAT:
                raise UserError(f"{path}: has format {attrs['format']}, this version reads {FORMAT}: start afresh")
            state = State(
                values=file["values"][:],
                history=[file[f"history/{i}"][:] for i in range(int(attrs["histories"]))],
                update=int(attrs["update"]),
                samples=int(attrs["samples"]),
                run_id=_text(attrs["run_id"]),
                trajectory=json.loads(attrs["trajectory"]),
                record_offset=int(attrs["record_offset"]),
                wall_seconds=float(attrs["wall_seconds"]),
                ledger=json.loads(attrs["ledger"]),
            )
            if _checksum(state) != int(attrs["crc32"]):
                raise UserError(f"{path}: is damaged (its checksum does not match): delete it")
            return state
    except DAMAGED as error:
        raise UserError(f"{path}: cannot be read as a saved state ({_brief(error)}): delete it") from None


def load_newest(folder: Path, run_id: str, tell: Callable[[str], None]) -> tuple[State, Path] | None:
    """Return the newest readable state of a run folder, None if it has none.

    An unreadable newest state is reported through ``tell`` and the previous one is used. UserError if the state was
    saved by another run, or if there are states but none can be read.
    """
    paths = [folder / name for name in (NEWEST, PREVIOUS) if (folder / name).exists()]
    failures: list[UserError] = []
    for path in paths:
        try:
            state = load(path)
        except UserError as error:
            failures.append(error)
            continue
        if state.run_id != run_id:
            raise UserError(f"{path}: was saved by run {state.run_id}, this is {run_id}: use another folder")
        if failures:
            tell(f"{failures[0]}; going on from {path.name}, update {state.update}")
        return state, path
    if failures:
        raise failures[0]
    return None


def _brief(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0][:80]
