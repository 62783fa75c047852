"""A net: prototxt compiled into programs over NumPy buffers, run whole as Caffe does or in sums over chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver import wiring
from batchbrew.solver.blob import Array, Blob
from batchbrew.solver.compiled import Compiled, activation_bytes, compile_net, prepare_program
from batchbrew.solver.data import dataset
from batchbrew.solver.data.keys import Keys, sample_keys
from batchbrew.solver.data.part import Part
from batchbrew.solver.kernels import choose
from batchbrew.solver.labels import check_labels
from batchbrew.solver.layer import Builder, Layer
from batchbrew.solver.layers.losses import Loss
from batchbrew.solver.layers.sources import Data
from batchbrew.solver.parameter import Flat, Parameter
from batchbrew.solver.summary import LayerRow, layer_rows

CHUNK_BYTES = 4 << 20  # activations of one chunk: they should stay in the caches
MAX_CHUNK = 64


class Net:
    """One net in one phase.

    ``data``: the samples for its Data layers (else they resolve the source they name). ``share``: another net whose
    equally named parameters this one uses. ``chunk``: samples run depth first at a time (None: as fit the caches).
    ``where``, ``positions``: the file and the (line, column) of each layer, for messages.

    A net yields sums: ``zero_sums``, then ``accumulate`` any number of samples any number of times; ``flat.grads``,
    ``statistics`` and ``count`` add up, and one division by ``count`` makes the gradient of the mean loss.
    ``forward`` and ``backward`` run the batch of the prototxt at once and divide as Caffe does.
    """

    def __init__(
        self,
        param: pb.NetParameter,
        phase: int,
        *,
        data: Part | None = None,
        chunk: int | None = None,
        seed: int = 0,
        kernels: str | None = None,
        dtype: DTypeLike = np.float32,
        share: Net | None = None,
        level: int = 0,
        stages: Sequence[str] = (),
        where: str = "",
        positions: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.param, self.phase, self.seed, self.dtype = param, phase, seed, np.dtype(dtype)
        self.name: str = param.name
        self.kernels = choose(kernels)
        if self.dtype != np.float32:
            self.kernels = "reference"
        if len(param.layers) or len(param.input):
            raise UserError(
                f"{where or 'net'}: is in an old format (layers, input); only 'layer' entries are read so far"
            )
        self._data = data
        self._source: str | None = None  # what the first Data layer names
        state = pb.NetState()
        state.CopyFrom(param.state)
        state.phase = phase
        state.level = level or state.level
        state.stage.extend(stages)
        places = wiring.positions_of(param, where, positions)
        self._net = wiring.wire(param, state, places, dtype, self._bind)
        self.layers: list[Layer] = self._net.layers
        self.outputs: list[str] = self._net.outputs
        self.whole_batch = [layer.name for layer in self.layers if layer.whole_batch]
        check_labels(self._net)
        self._number_statistics()
        self._place_parameters(share)
        fits = int(CHUNK_BYTES / max(activation_bytes(self._net), 1.0))
        self.chunk = chunk or max(1, min(MAX_CHUNK, fits))
        self._programs: dict[tuple[int | None, bool, bool], Compiled] = {}
        self._keys = np.zeros(0, np.uint64)
        self._prepare = prepare_program(self._net, self.kernels, self._builder(True, 0))
        self._stale = True
        self._cursor = 0
        self.clock: Callable[[], float] = lambda: 0.0  # the caller's; a net reads no clock of its own
        self.fed_seconds = 0.0  # what reading and transforming samples took so far, by that clock

    def _bind(self, layer: Layer) -> None:
        if isinstance(layer, Data):
            source_name = layer.param.data_param.source
            if self._source not in (None, source_name):
                raise layer.error(f"a net takes its samples from one data set: '{self._source}' or '{source_name}'")
            self._source = source_name
            if self._data is None:
                source = dataset.resolve(source_name)
                self._data = source.train if self.phase == pb.TRAIN else source.test
            layer.bind(self._data, self.seed)

    def _number_statistics(self) -> None:
        self._counted = [
            (tops[0].name, layer) for layer, tops in zip(self.layers, self._net.tops, strict=True) if layer.statistic
        ]
        self.sums = np.zeros((len(self._counted) + 1, 2))  # (sum, count) of each statistic; last: samples seen
        for (_, layer), pair in zip(self._counted, self.sums, strict=False):
            layer.stat = pair
        self.statistics: dict[str, Array] = {name: layer.stat for name, layer in self._counted}
        weighted = [
            (layer, self._net.weights[tops[0].number])
            for layer, tops in zip(self.layers, self._net.tops, strict=True)
            if isinstance(layer, Loss) and tops[0].number in self._net.weights
        ]
        self._losses = [layer for layer, _ in weighted]
        self._loss_weights = [weight for _, weight in weighted]

    def _place_parameters(self, share: Net | None) -> None:
        owners = wiring.share_parameters(self.layers)
        if share is not None:
            owners = [p for p in wiring.adopt(self.layers, share.layers) if p.owner is None]
        if share is not None and not owners:
            self.flat: Flat = share.flat
        else:
            self.flat = Flat(owners, self.sums.size, self.dtype)
        for layer in self.layers:
            for parameter in layer.parameters:
                if parameter.owner is not None:
                    parameter.bind(parameter.owner.values, parameter.owner.grads)
        wiring.fill_parameters(
            [layer for layer in self.layers if any(p in owners for p in layer.parameters)], self.seed
        )
        self.params: dict[str, list[Parameter]] = {
            layer.name: layer.parameters for layer in self.layers if layer.parameters
        }
        self._local = [p for p in self.flat.parameters if p.local]

    def _builder(self, sums: bool, samples: int) -> Builder:
        if len(self._keys) < samples:
            self._keys = np.zeros(samples, np.uint64)
        factors = {}
        if len(self._losses) > 1:
            factors = {layer.salt: 1 / (layer.divisor_per_sample() or 1.0) for layer in self._losses}
        return Builder(self.dtype, sums, self._keys[:samples], factors)

    # --- the batch of the prototxt at once, divided as Caffe divides -------------------------------------------------

    @property
    def _whole(self) -> Compiled:
        return self._compiled(None, sums=False, backward=True)

    def _compiled(self, batch: int | None, sums: bool, backward: bool) -> Compiled:
        key = (batch, sums, backward)
        if key not in self._programs:
            samples = self.batch if batch is None else batch
            self._programs[key] = compile_net(self._net, self.kernels, self._builder(sums, samples), batch, backward)
        return self._programs[key]

    @property
    def batch(self) -> int:
        """The batch_size of the (first) Data layer, or the first axis of the first input."""
        for bottoms, tops in zip(self._net.bottoms, self._net.tops, strict=True):
            if not bottoms and tops and self._net.shapes[tops[0].number]:
                return self._net.shapes[tops[0].number][0]
        return 1

    @property
    def blobs(self) -> dict[str, Blob]:
        """All blobs by name, live, for the batch of the prototxt."""
        return self._whole.blobs

    def forward(self) -> dict[str, Array]:
        """Run forward on the whole batch (Data layers take their next samples in order); return the outputs, live."""
        compiled = self._whole
        stream = np.arange(self._cursor, self._cursor + compiled.samples)
        self._cursor += compiled.samples
        indices = stream if self._data is None else stream % len(self._data)
        self._feed(compiled, sample_keys(self.seed, 0, stream), indices)
        compiled.program.run(0, compiled.turn)
        return {name: compiled.blobs[name].data for name in self.outputs}

    def backward(self) -> None:
        """Run backward on the whole batch: bottoms' diffs are set, parameters' gradients added to."""
        compiled = self._whole
        self._prepare.run()
        compiled.program.run(compiled.turn)

    @property
    def total_loss(self) -> float:
        """The sum of all losses by their weights after ``forward``."""
        return float(sum(np.vdot(blob.data, blob.diff) for blob, _ in self._whole.losses))

    # --- sums over any number of samples ----------------------------------------------------------------------------

    def zero_sums(self) -> None:
        """Set gradients, statistics and counts to 0, and note that parameters may have changed."""
        self.flat.grads[...] = 0
        self.sums[...] = 0
        self._stale = True

    def accumulate(self, indices: NDArray[np.int64], epoch: int) -> None:
        """Run these samples forward and backward, adding to ``flat.grads`` and ``statistics``; there may be none."""
        if len(self._net.weights) != len(self._losses):
            raise UserError(
                "a loss_weight on a layer that is no loss has no mean over samples: use forward and backward"
            )
        if len(self._losses) != 1 and any(layer.divisor_per_sample() is None for layer in self._losses):
            raise UserError(
                "a net of several losses cannot be cut into shares while one of them has normalization NONE "
                "or ignore_label"
            )
        if self._stale:
            self._prepare.run()
            self._stale = False
        self._run(indices, epoch, backward=True)

    def evaluate(self, indices: NDArray[np.int64]) -> None:
        """Run these samples forward, adding to ``statistics``."""
        self._run(indices, 0, backward=False)

    def _run(self, indices: NDArray[np.int64], epoch: int, backward: bool) -> None:
        if self._data is None:
            raise UserError(f"net '{self.name}' has no Data layer to take samples from: use forward and backward")
        pieces = 1 if self.whole_batch else -(-len(indices) // self.chunk)
        self.sums[-1] += len(indices)
        for piece in np.array_split(indices, pieces) if len(indices) else ():
            compiled = self._compiled(len(piece), sums=True, backward=backward)
            begin = self.clock()
            self._feed(compiled, sample_keys(self.seed, epoch, piece), piece)
            self.fed_seconds += self.clock() - begin
            compiled.program.run()

    def _feed(self, compiled: Compiled, keys: Keys, indices: NDArray[np.int64]) -> None:
        compiled.keys[: len(keys)] = keys
        for layer, tops in compiled.feeds:
            layer.feed(tops, keys, indices)

    @property
    def count(self) -> float:
        """What the gradient sums so far must be divided by: with one loss its own divisor, else the samples."""
        return float(self._losses[0].stat[1] if len(self._losses) == 1 else self.sums[-1, 1])

    @property
    def mean_loss(self) -> float:
        """The total loss per sample of the sums so far: each loss by its own divisor and weight."""
        pairs = zip(self._losses, self._loss_weights, strict=True)
        return float(sum(weight * layer.stat[0] / max(layer.stat[1], 1.0) for layer, weight in pairs))

    def pack_tail(self) -> None:
        """Copy statistics and counts behind the gradients, so that one Allreduce sums them all."""
        self.flat.message[self.flat.size :] = self.sums.ravel()

    def unpack_tail(self) -> None:
        """Copy statistics and counts back."""
        self.sums[...] = self.flat.message[self.flat.size :].reshape(self.sums.shape)

    def sync_local(self, mean: Callable[[Array], None]) -> None:
        """Let ``mean`` average over ranks, in place, what differs between them (BatchNorm's running sums)."""
        if self._local:
            joined = np.concatenate([p.values for p in self._local])
            mean(joined)
            start = 0
            for parameter in self._local:
                parameter.values[...] = joined[start : start + parameter.count]
                start += parameter.count

    # --- what is known about it -------------------------------------------------------------------------------------

    @property
    def parameters(self) -> int:
        """Number of parameter values, shared ones counted once."""
        return sum(p.count for p in self.flat.parameters)

    def table(self) -> list[LayerRow]:
        """Return one row a layer: type, name, output shape, parameters, MFLOP."""
        return layer_rows(self._net)

    @property
    def flops_per_sample(self) -> float:
        """Floating-point operations of one sample forward and backward, a multiply-add counted as two."""
        return 1e6 * sum(row.mflop for row in self.table())
