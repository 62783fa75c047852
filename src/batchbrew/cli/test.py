"""``batchbrew test``: score a model, as ``caffe test`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from batchbrew.cli.caffe_flags import build, needed, state_flags, use_cpu
from batchbrew.glog import log, number

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--model", type=_PATH, help="Net prototxt; its data layers of phase TEST are read.")
@click.option("--weights", help="Trained .caffemodel files, with commas between them.")
@click.option("--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="Batches to score.")
@state_flags
def test(model: Path | None, weights: str | None, iterations: int, **state: Any) -> None:
    """Score a trained model on the test data of its net: every output, as a mean over the batches."""
    from batchbrew.protos import messages as pb
    from batchbrew.solver.snapshot import load_weights

    needed(model, "a model definition to score", "model")
    needed(weights, "model weights to score", "weights")
    use_cpu(state["gpu"])
    net = build(str(model), pb.TEST, state["level"], state["stage"])
    for path in (weights or "").split(","):
        for name in load_weights(net, path):
            log("net.cpp:757", f"Ignoring source layer {name}")
    log("caffe.cpp:284", f"Running for {iterations} iterations.")
    sums = np.zeros(0)
    loss = 0.0
    for i in range(iterations):
        outputs = net.forward()
        loss += net.total_loss
        values = np.concatenate([np.ravel(outputs[name]) for name in net.outputs] or [np.zeros(0)]).astype(np.float64)
        sums = values if i == 0 else sums + values
        names = [name for name in net.outputs for _ in range(outputs[name].size)]
        for name, value in zip(names, values, strict=True):
            log("caffe.cpp:304", f"Batch {i}, {name} = {number(value)}")
    log("caffe.cpp:309", f"Loss: {number(loss / iterations)}")
    for name, total in zip(names, sums, strict=True):
        mean, weight = total / iterations, net.loss_weights.get(name, 0.0)
        suffix = f" (* {number(weight)} = {number(weight * mean)} loss)" if weight else ""
        log("caffe.cpp:321", f"{name} = {number(mean)}{suffix}")
