"""debug_info: what each layer makes of its blobs, as mean absolute values."""

from __future__ import annotations

import numpy as np

from batchbrew.glog import log, number
from batchbrew.solver.blob import Array
from batchbrew.solver.net import Net
from batchbrew.solver.parameter import Parameter


def forward(net: Net) -> None:
    """Run forward layer by layer, writing a line for each top and each parameter."""
    for i, layer in enumerate(net.layers):
        net.whole.steps()[i][0]()
        for top in net.wiring.tops[i]:
            values = net.whole.compiled.tensors[top.number].data
            log("net.cpp:591", f"    [Forward] Layer {layer.name}, top blob {top.name} data: {_mean(values)}")
        for p in layer.parameters:
            log("net.cpp:603", f"    [Forward] Layer {layer.name}, param blob {_label(p)} data: {_mean(p.data)}")


def backward(net: Net) -> None:
    """Run backward layer by layer, writing a line for each gradient, and at the end the norms of all parameters."""
    for i in reversed(range(len(net.layers))):
        net.whole.backward(i, i)
        layer = net.layers[i]
        if not net.wiring.runs[i]:
            continue
        for bottom, needed in zip(net.wiring.bottoms[i], net.wiring.needs[i], strict=True):
            if needed:
                values = net.whole.compiled.tensors[bottom.number].diff
                log(
                    "net.cpp:619", f"    [Backward] Layer {layer.name}, bottom blob {bottom.name} diff: {_mean(values)}"
                )
        for p in layer.parameters:
            if p.lr_mult:
                log("net.cpp:630", f"    [Backward] Layer {layer.name}, param blob {p.index} diff: {_mean(p.grad)}")
    arrays = [np.concatenate([getattr(p, what).ravel() for p in net.flat.parameters] or [np.zeros(0)])
              for what in ("data", "grad")]  # fmt: skip
    sums = [number(float(np.abs(x).sum())) for x in arrays]
    norms = [number(float(np.sqrt(np.vdot(x, x)))) for x in arrays]
    log(
        "net.cpp:577",
        f"    [Backward] All net params (data, diff): L1 norm = ({', '.join(sums)}); L2 norm = ({', '.join(norms)})",
        "E",
    )


def update(net: Net) -> None:
    """Write a line for each learnable parameter after an update: its new values, and what was subtracted."""
    for p in net.flat.parameters:
        log(
            "net.cpp:648",
            f"    [Update] Layer {p.layer}, param {_label(p)} data: {_mean(p.data)}; diff: {_mean(p.grad)}",
        )


def _label(parameter: Parameter) -> str:
    return parameter.name or str(parameter.index)


def _mean(values: Array) -> str:
    return number(float(np.abs(values).mean(dtype=np.float64)) if values.size else 0.0)
