"""The steps from any older format of a net to the current one, in Caffe's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from batchbrew.protos import messages as pb
from batchbrew.solver.upgrade import batch_norm, data_transform, inputs, v0, v1
from batchbrew.solver.upgrade.draft import Draft, Note, Position


class Step(NamedTuple):
    """One step: what it is about, whether a net needs it, and doing it (False: noted errors were passed over)."""

    name: str
    needed: Callable[[pb.NetParameter], bool]
    upgrade: Callable[[Draft], bool]


STEPS = tuple(Step(m.NAME, m.needed, m.upgrade) for m in (v0, data_transform, v1, inputs, batch_norm))


def outdated_net(param: pb.NetParameter) -> list[str]:
    """Return what in ``param`` is in an older format; nothing if it is current.

    >>> outdated_net(pb.NetParameter(layers=[{"type": "RELU"}], input=["data"]))
    ['V1LayerParameter', 'input fields']
    """
    return [step.name for step in STEPS if step.needed(param)]


def upgrade_net(
    param: pb.NetParameter,
    file: str = "",
    positions: list[Position] | None = None,
    input_position: Position = (1, 1),
) -> list[Note]:
    """Change ``param`` to the current format; return what was done, in the words of Caffe's log.

    ``positions`` holds the (line, column) of each layer and is changed along with the layers; ``input_position`` is
    the place of the first ``input`` field. Raises UserError ``file:line:col: ...`` for what has no meaning.

    >>> net = pb.NetParameter(layers=[{"name": "r", "type": "RELU", "bottom": ["x"], "top": ["y"]}])
    >>> upgrade_net(net, "n.prototxt")[0]
    'Attempting to upgrade input file specified using deprecated V1LayerParameter: n.prototxt'
    >>> net.layer[0].type, upgrade_net(net)
    ('ReLU', [])
    """
    draft = Draft(param, file, positions, input_position)
    if len(param.layers) and len(param.layer):
        raise draft.error(
            "Refusing to upgrade inconsistent NetParameter input; the definition includes both 'layer' and 'layers' "
            'fields - write all of them as layer { type: "..." }'
        )
    for step in STEPS:
        if not step.needed(param):
            continue
        draft.note(f"Attempting to upgrade input file specified using deprecated {step.name}: {file}")
        if step.upgrade(draft):
            draft.note(f"Successfully upgraded file specified using deprecated {step.name}")
        else:
            draft.note(f"Warning: had problems upgrading {step.name} (see above); continuing anyway.", "E")
    return draft.notes


def upgraded(
    param: pb.NetParameter, file: str = "", positions: Sequence[Position] = ()
) -> tuple[pb.NetParameter, Sequence[Position]]:
    """Return ``param`` in the current format, itself or an upgraded copy, and the positions of its layers."""
    if not outdated_net(param):
        return param, positions
    current, places = pb.NetParameter(), list(positions)
    current.CopyFrom(param)
    upgrade_net(current, file, places)
    return current, places
