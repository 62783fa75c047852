"""The programs of a net that do not depend on the number of samples: what its parameters need around the passes."""

from __future__ import annotations

from batchbrew.solver.blob import Array
from batchbrew.solver.compiled import prepare_program
from batchbrew.solver.kernels import Copies, Lanes, Program, compile_program
from batchbrew.solver.layer import Builder
from batchbrew.solver.layers.algorithm import Choose
from batchbrew.solver.parameter import Flat
from batchbrew.solver.wiring import Wiring

WORTH_SHARING = 1 << 15  # parameters: to go through fewer takes no longer than to wake a thread


class Standing:
    """What is run before and after the passes over samples, on all parameters or sums at once.

    ``copies`` are where threads beyond the first form sums; ``threads`` is how many of them are worth using here.
    """

    def __init__(self, net: Wiring, kernels: str, threads: int, statistics: Array, flat: Flat) -> None:
        self._net, self._kernels, self._all, self._statistics, self._flat = net, kernels, threads, statistics, flat
        self.threads = threads if flat.size >= WORTH_SHARING else 1

    def compile(self, choose: Choose) -> None:
        """Make the programs, anew where parameters have other memory now; ``choose``: how to compute convolutions."""
        turned = [p.turned.grads for layer in self._net.layers for p in layer.parameters if p.turned is not None]
        self.copies = Copies(self._all, [self._flat.grads, self._statistics, *turned])
        self._merges: dict[tuple[int, int, int], Program] = {}
        self._clear = compile_program([("clear_sums", (self._flat.grads,))], self._kernels, Lanes(self.threads))
        self._prepare = [
            prepare_program(
                self._net,
                self._kernels,
                Builder(self._flat.values.dtype, True, 0, {}, Copies(self.threads), choose=choose),
                backward,
            )
            for backward in (False, True)
        ]

    def prepare(self, backward: bool) -> None:
        """Run what layers do once after the parameters have changed, before a pass forward or also backward."""
        for program in self._prepare[: 1 + backward]:
            program.run()

    def clear(self) -> None:
        """Set gradients to 0."""
        self._clear.run()

    def merge(self, start: int = 0, stop: int | None = None) -> None:
        """Add up what threads summed apart: statistics, and gradients ``start`` to ``stop`` (all by default)."""
        stop = self._flat.size if stop is None else stop
        key = (start, stop, len(self.copies.used))  # programs compiled since may use more
        if key not in self._merges:
            calls = self.copies.merging(start, stop)
            self._merges[key] = compile_program(calls, self._kernels, Lanes(self.threads if stop > start else 1))
        self._merges[key].run()
