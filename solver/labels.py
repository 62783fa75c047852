"""Labels and scores must fit: a label beyond the classes would turn the loss into NaN during training."""

from __future__ import annotations

from batchbrew.solver.layers.samples import SampleLayer
from batchbrew.solver.layers.softmax_loss import SoftmaxWithLoss
from batchbrew.solver.wiring import Wiring


def check_labels(net: Wiring) -> None:
    """Raise UserError where a source's labels reach beyond the classes of the loss that reads them.

    A source that does not know its labels before reading them is told the number of classes, to check as it reads.
    """
    sources = {
        id(tops[1].data): layer
        for layer, tops in zip(net.layers, net.tops, strict=True)
        if isinstance(layer, SampleLayer) and len(tops) > 1
    }
    for layer, bottoms in zip(net.layers, net.bottoms, strict=True):
        if not isinstance(layer, SoftmaxWithLoss) or layer.ignores:
            continue
        source = sources.get(id(bottoms[1].data))  # through any Splits, which pass the memory on
        if source is None:
            continue
        classes = net.shapes[bottoms[0].number][layer.along]
        highest = source.highest_label
        if highest is None:
            source.classes = min(classes, source.classes or classes)
        elif highest >= classes:
            raise layer.error(
                f"scores {classes} classes, but the data has labels up to {highest}: num_output of "
                f"'{bottoms[0].name}' must be at least {highest + 1}"
            )
