"""Stand-ins for data that is not there: the same net over made-up pictures and labels."""

from __future__ import annotations

from collections.abc import Mapping

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Shape

# type -> the field of LayerParameter with its batch_size
READERS = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "HDF5Data": "hdf5_data_param",
    "WindowData": "window_data_param",
    "MemoryData": "memory_data_param",
}


def synthesize(
    net: pb.NetParameter, where: str, shape: Shape | Mapping[str, Shape] | None = None, batch: int | None = None
) -> None:
    """Put DummyData in the place of every layer that reads samples, in the current format of nets.

    Such layers are those of READERS, and Python layers without bottoms, of which nobody knows what they need. First
    tops are pictures, gaussian; the others are labels, all 0. Pictures have the sizes that the layer itself gives them
    (crop_size; new_height and new_width; those of MemoryData), else ``shape`` (C, H, W). ``shape`` may also say the
    shape of a sample of any top by its name. ``batch`` replaces batch sizes. Raises UserError where nothing tells how
    large the pictures are.
    """
    named = shape if isinstance(shape, Mapping) else {}
    given = None if isinstance(shape, Mapping) else shape
    for layer in net.layer:
        if layer.type in READERS or (layer.type == "Python" and not layer.bottom):
            samples = batch or _batch_size(layer) or 1
            shapes = {top: named.get(top, ()) for top in layer.top}
            for first in layer.top[:1]:
                shapes[first] = named.get(first) or _picture(layer, given, where)
            _replace(layer, [(samples, *shapes[top]) for top in layer.top])


def _replace(layer: pb.LayerParameter, shapes: list[Shape]) -> None:
    """Make a DummyData layer of ``layer``, in the same phases and stages."""
    dummy = pb.LayerParameter(name=layer.name, type="DummyData", top=layer.top, include=layer.include)
    dummy.exclude.extend(layer.exclude)
    for i, shape in enumerate(shapes):
        dummy.dummy_data_param.shape.add(dim=shape)
        dummy.dummy_data_param.data_filler.add(type="gaussian" if i == 0 else "constant")
    layer.CopyFrom(dummy)


def _batch_size(layer: pb.LayerParameter) -> int:
    return int(getattr(layer, READERS[layer.type]).batch_size) if layer.type in READERS else 0


def _picture(layer: pb.LayerParameter, given: Shape | None, where: str) -> Shape:
    """Return (C, H, W), or any other shape that is ``given`` for a sample."""
    memory, images, crop = layer.memory_data_param, layer.image_data_param, layer.transform_param.crop_size
    if layer.type == "MemoryData" and memory.height and memory.width:
        return (memory.channels or 1, memory.height, memory.width)
    if crop and layer.type != "HDF5Data":
        return (_channels(layer, given), crop, crop)
    if layer.type == "ImageData" and images.new_height and images.new_width:
        return (_channels(layer, given), images.new_height, images.new_width)
    if given is None:
        raise UserError(
            f"{where}: layer '{layer.name}' ({layer.type}) does not say how large its pictures are: "
            f"give the shape, as in --shape 3,32,32"
        )
    return given


def _channels(layer: pb.LayerParameter, given: Shape | None) -> int:
    """Return the channels of pictures whose height and width the layer tells."""
    transform = layer.transform_param
    if layer.type == "ImageData":
        return 3 if layer.image_data_param.is_color else 1
    if given is not None and layer.type != "WindowData":
        return given[0]
    if transform.force_gray:
        return 1
    return len(transform.mean_value) if len(transform.mean_value) > 1 else 3
