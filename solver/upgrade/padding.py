"""Padding layers of the first generation (V0): they become the ``pad`` of the layers that follow them."""

from __future__ import annotations

from batchbrew.protos import messages as pb
from batchbrew.solver.upgrade.draft import Draft

PADDING = "padding"
_TAKES_PADDING = ("conv", "pool")


def merge_padding(draft: Draft) -> None:
    """Give conv and pool layers the padding and the bottom of the padding layer they follow, then drop those layers.

    Raises UserError for a bottom that no layer before it makes, and for padding in front of any other layer.
    """
    layers = draft.param.layers
    makers: dict[str, int | None] = dict.fromkeys(draft.param.input)
    merged: list[tuple[pb.V1LayerParameter, pb.V1LayerParameter]] = []
    for i, layer in enumerate(layers):
        for bottom in layer.bottom:
            if bottom not in makers:
                raise draft.error(f"Unknown blob input {bottom} to layer '{layer.layer.name}'", i)
            maker = makers[bottom]
            if maker is not None and layers[maker].layer.type == PADDING:
                _check(draft, i, maker)
                merged.append((layer, layers[maker]))
        makers.update(dict.fromkeys(layer.top, i))
    for layer, padding in merged:
        layer.layer.pad = padding.layer.pad
        layer.bottom[0] = padding.bottom[0]
    for i in reversed(range(len(layers))):
        if layers[i].layer.type == PADDING:
            del layers[i]
            if draft.positions is not None:
                del draft.positions[i]


def _check(draft: Draft, i: int, maker: int) -> None:
    """Refuse what has no meaning without the padding layer number ``maker`` in front of layer number ``i``."""
    layer, padding = draft.param.layers[i], draft.param.layers[maker]
    who = f"(layer '{layer.layer.name}' after padding layer '{padding.layer.name}')"
    if layer.layer.type not in _TAKES_PADDING:
        raise draft.error(
            f"Padding layer input to non-convolutional / non-pooling layer type '{layer.layer.type}' {who}", i
        )
    if len(layer.bottom) != 1:
        raise draft.error(f"after padding a layer takes a single blob as input, found {len(layer.bottom)} {who}", i)
    if len(padding.bottom) != 1:
        raise draft.error(f"a padding layer takes a single blob as input, found {len(padding.bottom)} {who}", maker)
    if len(padding.top) != 1:
        raise draft.error(f"a padding layer makes a single blob as output, found {len(padding.top)} {who}", maker)
