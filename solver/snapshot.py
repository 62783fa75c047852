"""Caffe's snapshot files: .caffemodel (weights) and .solverstate (iteration and history), binary or HDF5."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Array
from batchbrew.solver.data.prepared import replace_atomically
from batchbrew.solver.net import Net
from batchbrew.solver.parameter import Parameter
from batchbrew.solver.solvers.base import Solver
from batchbrew.solver.upgrade import upgrade_net

HDF5_MAGIC = b"\x89HDF"


def save_caffemodel(net: Net, path: Path | str) -> None:
    """Write the net's layers with their parameters; a name ending in .h5 makes an HDF5 file."""
    if str(path).endswith(".h5"):
        replace_atomically(Path(path), partial(_fill_model, net))
        return
    message = pb.NetParameter(name=net.name)
    for layer in net.layers:
        entry = message.layer.add()
        entry.CopyFrom(layer.param)
        entry.phase = layer.phase
        del entry.blobs[:]
        for parameter in layer.parameters:
            entry.blobs.append(binary.array_to_blob(np.ascontiguousarray(parameter.data, np.float32)))
    binary.write(path, message)


def load_weights(net: Net, path: Path | str) -> list[str]:
    """Set the parameters of equally named layers from a model file; return the layers of the file that were not used.

    Raises UserError for a missing, damaged or foreign file, and for blobs that do not fit.
    """
    blobs, hdf5 = _read_model(Path(path))
    known = {layer.name: layer for layer in reversed(net.layers)}
    unused = []
    new: list[tuple[Parameter, Array]] = []
    for name, arrays in blobs.items():
        layer = known.get(name)
        if layer is None:
            unused.append(name)
            continue
        # an HDF5 model holds a shared blob only with the layer that owns it
        missing = [p for p in layer.parameters if p.index not in arrays and not (hdf5 and p.name and p.owner)]
        if missing or len(arrays) > len(layer.parameters):
            raise UserError(f"{path}: layer '{name}' has {len(arrays)} blobs, the net's has {len(layer.parameters)}")
        for parameter, array in ((layer.parameters[index], array) for index, array in sorted(arrays.items())):
            if _fits(array, parameter) is None:
                raise UserError(
                    f"{path}: cannot copy blob {parameter.index} of layer '{name}': its shape is "
                    f"{array.shape}, the net's is {parameter.shape}; to learn this layer anew, rename it"
                )
            new.append((parameter, array))
    if not new and blobs:
        raise UserError(f"{path}: no layer of this model is in the net (model: {', '.join(list(blobs)[:6])})")
    for parameter, array in new:  # only now: a file that does not fit changes nothing
        parameter.data[...] = _fits(array, parameter)
    return unused


def _fits(array: Array, parameter: Parameter) -> Array | None:
    """Return ``array`` in the parameter's shape, leading axes of 1 apart, or None."""
    trimmed, wanted = array.shape, parameter.shape
    while len(trimmed) > len(wanted) and trimmed[0] == 1:
        trimmed = trimmed[1:]
    return array.reshape(wanted) if trimmed == wanted else None


def _read_model(path: Path) -> tuple[dict[str, dict[int, Array]], bool]:
    """Return layer name -> index -> blob, and whether the file is HDF5."""
    if not path.is_file():
        raise UserError(f"{path}: no such model file")
    with path.open("rb") as file:
        start = file.read(4)
    if start == HDF5_MAGIC:
        return _read_hdf5_model(path), True
    message = binary.read(path, pb.NetParameter)
    upgrade_net(message, str(path))
    model: dict[str, dict[int, Array]] = {}
    for layer in message.layer:
        if len(layer.blobs):
            model.setdefault(layer.name, {i: binary.blob_to_array(blob) for i, blob in enumerate(layer.blobs)})
    if not model:
        raise UserError(
            f"{path}: holds no weights; a .caffemodel was expected (a .solverstate is given with --snapshot)"
        )
    return model, False


def _read_hdf5_model(path: Path) -> dict[str, dict[int, Array]]:
    found: dict[str, dict[int, Array]] = {}

    def visit(name: str, item: object) -> None:
        layer, _, index = name.rpartition("/")
        if isinstance(item, h5py.Dataset) and index.isdecimal():
            found.setdefault(layer, {})[int(index)] = np.asarray(item, np.float32)

    try:
        with h5py.File(path, "r") as file:
            if "data" not in file:
                raise UserError(f"{path}: is an HDF5 file but no model (no group 'data')")
            file["data"].visititems(visit)
    except OSError as error:
        raise UserError(f"{path}: damaged HDF5 model: {error}") from None
    return found


