"""Labels and scores must fit: a label beyond the classes would turn the loss into NaN during training."""

from __future__ import annotations

from batchbrew.solver.layers.data_layer import Data
from batchbrew.solver.layers.losses import SoftmaxWithLoss
from batchbrew.solver.wiring import Wiring


def check_labels(net: Wiring) -> None:
    """Raise UserError where a Data layer's labels reach beyond the classes of the loss that reads them."""
    sources = {
        id(tops[1].data): layer
        for layer, tops in zip(net.layers, net.tops, strict=True)
        if isinstance(layer, Data) and len(tops) > 1
    }
    for layer, bottoms in zip(net.layers, net.bottoms, strict=True):
        if not isinstance(layer, SoftmaxWithLoss) or layer.ignores:
            continue
        source = sources.get(id(bottoms[1].data))  # through any Splits, which pass the memory on
        if source is None:
            continue
        classes = net.shapes[bottoms[0].number][layer.along]
        highest = int(source.part.labels.max(initial=0))
        if highest >= classes:
            raise layer.error(
                f"scores {classes} classes, but the data has labels up to {highest}: num_output of "
                f"'{bottoms[0].name}' must be at least {highest + 1}"
            )
