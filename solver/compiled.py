"""One program: a net's operations for one set of sizes, with every array resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod

import numpy as np

from batchbrew.errors import UserError
from batchbrew.solver.ahead import Feed
from batchbrew.solver.blob import Array, Blob, Shape, Storage
from batchbrew.solver.kernels import Program
from batchbrew.solver.layer import Builder, Layer
from batchbrew.solver.layers.convolution import Filters
from batchbrew.solver.layers.samples import SampleLayer
from batchbrew.solver.layers.sources import SourceLayer
from batchbrew.solver.layers.views import copy_reshaped, copy_view
from batchbrew.solver.lending import lend
from batchbrew.solver.memory import require
from batchbrew.solver.wiring import Wiring

Span = tuple[int, int]  # first operation, and the one after the last


@dataclass
class Sizes:
    """What makes the shapes of a net differ from those of its prototxt.

    ``samples``: how many the layers that read samples yield. ``given``: shapes of tops of layers without bottoms, by
    tensor number. ``live``: what dynamic layers said of their tops, by layer number.
    """

    samples: int | None = None
    given: Mapping[int, Shape] = field(default_factory=dict)
    live: Mapping[int, Sequence[Shape]] = field(default_factory=dict)


@dataclass
class Compiled:
    """The operations of one pass forward and backward, where each layer's begin and end, and the blobs they work on."""

    program: Program
    forward: list[Span]  # by layer number
    backward: list[Span]
    tensors: list[Blob]  # by tensor number
    blobs: dict[str, Blob]  # the last one of each name
    feeds: dict[int, Feed]  # what sources do before each pass, by layer number
    rows: dict[int, Array]  # number of rows -> their keys, uint64
    losses: list[tuple[int, Blob]]  # number of the layer, and its top with a loss weight
    misfits: dict[int, Exception]  # what layers say to shapes that do not fit them, by layer number


def compile_net(net: Wiring, kernels: str, build: Builder, sizes: Sizes, backward: bool) -> Compiled:
    """Return the program of ``net`` for ``sizes``.

    Storages are grown where needed, which leaves programs compiled before with old memory: compile the largest batch
    first. A layer that does not fit its bottoms is refused only when it runs, if it is behind a dynamic one, which may
    yet make them fit, or where shapes are given, for which users may run only the layers before it.
    """
    shapes, misfits = _shapes(net, sizes)
    _check_memory(net, shapes)
    blobs = _blobs(net, shapes, {})
    if build.sums:  # nobody looks at its blobs
        trial = build.anew()
        _write(net, trial, blobs, misfits, backward)
        blobs = _blobs(net, shapes, lend(trial.calls, _changing(net, shapes, blobs)))
    forward, back = _write(net, build, blobs, misfits, backward)
    feeds = {}
    for i, (layer, tops) in enumerate(zip(net.layers, net.tops, strict=True)):
        if isinstance(layer, SourceLayer):
            build.layer = i
            feeds[i] = layer.feeding(build, [blobs[t.number] for t in tops])
    return Compiled(
        program=build.program(kernels),
        forward=forward,
        backward=back,
        tensors=blobs,
        blobs={tensor.name: blobs[tensor.number] for tensor in net.tensors.values()},
        feeds=feeds,
        rows=build.rows,
        losses=[(i, blobs[t.number]) for i, tops in enumerate(net.tops) for t in tops if t.number in net.weights],
        misfits=misfits,
    )


def _blobs(net: Wiring, shapes: Sequence[Shape], lent: Mapping[int, Storage]) -> list[Blob]:
    """Return every blob by its number, in the memory of its own storages or of those that lend them theirs."""
    views: dict[tuple[int, Shape], Array] = {}

    def view(storage: Storage, shape: Shape) -> Array:
        holder = lent.get(id(storage), storage)
        return views.setdefault((id(holder), shape), holder.view(shape))

    blobs = [Blob(t.name, view(t.data, shapes[t.number]), view(t.diff, shapes[t.number])) for t in net.numbered]
    for number, weight in net.weights.items():
        blobs[number].diff[...] = weight
    return blobs


