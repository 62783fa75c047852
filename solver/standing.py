"""The programs of a net that do not depend on the number of samples: what its parameters need around the passes."""

from __future__ import annotations

from batchbrew.solver.blob import Array
from batchbrew.solver.compiled import prepare_program
from batchbrew.solver.kernels import Copies, Lanes, Program, compile_program
from batchbrew.solver.layer import Builder
from batchbrew.solver.parameter import Flat
from batchbrew.solver.wiring import Wiring

WORTH_SHARING = 1 << 15  # parameters: to go through fewer takes no longer than to wake a thread


class Standing:
    """``prepare`` derives what backward passes need from the parameters; ``merge`` adds up what threads summed apart.

    ``copies`` are where threads beyond the first form sums; ``threads`` is how many of them are worth using on all
    parameters at once.
    """

    def __init__(self, net: Wiring, kernels: str, threads: int, statistics: Array, flat: Flat) -> None:
        self._net, self._kernels, self._all, self._statistics, self._flat = net, kernels, threads, statistics, flat
        self.threads = threads if flat.size >= WORTH_SHARING else 1
        self.compile()

    def compile(self) -> None:
        """Make the programs, anew where parameters have other memory now."""
        turned = [p.turned.grads for layer in self._net.layers for p in layer.parameters if p.turned is not None]
        self.copies = Copies(self._all, [self._statistics, self._flat.grads, *turned])
        self._merged: tuple[int, Program, Program] | None = None
        build = Builder(self._flat.values.dtype, True, 0, {}, Copies(self.threads))
        self._prepare = prepare_program(self._net, self._kernels, build)

    def prepare(self) -> None:
        """Run what layers do once after the parameters have changed, before the first backward pass."""
        self._prepare.run()

    def merge(self, gradients: bool = True) -> None:
        """Add up statistics and gradients."""
        if self._merged is None or self._merged[0] != len(self.copies.used):  # other programs use other sums
            statistics, sums = (self.copies.merging(of) for of in ((0,), range(1, len(self.copies.sums))))
            self._merged = (
                len(self.copies.used),
                compile_program(statistics, self._kernels),
                compile_program(sums, self._kernels, Lanes(self.threads)),
            )
        self._merged[1].run()
        if gradients:
            self._merged[2].run()
