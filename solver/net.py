"""A net: prototxt compiled into programs over NumPy buffers, run whole as Caffe does or in sums over chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import DTypeLike

from batchbrew.protos import messages as pb
from batchbrew.solver import wiring
from batchbrew.solver.ahead import Piece, joined
from batchbrew.solver.blob import Array, Blob, aligned_zeros
from batchbrew.solver.chunks import chunk_size, pieces
from batchbrew.solver.compiled import Compiled, Sizes, compile_net
from batchbrew.solver.data.keys import sample_keys
from batchbrew.solver.data.order import Numbers
from batchbrew.solver.data.part import Samples
from batchbrew.solver.kernels import choose, choose_threads
from batchbrew.solver.labels import check_labels
from batchbrew.solver.layer import Builder, Layer
from batchbrew.solver.layers.algorithm import Choose, chooser
from batchbrew.solver.layers.samples import SampleLayer
from batchbrew.solver.parameter import Flat, Parameter
from batchbrew.solver.ready import Ready, ready_ranges
from batchbrew.solver.shares import obstacles
from batchbrew.solver.sharing import adopt, share_parameters
from batchbrew.solver.standing import Standing
from batchbrew.solver.statistics import Statistics
from batchbrew.solver.summary import LayerRow, layer_rows
from batchbrew.solver.upgrade import upgraded
from batchbrew.solver.whole import WholeBatch


class Net:
    """One net in one phase.

    ``data``: the samples for its Data layers (else they resolve the source they name). ``share``: another net whose
    equally named parameters this one uses. ``chunk``: samples run depth first at a time (None: as fit the caches).
    ``threads`` share each chunk, where kernels are compiled (None: BATCHBREW_THREADS, or 1). ``convolution``: auto,
    direct or winograd, or a function of a Case (None: BATCHBREW_CONVOLUTION, or auto). ``where``, ``positions``: the
    file and the (line, column) of each layer, for messages.

    A net yields sums: ``zero_sums``, then ``accumulate`` any number of samples any number of times; ``flat.grads``,
    ``statistics`` and ``count`` add up, and one division by ``count`` makes the gradient of the mean loss.
    ``forward`` and ``backward`` run the batch of the prototxt at once and divide as Caffe does (``whole`` can do more).

    ``uncut`` says why a net cannot be cut into shares and chunks, if it cannot: ``accumulate`` then runs its samples
    as one whole pass, and ``count`` counts passes.
    """

    def __init__(
        self,
        param: pb.NetParameter,
        phase: int,
        *,
        data: Samples | None = None,
        chunk: int | None = None,
        seed: int = 0,
        kernels: str | None = None,
        convolution: str | Choose | None = None,
        dtype: DTypeLike = np.float32,
        threads: int | None = None,
        share: Net | None = None,
        level: int = 0,
        stages: Sequence[str] = (),
        where: str = "",
        positions: Sequence[tuple[int, int]] = (),
    ) -> None:
        param, positions = upgraded(param, where, positions)
        self.param, self.phase, self.seed, self.dtype = param, phase, seed, np.dtype(dtype)
        self.name: str = param.name
        self.kernels = choose(kernels) if self.dtype == np.float32 else "reference"
        self.threads = 1 if self.kernels == "reference" else choose_threads(threads)
        self.choose = chooser(convolution, self.kernels != "reference")  # after a change: renew()
        self._data = data
        state = pb.NetState()
        state.MergeFrom(param.state)
        state.MergeFrom(pb.NetState(phase=phase, level=level or state.level, stage=stages))
        self.state = state  # what the rules of its layers were held against
        self.wiring = wiring.wire(param, state, wiring.positions_of(param, where, positions), dtype, self._open)
        self.layers: list[Layer] = self.wiring.layers
        self.outputs: list[str] = self.wiring.outputs
        self.whole_batch = [layer.name for layer in self.layers if layer.whole_batch]
        self.uncut = obstacles(self.wiring)
        check_labels(self.wiring)
        self._statistics = Statistics(self.wiring, bool(self.uncut))
        self.sums, self.statistics = self._statistics.sums, self._statistics.named
        self._place_parameters(share)
        self.chunk = chunk or chunk_size(self.wiring, self.threads)
        self._programs: dict[tuple[int, bool], Compiled] = {}
        self.standing = Standing(self.wiring, self.kernels, self.threads, self.sums, self.flat)
        self.standing.compile(self.choose)
        self._stale = True
        self.whole = WholeBatch(self.wiring, self.kernels, self._builder, self.standing, seed)
        self.clock: Callable[[], float] = lambda: 0.0  # the caller's; a net reads no clock of its own
        self.fed_seconds = 0.0  # how long programs had to wait for samples, by that clock

    def _open(self, layer: Layer) -> None:
        if isinstance(layer, SampleLayer):
            layer.open(self._data, self.seed)

    def _place_parameters(self, share: Net | None) -> None:
        owners = share_parameters(self.layers)
        if share is not None:
            owners = [p for p in adopt(self.layers, share.layers) if p.owner is None]
        if share is not None and not owners:
            self.flat: Flat = share.flat
        else:
            self.flat = Flat(owners, self.sums.size, self.dtype)
        for layer in self.layers:
            for parameter in layer.parameters:
                if parameter.owner is not None:
                    parameter.bind(parameter.owner.values, parameter.owner.grads)
                if parameter.turned is not None:
                    parameter.turned.bind(*(aligned_zeros(parameter.count, a) for a in (self.dtype, np.float64)))
        wiring.fill_parameters(
            [layer for layer in self.layers if any(p in owners for p in layer.parameters)], self.seed
        )
        self.params: dict[str, list[Parameter]] = {one.name: one.parameters for one in self.layers if one.parameters}
        self._local = [p for p in self.flat.parameters if p.local]
        self.ready_ranges = ready_ranges(self.wiring, self.flat)

    def _builder(self, sums: bool, samples: int) -> Builder:
        factors = self._statistics.factors
        return Builder(self.dtype, sums, samples, factors, self.standing.copies, choose=self.choose)

    # --- the batch of the prototxt at once, divided as Caffe divides -------------------------------------------------

    @property
    def batch(self) -> int:
        """The batch_size of the first layer that reads samples, or the first axis of the first input."""
        return self.whole.batch

    @property
    def blobs(self) -> dict[str, Blob]:
        """All blobs by name, live, for the batch of the prototxt."""
        return self.whole.compiled.blobs

    def forward(self) -> dict[str, Array]:
        """Run forward on the whole batch (sources take their next samples in order); return the outputs, live."""
        self.whole.forward()
        return {name: self.blobs[name].data for name in self.outputs}

    def backward(self) -> None:
        """Run backward on the whole batch: bottoms' diffs are set, parameters' gradients added to."""
        self.whole.backward()
        self._statistics.passes += 1

    @property
    def total_loss(self) -> float:
        """The sum of all losses by their weights after ``forward``."""
        return self.whole.loss()

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weight of each blob that is a loss."""
        return {self.wiring.numbered[number].name: weight for number, weight in self.wiring.weights.items()}

    def renew(self) -> None:
        """Compile anew, for parameters whose memory is another now, or another ``choose``."""
        self._programs.clear()
        self.standing.compile(self.choose)
        self.whole.renew()

    # --- sums over any number of samples ----------------------------------------------------------------------------

    def zero_sums(self) -> None:
        """Set gradients, statistics and counts to 0, and note that parameters may have changed."""
        self.standing.clear()
        self._statistics.clear()
        self._stale = True

    def expect(self, indices: Numbers, epoch: int) -> None:
        """Say which samples come after those that ``accumulate`` runs next, so that they may be read ahead."""
        self.whole.reader.expected = indices, epoch

    def accumulate(self, indices: Numbers, epoch: int, ready: Ready | None = None) -> None:
        """Run these samples forward and backward, adding to ``flat.grads`` and ``statistics``; there may be none.

        ``ready(start, stop)`` is called for each of ``ready_ranges``, in their order, as soon as the last chunk's
        backward pass has completed ``flat.grads[start:stop]``; with no samples and in whole passes at the end.
        ``statistics`` and counts are complete before the first call.
        """
        if self.uncut:
            self._pass(indices, backward=True)
        else:
            if self._stale:
                self.standing.prepare(backward=True)
                self._stale = False
            self._run(indices, epoch, backward=True, ready=ready)
        if ready is not None and (self.uncut or not len(indices)):
            for _, start, stop in self.ready_ranges:
                ready(start, stop)

    def evaluate(self, indices: Numbers) -> None:
        """Run these samples forward, adding to ``statistics``."""
        if not self.uncut:
            self.standing.prepare(backward=False)  # a net that shares its parameters is not told when they change
            self._run(indices, 0, backward=False)
            return
        for start in range(0, len(indices), self.batch):
            self._pass(indices[start : start + self.batch], backward=False)

    def _pass(self, indices: Numbers, backward: bool) -> None:
        self.whole.forward(indices=indices)
        if backward:
            self.whole.backward()
        self._statistics.add_pass(self.total_loss, self.blobs)

    def _run(self, indices: Numbers, epoch: int, backward: bool, ready: Ready | None = None) -> None:
        self.sums[-1] += len(indices)
        todo = self._pieces(backward, indices, epoch)
        telling = len(todo) if ready is not None else 0  # number of the chunk that tells what is complete
        begin = self.clock()
        try:
            fed = self.whole.reader.fed(todo, partial(self._pieces, backward))
            for number, (compiled, keys, _) in enumerate(fed, 1):
                compiled.rows[len(keys)][...] = keys
                self.fed_seconds += self.clock() - begin
                if number == telling:
                    self._run_and_tell(compiled, ready)
                else:
                    compiled.program.run()
                begin = self.clock()
        except BaseException:
            telling = 0  # nobody will be told the rest
            raise
        finally:
            if not telling:
                self.standing.merge(stop=None if backward else 0)

    def _run_and_tell(self, compiled: Compiled, ready: Ready | None) -> None:
        """Run a program in segments; add up after each what is complete then, and tell."""
        assert ready is not None
        done = 0
        for layer, start, stop in self.ready_ranges:
            end = compiled.backward[layer][1]
            compiled.program.run(done, end)
            self.standing.merge(start, stop)
            ready(start, stop)
            done = end
        compiled.program.run(done)

    def _pieces(self, backward: bool, indices: Numbers, epoch: int) -> list[Piece[Compiled]]:
        """Return the chunks in which these samples are run."""
        parts = pieces(indices, len(indices) if self.whole_batch else self.chunk, self.threads)
        return joined(partial(self._compiled, backward), parts, sample_keys(self.seed, epoch, indices))

    def _compiled(self, backward: bool, samples: int) -> Compiled:
        if (samples, backward) not in self._programs:
            self._programs[samples, backward] = compile_net(
                self.wiring, self.kernels, self._builder(True, samples), Sizes(samples), backward
            )
        return self._programs[samples, backward]

    @property
    def count(self) -> float:
        """What the gradient sums so far must be divided by: with one loss its own divisor, else samples, or passes."""
        return self._statistics.count

    @property
    def mean_loss(self) -> float:
        """The total loss per sample of the sums so far, each loss by its own divisor and weight; or that of a pass."""
        return self._statistics.mean_loss

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
        return layer_rows(self.wiring)

    @property
    def flops_per_sample(self) -> float:
        """Floating-point operations of one sample forward and backward, a multiply-add counted as two."""
        return 1e6 * sum(row.mflop for row in self.table())
