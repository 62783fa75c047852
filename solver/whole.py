"""The whole batch of the prototxt at once, layer by layer, divided as Caffe divides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.solver.ahead import Reader
from batchbrew.solver.blob import Array, Blob, Shape
from batchbrew.solver.compiled import Compiled, Sizes, compile_net
from batchbrew.solver.data.keys import sample_keys
from batchbrew.solver.hooks import Hooks
from batchbrew.solver.layer import Builder
from batchbrew.solver.layers.samples import SampleLayer
from batchbrew.solver.layers.sources import SourceLayer
from batchbrew.solver.standing import Standing
from batchbrew.solver.wiring import Wiring


class WholeBatch:
    """Runs a net as Caffe does: ranges of layers, sources in their own order, shapes that may change between passes.

    ``builder(sums, samples)`` makes what programs are collected in; ``standing`` are those run behind backward passes.
    """

    def __init__(
        self, net: Wiring, kernels: str, builder: Callable[[bool, int], Builder], standing: Standing, seed: int
    ) -> None:
        self.reader = Reader()  # what it reads ahead, for sums over chunks, is waited for before a source is asked
        self._net, self._kernels, self._builder, self._standing, self._seed = net, kernels, builder, standing, seed
        self._stops = [
            i for i, layer in enumerate(net.layers) if isinstance(layer, SourceLayer) or layer.dynamic
        ]  # layers before which something has to be done
        self._given: dict[int, Shape] = {}
        self._live: dict[int, list[Shape]] = {}
        self._compiled: Compiled | None = None
        self._working: dict[tuple[Any, ...], Array] = {}  # working arrays of that program
        self.hooks = Hooks()
        self._indices: NDArray[np.int64] | None = None  # the samples asked for, instead of the next ones
        self.rewind()

    def rewind(self, sample: int = 0) -> None:
        """Go back to the first draw, and to sample number ``sample`` of each source."""
        self._cursors = dict.fromkeys(self._stops, sample)
        self._drawn = 0

    @property
    def compiled(self) -> Compiled:
        """The program for the present shapes."""
        return self._compiled or self._compile(0)

    def _compile(self, first: int) -> Compiled:
        """Make the program; what layers before ``first`` have kept for their way back stays."""
        build = self._builder(False, self.batch)
        build.working |= {key: array for key, array in self._working.items() if key[0] < first}
        self._working = build.working
        self._compiled = compile_net(
            self._net, self._kernels, build, Sizes(given=self._given, live=self._live), backward=True
        )
        return self._compiled

    @property
    def batch(self) -> int:
        """Axis 0 of the first top of the first source."""
        for layer, tops in zip(self._net.layers, self._net.tops, strict=True):
            if isinstance(layer, SourceLayer) and tops:
                shape = self._given.get(tops[0].number, self._net.shapes[tops[0].number])
                return shape[0] if shape else 1
        return 1

    def renew(self) -> None:
        """Note that the memory of parameters is another."""
        self._compiled = None

    def reshape(self) -> None:
        """Give every blob the shape that follows from the sources. Raises UserError for a layer that does not fit."""
        self._compiled = None
        self._live.clear()
        dynamic = next((i for i, layer in enumerate(self._net.layers) if layer.dynamic), len(self._net.layers))
        for i, problem in self.compiled.misfits.items():
            if i < dynamic:  # who knows what those behind will get
                raise problem

    def resize(self, name: str, shape: Shape) -> Array:
        """Give the top ``name`` of a layer without bottoms another shape, and return its data.

        Other blobs follow at the next pass or ``reshape``. The shape of any other blob is not for the caller to say:
        the call then only returns the data.
        """
        tensor = self._net.tensors[name]
        producer = next(i for i, tops in enumerate(self._net.tops) if any(t.name == name for t in tops))
        if not self._net.bottoms[producer] and (self._compiled is None or self.shape(name) != shape):
            first = next(t for t in self._net.tops[producer] if t.name == name)
            self._given[first.number] = shape
            self._compiled = None
            self._live.clear()
            return tensor.data.view(shape)
        return self.blob(name).data

    def shape(self, name: str) -> Shape:
        """Return the present shape of a blob; for a resized one that is the shape asked for."""
        tensor = self._net.tensors[name]
        if self._compiled is None and tensor.number in self._given:
            return self._given[tensor.number]
        return self.compiled.tensors[tensor.number].data.shape

    def blob(self, name: str) -> Blob:
        """Return a blob, live; a resized one is there before the shapes of the others follow."""
        tensor = self._net.tensors[name]
        if self._compiled is None and tensor.number in self._given:
            shape = self._given[tensor.number]
            return Blob(name, tensor.data.view(shape), tensor.diff.view(shape))
        return self.compiled.blobs[name]

    # --- passes -----------------------------------------------------------------------------------------------------

    def forward(self, start: int = 0, end: int | None = None, indices: NDArray[np.int64] | None = None) -> None:
        """Run layers ``start`` to ``end`` (inclusive) forward.

        Layers that read samples take their next ones, or ``indices``.
        """
        last = len(self._net.layers) - 1 if end is None else end
        if indices is not None:
            self._ask(indices)
        self._give_keys()
        if self.hooks.forward:
            for i in range(start, last + 1):
                self.hooks.call("before_forward", i)
                self._run_forward(i, i)
                self.hooks.call("after_forward", i)
        else:
            self._run_forward(start, last)
        self._drawn += 1
        self._indices = None

    def backward(self, start: int | None = None, end: int = 0) -> None:
        """Run layers ``start`` down to ``end`` (inclusive) backward: diffs are set, parameters' gradients added to."""
        first = len(self._net.layers) - 1 if start is None else start
        if first < end:
            return
        if self.hooks.backward:
            for i in range(first, end - 1, -1):
                self.hooks.call("before_backward", i)
                self._run_backward(i, i)
                self.hooks.call("after_backward", i)
        else:
            self._run_backward(first, end)

    def loss(self, start: int = 0, end: int | None = None) -> float:
        """Return the sum of the losses of these layers, each by its weight, as the last forward pass left them."""
        last = len(self._net.layers) - 1 if end is None else end
        return float(sum(np.vdot(blob.data, blob.diff) for i, blob in self.compiled.losses if start <= i <= last))

    def steps(self) -> list[tuple[Callable[[], None], Callable[[], None]]]:
        """Return what runs each layer forward and backward, for measuring; call ``forward`` and ``backward`` before."""
        program = self.compiled.program

        def bind(i: int) -> tuple[Callable[[], None], Callable[[], None]]:
            here, back = self.compiled.forward[i], self.compiled.backward[i]
            forward = partial(self.forward, i, i) if i in self._stops else partial(program.run, *here)
            return forward, partial(program.run, *back)  # gradients are of no interest then

        return [bind(i) for i in range(len(self._net.layers))]

    def _run_forward(self, start: int, last: int) -> None:
        at = start
        for stop in self._stops:
            if start <= stop <= last:
                self._run(at, stop)
                self._ready(stop)
                at = stop
        self._run(at, last + 1)

    def _run_backward(self, first: int, end: int) -> None:
        spans = self.compiled.backward
        try:
            self.compiled.program.run(spans[first][0], spans[end][1])
        finally:
            self._standing.merge()

    def _run(self, start: int, stop: int) -> None:
        if start < stop:
            spans = self.compiled.forward
            self.compiled.program.run(spans[start][0], spans[stop - 1][1])

    def _ask(self, indices: NDArray[np.int64]) -> None:
        self._indices = indices
        for i in self._stops:
            if isinstance(self._net.layers[i], SampleLayer):
                for top in self._net.tops[i]:
                    shape = (len(indices), *self._net.shapes[top.number][1:])
                    if self._given.get(top.number, self._net.shapes[top.number]) != shape:
                        self._given[top.number] = shape
                        self._compiled = None

    def _give_keys(self) -> None:
        """Give the rows of this pass their keys: row n of the stream has the same ones for any batch size."""
        for rows, keys in self.compiled.rows.items():
            keys[...] = sample_keys(self._seed, 0, np.arange(self._drawn * rows, (self._drawn + 1) * rows))

    def _ready(self, i: int) -> None:
        """Do what must be done before layer ``i`` runs: feed a source, ask a dynamic layer for its shapes."""
        layer = self._net.layers[i]
        if isinstance(layer, SourceLayer):
            self._feed(i, layer)
        if layer.dynamic:
            shapes = layer.reshape_live([self.compiled.tensors[b.number] for b in self._net.bottoms[i]])
            if shapes != [self.compiled.tensors[t.number].shape for t in self._net.tops[i]]:
                self._live = {number: known for number, known in self._live.items() if number < i} | {i: shapes}
                self._compile(i)
                self._give_keys()

    def _feed(self, i: int, layer: SourceLayer) -> None:
        self.reader.settle()
        tops = self._net.tops[i]
        rows = self.compiled.tensors[tops[0].number].shape[0] if self.compiled.tensors[tops[0].number].shape else 1
        indices = self._indices if self._indices is not None else np.arange(rows) + self._cursors[i]
        if isinstance(layer, SampleLayer) and layer.look(indices):
            if any(t.number in self._given for t in tops):
                raise layer.error("samples of varying shape cannot be put into batches of a given size")
            self._compile(i)
            self._give_keys()
        if self._indices is None:
            self._cursors[i] += rows
        feed = self.compiled.feeds[i]
        feed.write(feed.arrays, sample_keys(self._seed, 0, indices), indices)
