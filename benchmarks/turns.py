"""What is measured, and in which order: this engine and the peer by turns."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from time import perf_counter

import processes
from processes import Processes, available_bytes
from report import Printer
from results import Results, Row

from batchbrew.solver.roofline import measure_flops

SHAPES = {
    "cifar10_quick": (3, 32, 32),
    "cifar10_full": (3, 32, 32),
    "lenet": (1, 28, 28),
    "resnet20_cifar10": (3, 32, 32),
}
MEMORY = (64, 8192)  # batches whose peak memory is compared
PEAKS = 5  # measurements of the FMA peak before each block
ROUNDS = 2
NEAR = 0.85  # a setting of the peer's that is further behind its best is not measured again
LONG = 20.0  # seconds of steps in a round after which there is no second
SPARE = 0.9  # share of the free memory that may be used


@dataclass(frozen=True)
class Contender:
    """Somebody who is measured: ``layout`` is PyTorch's memory format, empty for ourselves."""

    name: str
    processes: Processes
    layout: str = ""


class Turns:
    """One run over all nets, threads, ranks and batches; ``python`` is an interpreter with torch, or empty."""

    def __init__(self, options: argparse.Namespace, python: str, results: Results, printer: Printer) -> None:
        self.options, self.python, self.results, self.printer = options, python, results, printer

    def run(self) -> None:
        """Measure everything."""
        for cores in {*self.options.threads, self.options.ranks}:
            self._peak(cores)
        for net in self.options.nets:
            with self._peers(1) as peers:
                for threads in self.options.threads:
                    self._block(net, 1, threads, peers)
            if self.options.ranks > 1:
                with self._peers(self.options.ranks) as peers:
                    self._block(net, self.options.ranks, 1, peers)
            if not self.options.quick:
                self._memory(net)

    @contextmanager
    def _peers(self, ranks: int) -> Iterator[list[Contender]]:
        """Yield the peer in all its settings."""
        found: list[Contender] = []
        with ExitStack() as stack:
            for tuned in (True, False) if self.python else ():
                own = stack.enter_context(closing(processes.peer(self.python, ranks, tuned)))
                for layout in ("channels_last", "contiguous_format"):
                    found.append(Contender(f"{layout}, malloc {'tuned' if tuned else 'as it comes'}", own, layout))
            yield found

    def _block(self, net: str, ranks: int, threads: int, peers: list[Contender]) -> None:
        self._peak(ranks * threads)
        self.printer.block(self.results, net, ranks, threads)
        with closing(processes.ours(ranks, threads)) as own:
            for batch in sorted(self.options.batches):
                row = self._cell([Contender("ours", own), *peers], Row(net, ranks, threads, batch))
                self.results.rows.append(row)
                self.printer.row(self.results, row)

    def _peak(self, cores: int) -> None:
        """Measure the FMA peak of so many cores anew: the best of all times counts."""
        kernels = self.results.machine["kernels"]
        if kernels != "reference":
            flops = max(measure_flops(kernels, perf_counter, cores) for _ in range(PEAKS))
            self.results.peak[cores] = max(flops, self.results.peak.get(cores, 0.0))

    def _cell(self, contenders: list[Contender], row: Row) -> Row:
        """Measure one row in rounds; each contender's best counts."""
        for number in range(ROUNDS):
            spent = 0.0
            for contender in contenders:
                best = row.best[1] if row.best else 0.0
                if contender.name not in row.left_out and (
                    number == 0 or row.peer.get(contender.name, best) >= NEAR * best
                ):
                    spent += self._measure(contender, row)
            if spent > LONG:
                break
        return row

    def _measure(self, contender: Contender, row: Row) -> float:
        """Measure one contender once, enter it in ``row`` and return the seconds of a step."""
        needs, free = contender.processes.needs(row.batch), SPARE * available_bytes()
        if needs > free:
            row.left_out[contender.name] = f"would take {needs / 1e9:.0f} GB more, {free / 1e9:.0f} GB are free"
            return 0.0
        self.printer.status(f"{row.net}, batch {row.batch}: {contender.name}")
        request = {"net": row.net, "shape": SHAPES[row.net], "batch": row.batch, "threads": row.threads}
        answer = contender.processes.ask(**request, layout=contender.layout, seconds=self.options.seconds)
        if "error" in answer:
            row.left_out[contender.name] = answer["error"]
            return 0.0
        rate = row.ranks * row.batch / answer["seconds"]
        if contender.layout:
            row.peer[contender.name] = max(rate, row.peer.get(contender.name, 0.0))
        else:
            row.ours = max(rate, row.ours or 0.0)
            self.results.work[row.net] = answer["flops_per_sample"]
        return float(answer["seconds"])

    def _memory(self, net: str) -> None:
        """Measure the peak memory of a fresh process for each of two batches, both with the same samples."""
        found = self.results.memory[net] = {}
        for batch in MEMORY:
            if any(row.batch == batch and row.ours is None for row in self.results.block(net, 1, 1)):
                continue  # it was left out before
            self.printer.status(f"{net}, batch {batch}: peak memory")
            request = {"net": net, "shape": SHAPES[net], "batch": batch, "threads": 1, "samples": max(MEMORY)}
            with closing(processes.ours(1, 1)) as fresh:
                answer = fresh.ask(**request, seconds=0.0)
            if "error" not in answer:
                found[batch] = answer["peak_bytes"]
        self.printer.memory(net, found)