def _changing(net: Wiring, shapes: Sequence[Shape], blobs: Sequence[Blob]) -> Iterator[tuple[Storage, Shape, Array]]:
    """Yield what operations write before they read it: not what sources feed, nor the weights of losses."""
    fed = {id(t.data) for bottoms, tops in zip(net.bottoms, net.tops, strict=True) if not bottoms for t in tops}
    for tensor, blob in zip(net.numbered, blobs, strict=True):
        if id(tensor.data) not in fed:
            yield tensor.data, shapes[tensor.number], blob.data
        if tensor.number not in net.weights:
            yield tensor.diff, shapes[tensor.number], blob.diff


def _write(
    net: Wiring,
    build: Builder,
    blobs: Sequence[Blob],
    misfits: Mapping[int, Exception],
    backward: bool,
) -> tuple[list[Span], list[Span]]:
    """Let all layers write down their operations; return where those of each begin and end, forward and backward."""
    forward: list[Span] = []
    back = [(0, 0)] * len(net.layers)
    for i, layer in enumerate(net.layers):
        build.layer, start = i, len(build.calls)
        if i in misfits:
            build.call(_refuse, misfits[i])
            forward.append((start, len(build.calls)))
            continue
        if not layer.dynamic:
            layer.reshape([blobs[b.number].shape for b in net.bottoms[i]])
        if i in net.written:
            _take_back(net, build, blobs, i)
        with _turned(build, layer):
            if not build.sums:  # users may write parameters before any pass
                layer.prepare(build)
            layer.forward(build, [blobs[b.number] for b in net.bottoms[i]], [blobs[t.number] for t in net.tops[i]])
        if not build.sums:
            _show_values(net, build, blobs, i)
        forward.append(_span(build, start, layer))
    for i in reversed(range(len(net.layers))):
        layer = net.layers[i]
        build.layer, start = i, len(build.calls)
        if backward and net.runs[i] and i not in misfits:
            if not layer.dynamic:
                layer.reshape([blobs[b.number].shape for b in net.bottoms[i]])
            bottom, top = ([blobs[t.number] for t in side[i]] for side in (net.bottoms, net.tops))
            if not build.sums and layer.reshapes and net.bottoms[i][0].changed and net.bottoms[i][0].keeps:
                copy_reshaped(build, "original", top[0].data, bottom[0].data)  # which _show_values has written over
            if not build.sums:
                with _turned(build, layer):
                    layer.prepare_backward(build, net.needs[i])
            try:
                with _turned(build, layer, back=True):
                    layer.backward(build, bottom, top, net.needs[i])
            except UserError as problem:  # a net that only goes forward may do without
                del build.calls[start:]
                build.call(_refuse, problem)
            if not build.sums:
                _show_gradients(net, build, blobs, i)
        back[i] = _span(build, start, layer)
    return forward, back


def _span(build: Builder, start: int, layer: Layer) -> Span:
    """Return the operations a layer has written: not for several threads where its samples depend on each other."""
    span = start, len(build.calls)
    build.alone.update(range(*span) if not layer.cuttable else ())
    return span


def _shapes(net: Wiring, sizes: Sizes) -> tuple[list[Shape], dict[int, Exception]]:
    """Return the shape of every tensor by its number, and what layers that may be refused later say, by theirs."""
    shapes: dict[int, Shape] = {}
    misfits: dict[int, Exception] = {}
    open_ended = bool(sizes.given)
    for i, (layer, bottoms, tops) in enumerate(zip(net.layers, net.bottoms, net.tops, strict=True)):
        try:
            made = sizes.live[i] if i in sizes.live else layer.reshape([shapes[b.number] for b in bottoms])
        except Exception as problem:  # a layer of the user's may raise anything
            if not open_ended:
                raise
            misfits[i] = problem
            here = {id(b.data): shapes[b.number] for b in bottoms}
            made = [here.get(id(t.data), net.shapes[t.number]) for t in tops]
        open_ended = open_ended or layer.dynamic
        for tensor, shape in zip(tops, made, strict=True):
            if sizes.samples is not None and isinstance(layer, SampleLayer):
                shape = (sizes.samples, *shape[1:])  # noqa: PLW2901
            shapes[tensor.number] = sizes.given.get(tensor.number, shape)
    return [shapes[number] for number in range(len(shapes))], misfits


