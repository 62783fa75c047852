"""One program: a net's operations for one batch size, with every array resolved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchbrew.solver.blob import Array, Blob, Shape, Storage
from batchbrew.solver.kernels import Program, compile_program
from batchbrew.solver.layer import Builder
from batchbrew.solver.layers.sources import SourceLayer
from batchbrew.solver.wiring import Wiring


@dataclass
class Compiled:
    """The operations of forward ([0, turn)) and backward ([turn, end)), the blobs they work on, and what is fed."""

    program: Program
    turn: int
    blobs: dict[str, Blob]  # the last one of each name
    feeds: list[tuple[SourceLayer, list[Array]]]
    keys: Array  # uint64, one a sample
    losses: list[tuple[Blob, float]]
    samples: int


def compile_net(net: Wiring, kernels: str, build: Builder, batch: int | None, backward: bool) -> Compiled:
    """Return the program of ``net`` for ``batch`` samples (None: as many as the prototxt says).

    Storages are grown where needed, which leaves programs compiled before with old memory: compile the largest batch
    first.
    """
    shapes: dict[int, Shape] = {}
    views: dict[tuple[int, Shape], Array] = {}
    blobs: list[Blob] = [None] * len(net.shapes)  # type: ignore[list-item]

    def view(storage: Storage, shape: Shape) -> Array:
        return views.setdefault((id(storage), shape), storage.view(shape))

    for layer, bottoms, tops in zip(net.layers, net.bottoms, net.tops, strict=True):
        made = layer.reshape([shapes[b.number] for b in bottoms])
        for tensor, shape in zip(tops, made, strict=True):
            if batch is not None and isinstance(layer, SourceLayer) and layer.type == "Data":
                shape = (batch, *shape[1:])  # noqa: PLW2901
            shapes[tensor.number] = shape
            blobs[tensor.number] = Blob(tensor.name, view(tensor.data, shape), view(tensor.diff, shape))
    losses = []
    for number, weight in net.weights.items():
        blobs[number].diff[...] = weight
        losses.append((blobs[number], weight))
    for i, layer in enumerate(net.layers):
        layer.reshape([shapes[b.number] for b in net.bottoms[i]])
        build.layer = i
        layer.forward(build, [blobs[b.number] for b in net.bottoms[i]], [blobs[t.number] for t in net.tops[i]])
    turn = len(build.calls)
    for i in reversed(range(len(net.layers))):
        layer = net.layers[i]
        build.layer = i
        if backward and net.runs[i]:
            layer.reshape([shapes[b.number] for b in net.bottoms[i]])
            layer.backward(
                build, [blobs[b.number] for b in net.bottoms[i]], [blobs[t.number] for t in net.tops[i]], net.needs[i]
            )
    feeds = [
        (layer, [blobs[t.number].data for t in tops])
        for layer, tops in zip(net.layers, net.tops, strict=True)
        if isinstance(layer, SourceLayer)
    ]
    return Compiled(
        program=compile_program(build.calls, kernels),
        turn=turn,
        blobs={tensor.name: blobs[tensor.number] for tensor in net.tensors.values()},
        feeds=feeds,
        keys=build.keys,
        losses=losses,
        samples=len(build.keys),
    )


def prepare_program(net: Wiring, kernels: str, build: Builder) -> Program:
    """Return the program to run once after the parameters have changed, before going backward."""
    for layer, runs, needs in zip(net.layers, net.runs, net.needs, strict=True):
        if runs and any(needs):
            layer.prepare(build)
    return compile_program(build.calls, kernels)


def activation_bytes(net: Wiring) -> float:
    """Return the bytes of data and gradients of one sample."""
    sizes = [np.prod(shape, dtype=np.int64) / (shape[0] if shape else 1) for shape in net.shapes]
    return float(8 * sum(sizes))
