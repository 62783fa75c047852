"""Model files: the weights of a net by layer name, binary (.caffemodel) or HDF5 (.caffemodel.h5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from batchbrew import atomic
from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.protos.files import is_file
from batchbrew.solver.blob import Array, Shape
from batchbrew.solver.hdf5 import read_values, reading
from batchbrew.solver.layer import Layer
from batchbrew.solver.net import Net
from batchbrew.solver.parameter import Parameter
from batchbrew.solver.upgrade import upgrade_net

HDF5_MAGIC = b"\x89HDF"


class Stored(NamedTuple):
    """What a model file holds of one layer: its blobs by index."""

    layer: str
    blobs: dict[int, pb.BlobProto | Array]


# --- writing ----------------------------------------------------------------------------------------------------------


def save_caffemodel(net: Net, path: Path | str, diffs: bool = False, hdf5: bool | None = None) -> None:
    """Write the net's layers with their parameters, and with ``diffs`` their gradients, as binary or HDF5 file.

    ``hdf5`` None: HDF5 if the name ends in .h5. Raises UserError where the file cannot be written.
    """
    if str(path).endswith(".h5") if hdf5 is None else hdf5:
        write_hdf5(Path(path), partial(_fill, net, diffs))
        return
    message = pb.NetParameter(name=net.name)
    for layer in net.layers:
        entry = message.layer.add()
        _describe(layer, entry)
        for parameter in layer.parameters:
            values = np.ascontiguousarray(parameter.data, np.float32)
            gradients = np.ascontiguousarray(parameter.grad, np.float32) if diffs else None
            entry.blobs.append(binary.array_to_blob(values, gradients))
    binary.write(path, message)


def _describe(layer: Layer, entry: pb.LayerParameter) -> None:
    """Set ``entry`` to the layer's definition as Caffe keeps it: with the defaults that layers state themselves."""
    entry.CopyFrom(layer.param)
    entry.phase = layer.phase
    del entry.blobs[:]
    if layer.loss and not len(entry.loss_weight):
        entry.loss_weight.extend([1.0] + [0.0] * (len(entry.top) - 1))
    for parameter in layer.parameters[len(entry.param) :]:
        if parameter.lr_mult:
            break
        entry.param.add(lr_mult=0)


def write_hdf5(path: Path, fill: partial[None]) -> None:
    """Put an HDF5 file at ``path``, whole or not at all; ``fill(temporary)`` writes it."""
    try:
        atomic.replace(path, fill)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from None


def _fill(net: Net, diffs: bool, path: Path) -> None:
    sharers = _sharers(net)
    with h5py.File(path, "w") as file:
        for layer in net.layers:
            group = _group(file, f"data/{layer.name}", layer)
            for parameter in layer.parameters:
                if parameter not in sharers:
                    group[str(parameter.index)] = np.asarray(parameter.data, np.float32)
            if diffs:
                group = _group(file, f"diff/{layer.name}", layer)
                for parameter in layer.parameters:
                    group[str(parameter.index)] = np.asarray(parameter.grad, np.float32)


def _group(file: h5py.File, name: str, layer: Layer) -> h5py.Group:
    """Return the new group of a layer; a "/" in its name makes groups in groups."""
    if not set(name.split("/")) & {"", "."}:
        try:
            group = file.require_group(name)
        except (TypeError, ValueError):
            group = None
        if group is not None and not any(isinstance(item, h5py.Dataset) for item in group.values()):
            return group
    raise layer.error("HDF5 files cannot hold a layer of this name, or two of one name: use BINARYPROTO or rename it")


def _sharers(net: Net) -> set[Parameter]:
    """Return the parameters whose values belong to an earlier layer of the net."""
    owned: set[str] = set()
    sharers = set()
    for layer in net.layers:
        for parameter in layer.parameters:
            if parameter.name in owned:
                sharers.add(parameter)
            elif parameter.name:
                owned.add(parameter.name)
    return sharers


# --- reading ----------------------------------------------------------------------------------------------------------


