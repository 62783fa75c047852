"""First generation (V0): ``layers`` whose settings lie in one inner ``layer`` block, to the second (V1)."""

from __future__ import annotations

from google.protobuf.message import Message

from batchbrew.errors import did_you_mean
from batchbrew.protos import messages as pb
from batchbrew.protos.schema import descriptor, is_repeated
from batchbrew.solver.upgrade.draft import Draft
from batchbrew.solver.upgrade.padding import merge_padding

NAME = "V0LayerParameter"

TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}
# the V1 block that holds a type's settings; types without one take no settings of their own
_BLOCKS = {
    "concat": "concat_param",
    "conv": "convolution_param",
    "data": "data_param",
    "dropout": "dropout_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "infogain_loss": "infogain_loss_param",
    "innerproduct": "inner_product_param",
    "lrn": "lrn_param",
    "pool": "pooling_param",
    "window_data": "window_data_param",
}
# V0 field -> (V1 field of the type's block, the types that take it)
_FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "num_output": ("num_output", ("conv", "innerproduct")),
    "biasterm": ("bias_term", ("conv", "innerproduct")),
    "weight_filler": ("weight_filler", ("conv", "innerproduct")),
    "bias_filler": ("bias_filler", ("conv", "innerproduct")),
    "pad": ("pad", ("conv", "pool")),
    "kernelsize": ("kernel_size", ("conv", "pool")),
    "group": ("group", ("conv",)),
    "stride": ("stride", ("conv", "pool")),
    "pool": ("pool", ("pool",)),
    "dropout_ratio": ("dropout_ratio", ("dropout",)),
    "local_size": ("local_size", ("lrn",)),
    "alpha": ("alpha", ("lrn",)),
    "beta": ("beta", ("lrn",)),
    "k": ("k", ("lrn",)),
    "source": ("source", ("data", "hdf5_data", "images", "window_data", "infogain_loss")),
    "batchsize": ("batch_size", ("data", "hdf5_data", "images", "window_data")),
    "rand_skip": ("rand_skip", ("data", "images")),
    "shuffle_images": ("shuffle", ("images",)),
    "new_height": ("new_height", ("images",)),
    "new_width": ("new_width", ("images",)),
    "concat_dim": ("concat_dim", ("concat",)),
    "det_fg_threshold": ("fg_threshold", ("window_data",)),
    "det_bg_threshold": ("bg_threshold", ("window_data",)),
    "det_fg_fraction": ("fg_fraction", ("window_data",)),
    "det_context_pad": ("context_pad", ("window_data",)),
    "det_crop_mode": ("crop_mode", ("window_data",)),
}
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}  # of any type
_KEPT = ("name", "input", "input_dim", "force_backward")  # of the net; nothing else was there


def needed(param: pb.NetParameter) -> bool:
    """Tell whether ``param`` has layers of the first generation."""
    return any(layer.HasField("layer") for layer in param.layers)


def upgrade(draft: Draft) -> bool:
    """Make the layers V1; settings a type does not take are noted as errors and left out. Return False if any were."""
    merge_padding(draft)
    old = pb.NetParameter()
    old.CopyFrom(draft.param)
    for field, _ in old.ListFields():
        if field.name not in _KEPT:
            draft.param.ClearField(field.name)
    before = len(draft.notes)
    for i, layer in enumerate(old.layers):
        _convert(draft, i, layer, draft.param.layers.add())
    return len(draft.notes) == before


def _convert(draft: Draft, i: int, connection: pb.V1LayerParameter, new: pb.V1LayerParameter) -> None:
    new.bottom.extend(connection.bottom)
    new.top.extend(connection.top)
    old = connection.layer
    if old.HasField("name"):
        new.name = old.name
    if old.HasField("type"):
        if old.type not in TYPES:
            near = did_you_mean(old.type, TYPES)
            raise draft.error(f"Unknown layer name: {old.type} (layer '{old.name}'){near}", i)
        new.type = pb.V1LayerParameter.LayerType.Value(TYPES[old.type])
    new.blobs.extend(old.blobs)
    new.blobs_lr.extend(old.blobs_lr)
    new.weight_decay.extend(old.weight_decay)
    given = {field.name for field, _ in old.ListFields()}
    for name, (target, types) in _FIELDS.items():
        if name in given:
            if old.type in types:
                _put(getattr(new, _BLOCKS[old.type]), target, getattr(old, name))
            else:
                _unknown(draft, name, old)
    for name, target in _TRANSFORM.items():
        if name in given:
            setattr(new.transform_param, target, getattr(old, name))
    if "hdf5_output_param" in given:
        if old.type == "hdf5_output":
            new.hdf5_output_param.CopyFrom(old.hdf5_output_param)
        else:
            _unknown(draft, "hdf5_output_param", old)


def _unknown(draft: Draft, name: str, layer: pb.V0LayerParameter) -> None:
    draft.note(f"Unknown parameter {name} for layer type {layer.type} (layer '{layer.name}')", "E")


def _put(block: Message, name: str, value: object) -> None:
    """Set the field ``name`` of ``block``, or add to it where it is a list by now (pad, kernel_size, stride)."""
    if isinstance(value, Message):
        getattr(block, name).CopyFrom(value)
    elif is_repeated(descriptor(type(block)).fields_by_name[name]):
        getattr(block, name).append(value)
    else:
        setattr(block, name, value)
