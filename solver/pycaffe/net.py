"""Net: a net of pycaffe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchbrew import glog
from batchbrew.errors import UserError, did_you_mean
from batchbrew.solver import weights as files
from batchbrew.solver.layers.memory_data import MemoryData
from batchbrew.solver.load import read_net_file
from batchbrew.solver.net import Net as EngineNet
from batchbrew.solver.pycaffe import batches, state
from batchbrew.solver.pycaffe.chains import Chains
from batchbrew.solver.pycaffe.mirror import engines_turn, release, users_turn
from batchbrew.solver.pycaffe.structure import Structure
from batchbrew.solver.stepper.construction import log_net, log_upgrade
from batchbrew.solver.stepper.lines import log_ignored

Array = NDArray[Any]
Arrays = dict[str, Array]
Hook = Callable[[int], Any]


def check_file(path: str | Path) -> None:
    """Raise RuntimeError if there is no such file."""
    if not Path(path).is_file():
        raise RuntimeError(f"Could not open file {path}")


class Net(Structure):
    """A net from a prototxt, to be run forward and backward and looked into.

    ``phase`` is TRAIN or TEST; ``level`` and ``stages`` choose layers by their rules; ``weights`` is a model file. The
    form ``Net(network_file, weights_file, phase)`` is old and works too. Raises RuntimeError if a file is missing.

    Arrays that blobs and passes return are the net's own: they change with the next pass.
    """

    _trained = False  # whether a solver updates its parameters

    def __init__(
        self,
        network_file: str | Path,
        phase: int | str | Path,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: str | Path | None = None,
    ) -> None:
        if isinstance(phase, (str, Path)):
            glog.log("_caffe.cpp:142", "DEPRECATION WARNING - deprecated use of Python interface", "W")
            glog.log("_caffe.cpp:143", 'Use this instead (with the named "weights" parameter):', "W")
            glog.log("_caffe.cpp:145", f"Net('{network_file}', {level}, weights='{phase}')", "W")
            weights, phase, level = phase, level, 0
        for path in (network_file, weights):
            if path:
                check_file(path)
        file = read_net_file(network_file)
        log_upgrade(file.notes)
        self._wrap(file.build(phase, level=level, stages=stages or (), seed=state.next_seed()))
        log_net(self._net)
        if weights:
            self.copy_from(weights)

    @classmethod
    def of(cls, net: EngineNet, trained: bool = False) -> Net:
        """Return the net around one of the engine; ``trained``: a solver updates its parameters."""
        made = cls.__new__(cls)
        made._wrap(net)
        made._trained = trained
        return made

    def _wrap(self, net: EngineNet) -> None:
        self._net = net
        finalize(self, release).atexit = False

    # --- passes -----------------------------------------------------------------------------------------------------

    def forward(
        self, blobs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: ArrayLike
    ) -> Arrays:
        """Run the layers from ``start`` to ``end`` (names, inclusive) after writing ``kwargs`` to the inputs.

        Returns name -> live array of the outputs, or of the tops of ``end``, and of ``blobs``. Raises UserError if
        ``kwargs`` are not arrays for exactly the inputs, of their batch size.
        """
        first = 0 if start is None else self._number(start)
        last = len(self._layer_names) - 1 if end is None else self._number(end)
        with engines_turn():
            if kwargs:
                batches.write(kwargs, self.inputs, lambda name: self._net.whole.blob(name).data, "Input blob")
            self._forward(first, last)
        wanted = self.outputs if end is None else self.top_names[end]
        return {name: self.blobs[name].data for name in [*wanted, *(blobs or ())]}

    def backward(
        self, diffs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: ArrayLike
    ) -> Arrays:
        """Run the layers from ``start`` down to ``end`` backward after writing ``kwargs`` to the outputs' gradients.

        Returns name -> live gradient of the inputs, or of the bottoms of ``end``, and of ``diffs``.
        """
        first = len(self._layer_names) - 1 if start is None else self._number(start)
        last = 0 if end is None else self._number(end)
        with engines_turn():
            if kwargs:
                batches.write(kwargs, self.outputs, lambda name: self._net.whole.blob(name).diff, "Top diff")
            self._backward(first, last)
        wanted = self.inputs if end is None else self.bottom_names[end]
        return {name: self.blobs[name].diff for name in [*wanted, *(diffs or ())]}

    def _number(self, name: str) -> int:
        if name not in self._layer_names:
            raise UserError(f"the net has no layer '{name}'{did_you_mean(name, self._layer_names)}")
        return self._layer_names.index(name)

    def _forward(self, start: int, end: int) -> float:
        """Run layers by number, inclusive; return their loss."""
        last = len(self._layer_names) - 1
        with engines_turn():
            if start > 0:
                self._chains.before_forward(start)
            self._net.whole.forward(start, end)
            if end < last:
                self._chains.after_forward(end)
            return self._net.whole.loss(start, end)

    def _backward(self, start: int, end: int) -> None:
        """Run layers backward by number, inclusive, downwards."""
        with engines_turn():
            if start < len(self._layer_names) - 1:
                self._chains.before_backward(start)
            self._net.whole.backward(start, end)

    @cached_property
    def _chains(self) -> Chains:
        return Chains(self._net)

    def forward_all(self, blobs: Iterable[str] | None = None, **kwargs: Array) -> Arrays:
        """Run arrays of any number of samples forward in batches; return the outputs and ``blobs`` for all samples."""
        return batches.run(kwargs, self._batch_size, lambda piece: self.forward(blobs, None, None, **piece))

    def forward_backward_all(
        self, blobs: Iterable[str] | None = None, diffs: Iterable[str] | None = None, **kwargs: Array
    ) -> tuple[Arrays, Arrays]:
        """Run arrays for inputs, and gradients for outputs, in batches; return all outputs, all inputs' gradients."""
        given = [{name: kwargs[name] for name in names if name in kwargs} for names in (self.inputs, self.outputs)]
        return batches.run_both(
            given[0],
            given[1],
            self._batch_size,
            lambda piece: self.forward(blobs, None, None, **piece),
            lambda piece: self.backward(diffs, None, None, **piece),
        )

    @property
    def _batch_size(self) -> int:
        return next(iter(self.blobs.values())).num

    def _batch(self, blobs: Mapping[str, Array]) -> Iterable[Arrays]:
        return batches.cut(blobs, self._batch_size)

    def reshape(self) -> None:
        """Let all shapes follow those of the inputs."""
        with engines_turn():
            self._net.whole.reshape()

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to 0."""
        with engines_turn():
            self._net.zero_sums()

    # --- hooks ------------------------------------------------------------------------------------------------------

    def before_forward(self, hook: Hook) -> None:
        """Call ``hook(number)`` before each layer runs forward."""
        self._net.whole.hooks.add("before_forward", self._seeing(hook))

    def after_forward(self, hook: Hook) -> None:
        """Call ``hook(number)`` after each layer has run forward."""
        self._net.whole.hooks.add("after_forward", self._seeing(hook))

    def before_backward(self, hook: Hook) -> None:
        """Call ``hook(number)`` before each layer runs backward."""
        self._net.whole.hooks.add("before_backward", self._seeing(hook))

    def after_backward(self, hook: Hook) -> None:
        """Call ``hook(number)`` after each layer has run backward."""
        self._net.whole.hooks.add("after_backward", self._seeing(hook))

    def _seeing(self, hook: Hook) -> Hook:
        def call(layer: int) -> None:
            with users_turn():
                hook(layer)

        return call

    # --- parameters and samples -------------------------------------------------------------------------------------

    def copy_from(self, weights: str | Path) -> None:
        """Set the parameters of equally named layers from a model file, binary or HDF5."""
        check_file(weights)
        with engines_turn():
            log_ignored(files.load_weights(self._net, weights, strict=False))

    def load_hdf5(self, filename: str | Path) -> None:
        """Set the parameters of equally named layers from an HDF5 model."""
        self.copy_from(filename)

    def save(self, filename: str | Path) -> None:
        """Write the net with its parameters as a binary model."""
        with engines_turn():
            files.save_caffemodel(self._net, filename, hdf5=False)

    def save_hdf5(self, filename: str | Path) -> None:
        """Write the parameters as an HDF5 model."""
        with engines_turn():
            files.save_caffemodel(self._net, filename, hdf5=True)

    def share_with(self, other: Net) -> None:
        """Use the parameters, not the gradients, of the equally named layers of ``other`` from now on.

        Raises UserError for parameters of other shapes, and for the net of a solver (share the other way round).
        """
        sources = {layer.name: layer for layer in reversed(other._net.layers)}
        pairs = []
        for layer in self._net.layers:
            source = sources.get(layer.name)
            if source is not None and len(source.parameters) != len(layer.parameters):
                raise layer.error(
                    f"Incompatible number of blobs for layer {layer.name}: {len(layer.parameters)} here, "
                    f"{len(source.parameters)} in the net to share with"
                )
            for mine, theirs in zip(layer.parameters, source.parameters if source is not None else (), strict=False):
                if (mine.shape, mine.order) != (theirs.shape, theirs.order):
                    raise layer.error(
                        f"Cannot share param {mine.index} weights from layer '{layer.name}'; shape mismatch. Source "
                        f"param shape is {files.shape_text(theirs.shape)}; target param shape is "
                        f"{files.shape_text(mine.shape)}."
                    )
                if not np.shares_memory(mine.values, theirs.values):
                    pairs.append((mine, theirs))
        if pairs and self._trained:
            raise UserError("the net of a solver keeps its parameters: let the other net share them with share_with")
        with engines_turn():
            for mine, theirs in pairs:
                mine.bind(theirs.values, mine.grads)
            if pairs:
                self._net.renew()

    def set_input_arrays(self, data: Array, labels: Array) -> None:
        """Let the MemoryData layer, which must be the first, read its batches from arrays, without copying them.

        ``data`` is float32 (n, C, H, W), ``labels`` (n) or (n, 1, 1, 1), n a multiple of the batch size. Raises
        RuntimeError for anything else.
        """
        layer = self._net.layers[0]
        if not isinstance(layer, MemoryData):
            raise RuntimeError("set_input_arrays may only be called if the first layer is a MemoryDataLayer")
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        _check_array(data, "data array", layer.item)
        _check_array(labels, "labels array", (1, 1, 1))
        if len(data) != len(labels):
            raise RuntimeError("data and labels must have the same first dimension")
        if len(data) % layer.batch:
            raise RuntimeError("first dimensions of input arrays must be a multiple of batch size")
        layer.set_arrays(data, labels)
        self.reshape()


def _check_array(array: Array, name: str, item: tuple[int, ...]) -> None:
    if not array.flags.c_contiguous:
        raise RuntimeError(f"{name} must be C contiguous")
    if array.ndim != 4:
        raise RuntimeError(f"{name} must be 4-d")
    if array.dtype != np.float32:
        raise RuntimeError(f"{name} must be float32")
    for what, found, wanted in zip(("number of channels", "height", "width"), array.shape[1:], item, strict=True):
        if found != wanted:
            raise RuntimeError(f"{name} has wrong {what}")