def load_weights(net: Net, path: Path | str, strict: bool = True) -> list[str]:
    """Set the parameters of equally named layers from a model file; return the layers of the file the net has not.

    Layers the file has not keep their values. ``strict``: refuse a file that sets nothing. A file of which anything
    does not fit changes nothing. Raises UserError for a missing, damaged or foreign file, and for blobs that do not
    fit.
    """
    path = Path(path)
    if not is_file(path):
        raise UserError(f"{path}: no such model file")
    with path.open("rb") as file:
        hdf5 = file.read(4) == HDF5_MAGIC
    model = list(_read_hdf5(path) if hdf5 else _read_binary(path))
    named = [stored.layer for stored in model if stored.blobs]
    if strict and not named:
        raise UserError(
            f"{path}: holds no weights; a .caffemodel was expected (a .solverstate is given with --snapshot)"
        )
    # Of two layers of one name Caffe takes the first for binary files and the last for HDF5 files.
    targets = {layer.name: layer for layer in (net.layers if hdf5 else reversed(net.layers))}
    sharers = _sharers(net) if hdf5 else set()
    ignored = [stored.layer for stored in model if stored.layer not in targets]
    setting = [
        pair
        for stored in model
        if stored.layer in targets
        for pair in _match(stored, targets[stored.layer], sharers, path)
    ]
    if strict and not setting:
        raise UserError(f"{path}: no layer of this model is in the net (model: {', '.join(named[:6])})")
    ready = [(parameter, *_numbers(blob, parameter, path)) for parameter, blob in setting]
    for parameter, values, gradients in ready:
        parameter.data[...] = values.reshape(parameter.shape)
        if gradients is not None:
            parameter.grad[...] = gradients.reshape(parameter.shape)
    return ignored


def _match(
    stored: Stored, layer: Layer, sharers: set[Parameter], path: Path
) -> Iterator[tuple[Parameter, pb.BlobProto | Array]]:
    """Yield the parameters of ``layer`` and the blobs to set them to; ``sharers`` may be missing in the file."""
    missing = [p for p in layer.parameters if p.index not in stored.blobs and p not in sharers]
    if missing or len(stored.blobs) > len(layer.parameters):
        raise UserError(
            f"{path}: Incompatible number of blobs for layer {layer.name}: "
            f"the file has {len(stored.blobs)}, the net {len(layer.parameters)}"
        )
    for parameter in layer.parameters:
        blob = stored.blobs.get(parameter.index)
        if blob is None:
            continue
        found, fits = _compare(blob, parameter.shape)
        if not fits:
            raise UserError(
                f"{path}: Cannot copy param {parameter.index} weights from layer '{layer.name}'; shape mismatch. "
                f"Source param shape is {shape_text(found)}; target param shape is {shape_text(parameter.shape)}. To "
                "learn this layer's parameters from scratch rather than copying from a saved net, rename the layer."
            )
        yield parameter, blob


def _compare(blob: pb.BlobProto | Array, shape: Shape) -> tuple[Shape, bool]:
    """Return the shape of a blob, and whether it is as good as ``shape``."""
    if isinstance(blob, pb.BlobProto):
        return binary.blob_shape(blob), binary.fits(blob, shape)
    return blob.shape, blob.shape == shape


def _numbers(blob: pb.BlobProto | Array, parameter: Parameter, path: Path) -> tuple[Array, Array | None]:
    """Return the values of a blob, and its gradients where it has such."""
    if not isinstance(blob, pb.BlobProto):
        return blob, None
    where = f"{path}: {parameter.label}: "
    return binary.blob_to_array(blob, where), binary.diff_to_array(blob, where)


def shape_text(shape: Shape) -> str:
    """Return a shape as Caffe writes it.

    >>> shape_text((2, 3)), shape_text(())
    ('2 3 (6)', '(1)')
    """
    return " ".join([*map(str, shape), f"({prod(shape)})"])


def _read_binary(path: Path) -> Iterator[Stored]:
    message = binary.read(path, pb.NetParameter)
    upgrade_net(message, str(path))
    for layer in message.layer:
        yield Stored(layer.name, dict(enumerate(layer.blobs)))


def _read_hdf5(path: Path) -> Iterator[Stored]:
    found: list[Stored] = []
    with reading(path, "model") as file:
        if not isinstance(file.get("data"), h5py.Group):
            raise UserError(f"{path}: is an HDF5 file but no model (no group 'data')")
        _walk(file["data"], "", found)
    return iter(found)


def _walk(group: h5py.Group, name: str, found: list[Stored]) -> None:
    """Add what lies in a group: it is a layer if it holds blobs, or nothing; else only the beginning of a name."""
    blobs: dict[int, pb.BlobProto | Array] = {
        int(key): read_values(item) for key, item in group.items() if isinstance(item, h5py.Dataset) and key.isdecimal()
    }
    inner = {key: item for key, item in group.items() if isinstance(item, h5py.Group)}
    if name and (blobs or not inner):
        found.append(Stored(name, blobs))
    for key, item in inner.items():
        _walk(item, f"{name}/{key}" if name else key, found)
