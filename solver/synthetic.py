"""Stand-ins for data that is not there: the same net over made-up pictures and labels."""

from __future__ import annotations

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


def synthesize(net: pb.NetParameter, where: str, shape: Shape | None = None, batch: int | None = None) -> None:
    """Put DummyData in the place of every layer that reads samples, in the current format of nets.

    Pictures are gaussian, labels 0. Their ``shape`` (C, H, W) is what the layer says of it (crop_size; new_height and
    new_width; the sizes of MemoryData), else the one given; ``batch`` replaces batch sizes. Raises UserError where
    neither tells the shape.
    """
    for layer in net.layer:
        if layer.type not in READERS:
            continue
        samples = batch or int(getattr(layer, READERS[layer.type]).batch_size) or 1
        picture = _shape(layer) or shape
        if picture is None:
            raise UserError(
                f"{where}: layer '{layer.name}' ({layer.type}) does not say how large its pictures are: "
                f"give the shape, as in --shape 3,32,32"
            )
        dummy = pb.LayerParameter(name=layer.name, type="DummyData", top=layer.top)
        dummy.include.extend(layer.include)
        dummy.exclude.extend(layer.exclude)
        for i in range(len(layer.top)):
            dummy.dummy_data_param.shape.add(dim=[samples, *picture] if i == 0 else [samples])
            dummy.dummy_data_param.data_filler.add(type="gaussian" if i == 0 else "constant", std=1.0)
        layer.CopyFrom(dummy)


def _shape(layer: pb.LayerParameter) -> Shape | None:
    """Return (C, H, W) as far as the layer itself tells it."""
    memory, images = layer.memory_data_param, layer.image_data_param
    crop = layer.transform_param.crop_size or layer.data_param.crop_size
    channels = 1 if layer.type == "ImageData" and not images.is_color else 3
    if layer.type == "MemoryData" and memory.height and memory.width:
        return (memory.channels or 1, memory.height, memory.width)
    if crop:
        return (channels, crop, crop)
    if layer.type == "ImageData" and images.new_height and images.new_width:
        return (channels, images.new_height, images.new_width)
    return None
