"""Second generation (V1): ``layers`` with types in capitals, to ``layer`` with types in quotes (V2)."""

from __future__ import annotations

from batchbrew.protos import messages as pb
from batchbrew.solver.upgrade.draft import Draft

NAME = "V1LayerParameter"

_WORDS = {  # written otherwise than in CamelCase
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
_COPIED = ("bottom", "top", "name", "include", "exclude", "blobs", "loss_weight")
_TO_SPECS = {  # V1 list -> field of the ParamSpec with the same index
    "param": "name",
    "blob_share_mode": "share_mode",
    "blobs_lr": "lr_mult",
    "weight_decay": "decay_mult",
}


def type_name(kind: int) -> str:
    """Return the type in quotes for a V1 type.

    >>> type_name(pb.V1LayerParameter.SIGMOID_CROSS_ENTROPY_LOSS), type_name(pb.V1LayerParameter.SOFTMAX_LOSS)
    ('SigmoidCrossEntropyLoss', 'SoftmaxWithLoss')
    """
    name = pb.V1LayerParameter.LayerType.Name(kind)
    return _WORDS.get(name, "".join(word.capitalize() for word in name.split("_")))


def needed(param: pb.NetParameter) -> bool:
    """Tell whether ``param`` has layers of the second generation."""
    return len(param.layers) > 0


def upgrade(draft: Draft) -> bool:
    """Make the layers V2, one for one. Return True."""
    for layer in draft.param.layers:
        _convert(layer, draft.param.layer.add())
    draft.param.ClearField("layers")
    return True


def _convert(old: pb.V1LayerParameter, new: pb.LayerParameter) -> None:
    for field, value in old.ListFields():
        if field.name in _COPIED or field.name.endswith("_param"):
            _copy(new, field.name, value)
        elif field.name == "type":
            new.type = type_name(old.type)
        elif field.name in _TO_SPECS:
            while len(new.param) < len(value):
                new.param.add()
            for spec, entry in zip(new.param, value, strict=False):
                setattr(spec, _TO_SPECS[field.name], entry)


def _copy(new: pb.LayerParameter, name: str, value: object) -> None:
    if isinstance(value, str):
        setattr(new, name, value)
    else:  # a block or a list
        getattr(new, name).MergeFrom(value)
