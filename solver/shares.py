"""Whether the batch of a net may be cut into shares and chunks that are computed one by one and summed."""

from __future__ import annotations

from batchbrew.solver.layers.losses import Loss
from batchbrew.solver.layers.samples import SampleLayer
from batchbrew.solver.layers.sources import SourceLayer
from batchbrew.solver.wiring import Wiring


def obstacles(net: Wiring) -> list[str]:
    """Return why a batch of ``net`` must be computed in one piece; an empty list if it may be cut."""
    why = [f"layer '{layer.name}' ({layer.type}) sees the whole batch" for layer in net.layers if not layer.cuttable]
    sources = [layer for layer in net.layers if isinstance(layer, SourceLayer)]
    why += [
        f"layer '{layer.name}' ({layer.type}) has no numbered samples"
        for layer in sources
        if not isinstance(layer, SampleLayer)
    ]
    readers = [layer for layer in sources if isinstance(layer, SampleLayer)]
    if not sources:
        why.append("no layer reads samples")
    if len({layer.count for layer in readers}) > 1 or len({layer.batch for layer in readers}) > 1:
        names = ", ".join(f"'{layer.name}' ({layer.count} samples, batch {layer.batch})" for layer in readers)
        why.append(f"its sources differ: {names}")
    losses = []
    for layer, tops in zip(net.layers, net.tops, strict=True):
        for i, top in enumerate(tops):
            if top.number in net.weights and not (isinstance(layer, Loss) and i == 0):
                why.append(f"top '{top.name}' of layer '{layer.name}' ({layer.type}) has a loss_weight but is no mean")
            elif top.number in net.weights:
                losses.append(layer)
    if len(losses) > 1:
        why += [
            f"loss '{layer.name}' has normalization NONE or ignore_label beside other losses"
            for layer in losses
            if isinstance(layer, Loss) and layer.divisor_per_sample() is None
        ]
    return why
