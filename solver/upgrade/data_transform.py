"""Transformations in the settings of V1 data layers: moved to ``transform_param``."""

from __future__ import annotations

from google.protobuf.message import Message

from batchbrew.protos import messages as pb
from batchbrew.solver.upgrade.draft import Draft

NAME = "transformation parameters"

_FIELDS = ("scale", "mean_file", "crop_size", "mirror")


def needed(param: pb.NetParameter) -> bool:
    """Tell whether a V1 data layer holds transformations itself."""
    return any(settings.HasField(field) for settings in map(_settings, param.layers) if settings for field in _FIELDS)


def upgrade(draft: Draft) -> bool:
    """Move the fields; they overwrite those of transform_param. Return True."""
    for layer in draft.param.layers:
        settings = _settings(layer)
        for field in _FIELDS if settings else ():
            if settings and settings.HasField(field):
                setattr(layer.transform_param, field, getattr(settings, field))
                settings.ClearField(field)
    return True


def _settings(layer: pb.V1LayerParameter) -> Message | None:
    kinds = pb.V1LayerParameter
    if layer.type == kinds.DATA:
        return layer.data_param
    if layer.type == kinds.IMAGE_DATA:
        return layer.image_data_param
    return layer.window_data_param if layer.type == kinds.WINDOW_DATA else None
