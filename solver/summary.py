"""A net as a table: what each layer yields, how many parameters it has and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from batchbrew.solver.blob import Shape
from batchbrew.solver.wiring import Wiring


@dataclass(frozen=True)
class LayerRow:
    """One layer: its output shape, number of parameter values and MFLOP per sample (forward + backward)."""

    type: str
    name: str
    shape: Shape
    parameters: int
    mflop: float


def layer_rows(net: Wiring) -> list[LayerRow]:
    """Return the rows of all layers but Splits. A gradient wanted costs as much as the forward pass."""
    rows = []
    for i, layer in enumerate(net.layers):
        if layer.type == "Split":
            continue
        bottoms = [net.shapes[b.number] for b in net.bottoms[i]]
        tops = [net.shapes[t.number] for t in net.tops[i]]
        layer.reshape(bottoms)
        samples = tops[0][0] if tops and tops[0] else 1
        passes = 1
        if net.runs[i]:
            passes += any(p.lr_mult for p in layer.parameters) + any(net.needs[i])
        rows.append(
            LayerRow(
                type=layer.type,
                name=layer.name,
                shape=tops[0] if tops else (),
                parameters=sum(p.count for p in layer.parameters),
                mflop=2e-6 * passes * layer.multiply_adds(bottoms, tops) / samples,
            )
        )
    return rows