def save_solverstate(solver: Solver, path: Path | str, model_path: Path | str) -> None:
    """Write iteration and history, and the name of the model file saved with them."""
    pieces = [
        np.ascontiguousarray(_shaped(history, parameter), np.float32)
        for history in solver.history
        for parameter in solver.net.flat.parameters
    ]
    step = sum(solver.iter > value for value in solver.param.stepvalue)  # of multistep, as Caffe counts
    if str(path).endswith(".h5"):
        replace_atomically(Path(path), partial(_fill_state, solver.iter, step, str(model_path), pieces))
        return
    state = pb.SolverState(iter=solver.iter, learned_net=str(model_path), current_step=step)
    for piece in pieces:
        state.history.append(binary.array_to_blob(piece))
    binary.write(path, state)


def restore(solver: Solver, path: Path | str) -> None:
    """Set iteration, history and (from the model file it names) parameters from a .solverstate or .solverstate.h5."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such snapshot")
    iteration, learned, pieces = _read_hdf5_state(path) if path.suffix == ".h5" else _read_state(path)
    parameters = solver.net.flat.parameters
    if len(pieces) != len(parameters) * len(solver.history):
        raise UserError(
            f"{path}: holds {len(pieces)} history blobs, a {solver.param.type} solver of this net needs "
            f"{len(parameters) * len(solver.history)} (another net or solver type?)"
        )
    for piece, parameter in zip(pieces, parameters * len(solver.history), strict=True):
        if piece.size != parameter.count:
            raise UserError(
                f"{path}: a history blob has shape {piece.shape} where {parameter.label} has {parameter.shape}"
            )
    if learned:
        model = next((p for p in (Path(learned), path.parent / Path(learned).name) if p.is_file()), None)
        if model is None:
            raise UserError(f"{path}: names the model file '{learned}', which is not there")
        load_weights(solver.net, model)
    for i, piece in enumerate(pieces):
        parameter = parameters[i % len(parameters)]
        _shaped(solver.history[i // len(parameters)], parameter)[...] = piece.reshape(parameter.shape)
    solver.iter = iteration


def _shaped(flat: Array, parameter: Parameter) -> Array:
    """Return a parameter's piece of a flat buffer in Caffe's shape, a live view."""
    stored = tuple(parameter.shape[axis] for axis in parameter.order)
    piece = flat[parameter.start : parameter.start + parameter.count].reshape(stored)
    return piece.transpose(tuple(int(axis) for axis in np.argsort(parameter.order)) if parameter.order else ())


def _read_state(path: Path) -> tuple[int, str, Sequence[Array]]:
    state = binary.read(path, pb.SolverState)
    if not state.HasField("iter"):
        raise UserError(f"{path}: is no solver state; a .solverstate was expected (weights are given with --weights)")
    return state.iter, state.learned_net, [binary.blob_to_array(blob) for blob in state.history]


def _read_hdf5_state(path: Path) -> tuple[int, str, Sequence[Array]]:
    try:
        with h5py.File(path, "r") as file:
            if "iter" not in file or "history" not in file:
                raise UserError(f"{path}: is no solver state (no 'iter' and 'history')")
            learned = file["learned_net"][()] if "learned_net" in file else b""
            name = learned.decode() if isinstance(learned, bytes) else str(learned)
            history = [np.asarray(file["history"][str(i)], np.float32) for i in range(len(file["history"]))]
            return int(np.asarray(file["iter"]).reshape(-1)[0]), name.rstrip("\0"), history
    except (OSError, KeyError) as error:
        raise UserError(f"{path}: damaged HDF5 solver state: {error}") from None


def _fill_model(net: Net, path: Path) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for layer in net.layers:
            group = data.require_group(layer.name)
            for parameter in layer.parameters:
                if parameter.owner is None or not parameter.name:
                    group.create_dataset(str(parameter.index), data=parameter.data)


def _fill_state(iteration: int, step: int, model: str, pieces: Sequence[Array], path: Path) -> None:
    name = model.encode() + b"\0"  # Caffe reads up to the zero
    with h5py.File(path, "w") as file:
        file.create_dataset("iter", data=np.array([iteration], np.int32))
        file.create_dataset("current_step", data=np.array([step], np.int32))
        file.create_dataset("learned_net", data=np.array(name, f"S{len(name)}"))
        group = file.create_group("history")
        for i, piece in enumerate(pieces):
            group.create_dataset(str(i), data=piece)
