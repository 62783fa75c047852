"""Inputs as fields of the net (``input`` with ``input_shape`` or ``input_dim``): one layer of type Input."""

from __future__ import annotations

from batchbrew.protos import messages as pb
from batchbrew.solver.upgrade.draft import Draft

NAME = "input fields"

_AXES = 4  # extents a legacy input has


def needed(param: pb.NetParameter) -> bool:
    """Tell whether ``param`` has inputs as fields."""
    return len(param.input) > 0


def upgrade(draft: Draft) -> bool:
    """Insert a first layer "input" with a top and a shape for each input, and clear the fields. Return True.

    Inputs without any shape, as in old models, are only cleared. Raises UserError where some have none.
    """
    param = draft.param
    if len(param.input_shape) or len(param.input_dim):
        layer = pb.LayerParameter(name="input", type="Input", top=param.input)
        layer.input_param.shape.extend(_shapes(draft))
        param.layer.insert(0, layer)
        if draft.positions is not None:
            draft.positions.insert(0, draft.input_position)
    for field in ("input", "input_shape", "input_dim"):
        param.ClearField(field)
    return True


def _shapes(draft: Draft) -> list[pb.BlobShape]:
    param = draft.param
    count = len(param.input)
    if len(param.input_shape):
        if len(param.input_shape) < count:
            raise draft.error(f"{count} inputs need as many input_shape blocks, found {len(param.input_shape)}")
        return list(param.input_shape[:count])
    if len(param.input_dim) < _AXES * count:
        raise draft.error(
            f"{count} input(s) need {_AXES * count} values of input_dim, {_AXES} for each, found {len(param.input_dim)}"
        )
    return [pb.BlobShape(dim=param.input_dim[_AXES * i : _AXES * (i + 1)]) for i in range(count)]