def _check_memory(net: Wiring, shapes: Sequence[Shape]) -> None:
    """Refuse what cannot fit before the first blob is made; layers in place share theirs."""
    needed: dict[int, int] = {}
    for tensor in net.numbered:
        for storage in (tensor.data, tensor.diff):
            size = prod(shapes[tensor.number]) * np.dtype(storage.dtype).itemsize
            needed[id(storage)] = max(size, needed.get(id(storage), 0))
    require(sum(needed.values()), f"the blobs of {len(net.layers)} layers")


@contextmanager
def _turned(build: Builder, layer: Layer, back: bool = False) -> Iterator[None]:
    """Let a layer work with the parameters in the order it needs: values copied before, gradients added behind."""
    shown, pairs = layer.parameters, [(p, p.turned) for p in layer.parameters if p.turned is not None]
    layer.parameters = [p.turned or p for p in shown]
    for theirs, mine in pairs if not back else ():
        copy_view(build, theirs.data, mine.data)
    try:
        yield
    finally:
        layer.parameters = shown
    for theirs, mine in pairs if back else ():
        build.op("move_gradient" if mine.grad.ndim <= 4 else "move_gradient_axes", mine.grad, theirs.grad)


def _refuse(problem: Exception) -> None:
    raise problem


def _take_back(net: Wiring, build: Builder, blobs: Sequence[Blob], i: int) -> None:
    """Let an Input layer take what the caller wrote into the blob he sees, the last of its name."""
    for top in net.tops[i]:
        seen = net.tensors[top.name]
        if seen.data is not top.data and blobs[seen.number].shape == blobs[top.number].shape:
            build.op("copy", blobs[seen.number].data, blobs[top.number].data)


def _show_values(net: Wiring, build: Builder, blobs: Sequence[Blob], i: int) -> None:
    """Where a layer in place changes blobs that are one memory in Caffe, show users its values in all of them."""
    for bottom, top in zip(net.bottoms[i], net.tops[i], strict=False):
        seen = top.origin if bottom.name == top.name else None
        while seen is not None:
            copy_reshaped(build, f"seen {seen.number}", blobs[top.number].data, blobs[seen.number].data)
            seen = seen.origin


def _show_gradients(net: Wiring, build: Builder, blobs: Sequence[Blob], i: int) -> None:
    """Where a layer in place has memory of its own, show users the gradient that Caffe's one blob would hold."""
    for bottom, top, made in zip(net.bottoms[i], net.tops[i], net.needs[i], strict=False):
        seen = net.tensors[top.name]
        if made and bottom.name == top.name and seen.diff is not bottom.diff:
            mine, theirs = blobs[bottom.number].diff, blobs[seen.number].diff
            if mine.shape == theirs.shape:
                build.op("copy", mine, theirs)


def prepare_program(net: Wiring, kernels: str, build: Builder, backward: bool) -> Program:
    """Return the program to run once after the parameters have changed, before going forward or before backward."""
    for i, layer in enumerate(net.layers):
        build.layer = i
        if isinstance(layer, Filters):  # whose choices depend on sizes, which a whole pass may have changed
            layer.reshape([net.shapes[b.number] for b in net.bottoms[i]])
        with _turned(build, layer):
            if not backward:
                layer.prepare(build)
            elif net.runs[i]:
                layer.prepare_backward(build, net.needs[i])
    return build.program(kernels)


def activation_bytes(net: Wiring) -> float:
    """Return the bytes of data and gradients of one sample."""
    sizes = [np.prod(shape, dtype=np.int64) / (shape[0] if shape else 1) for shape in net.shapes]
    return float(8 * sum(sizes))
