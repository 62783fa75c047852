"""Caffe's snapshots: a model (see ``weights``) and a .solverstate (iteration and history), binary or HDF5."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.protos.files import is_file
from batchbrew.solver import schedules
from batchbrew.solver.blob import Array
from batchbrew.solver.hdf5 import read_values, reading
from batchbrew.solver.parameter import Parameter
from batchbrew.solver.solvers.base import Solver
from batchbrew.solver.weights import load_weights, save_caffemodel, write_hdf5

__all__ = ["load_weights", "restore", "save_caffemodel", "save_solverstate"]


class State(NamedTuple):
    """What a state file holds: updates done, the model file written with it, the steps of lr_policy, the history."""

    iter: int
    learned_net: str
    current_step: int
    history: Sequence[Array]


def save_solverstate(solver: Solver, path: Path | str, model_path: Path | str) -> None:
    """Write iteration and history, and the name of the model file saved with them; ``*.h5`` makes an HDF5 file."""
    pieces = [
        np.ascontiguousarray(_shaped(history, parameter), np.float32)
        for history in solver.history
        for parameter in solver.net.flat.parameters
    ]
    step = schedules.current_step(solver.param, solver.iter - 1) if solver.iter else 0
    state = State(solver.iter, str(model_path), step, pieces)
    if str(path).endswith(".h5"):
        write_hdf5(Path(path), partial(_fill, state))
        return
    message = pb.SolverState(iter=state.iter, learned_net=state.learned_net, current_step=state.current_step)
    for piece in pieces:
        message.history.append(binary.array_to_blob(piece))
    binary.write(path, message)


def restore(solver: Solver, path: Path | str) -> list[str]:
    """Set iteration, history and (from the model file it names) parameters from a .solverstate or .solverstate.h5.

    The model is looked for as named, then beside the state. Returns the layers of the model that the net has not;
    raises UserError for files that are missing, damaged or of another net or rule.
    """
    path = Path(path)
    if not is_file(path):
        raise UserError(f"{path}: no such snapshot")
    state = _read_hdf5(path) if path.suffix == ".h5" else _read_binary(path)
    parameters = solver.net.flat.parameters
    if len(state.history) != len(parameters) * len(solver.history):
        raise UserError(
            f"{path}: Incorrect length of history blobs: holds {len(state.history)} history blobs, a "
            f"{solver.param.type} solver of this net needs {len(parameters) * len(solver.history)} "
            "(another net or solver type?)"
        )
    for piece, parameter in zip(state.history, parameters * len(solver.history), strict=True):
        if piece.size != parameter.count:
            raise UserError(
                f"{path}: a history blob has shape {piece.shape} where {parameter.label} has {parameter.shape}"
            )
    ignored = []
    if state.learned_net:
        named = Path(state.learned_net)
        model = next((p for p in (named, path.parent / named.name) if is_file(p)), None)
        if model is None:
            raise UserError(f"{path}: names the model file '{named}', which is not there")
        ignored = load_weights(solver.net, model, strict=False)
    for i, piece in enumerate(state.history):
        parameter = parameters[i % len(parameters)]
        _shaped(solver.history[i // len(parameters)], parameter)[...] = piece.reshape(parameter.shape)
    solver.iter = state.iter
    return ignored


def _shaped(flat: Array, parameter: Parameter) -> Array:
    """Return a parameter's piece of a flat buffer in Caffe's shape, a live view."""
    stored = tuple(parameter.shape[axis] for axis in parameter.order)
    piece = flat[parameter.start : parameter.start + parameter.count].reshape(stored)
    return piece.transpose(tuple(int(axis) for axis in np.argsort(parameter.order)) if parameter.order else ())


def _read_binary(path: Path) -> State:
    state = binary.read(path, pb.SolverState)
    if not state.HasField("iter"):
        raise UserError(f"{path}: is no solver state; a .solverstate was expected (weights are given with --weights)")
    history = [binary.blob_to_array(blob, f"{path}: history: ") for blob in state.history]
    return State(state.iter, state.learned_net, state.current_step, history)


def _read_hdf5(path: Path) -> State:
    with reading(path, "solver state") as file:
        if "iter" not in file or "history" not in file:
            raise UserError(f"{path}: is no solver state (no 'iter' and 'history')")
        learned = file["learned_net"][()] if "learned_net" in file else b""
        name = learned.decode() if isinstance(learned, bytes) else str(learned)
        history = [read_values(file["history"][str(i)]) for i in range(len(file["history"]))]
        iteration, step = (int(np.ravel(file[key])[0]) if key in file else 0 for key in ("iter", "current_step"))
        return State(iteration, name.rstrip("\0"), step, history)


def _fill(state: State, path: Path) -> None:
    name = state.learned_net.encode() + b"\0"  # Caffe reads up to the zero
    with h5py.File(path, "w") as file:
        file["iter"] = np.array([state.iter], np.int32)
        file["current_step"] = np.array([state.current_step], np.int32)
        file["learned_net"] = np.array(name, f"S{len(name)}")
        group = file.create_group("history")
        for i, piece in enumerate(state.history):
            group[str(i)] = piece
