"""What one benchmark run found, and the ratios that follow from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """Training throughput of one net at one batch per rank, in images/s over all ranks; ``peer`` by its settings.

    ``left_out`` says, by contender, why there is no figure.
    """

    net: str
    ranks: int
    threads: int
    batch: int
    ours: float | None = None
    peer: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> tuple[str, float] | None:
        """Return the peer's best settings and their images/s."""
        return max(self.peer.items(), key=lambda item: item[1]) if self.peer else None

    @property
    def ratio(self) -> float | None:
        """Return ours over the peer's best."""
        return self.ours / self.best[1] if self.ours and self.best else None


@dataclass
class Results:
    """Everything measured: ``peak`` in FLOP/s by number of cores, ``work`` in FLOP a sample by net.

    ``memory``: bytes of a fresh process by net and batch.
    """

    machine: dict[str, Any] = field(default_factory=dict)
    peak: dict[int, float] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    memory: dict[str, dict[int, int]] = field(default_factory=dict)

    def ceiling(self, net: str, cores: int) -> float | None:
        """Return the images/s that the FMA peak of ``cores`` would allow."""
        return self.peak[cores] / self.work[net] if cores in self.peak and net in self.work else None

    def block(self, net: str, ranks: int, threads: int) -> list[Row]:
        """Return the rows of one net on so many ranks and threads, by batch."""
        here = [row for row in self.rows if (row.net, row.ranks, row.threads) == (net, ranks, threads)]
        return sorted(here, key=lambda row: row.batch)

    def blocks(self) -> list[tuple[str, int, int]]:
        """Return (net, ranks, threads) of all blocks, as measured."""
        return list(dict.fromkeys((row.net, row.ranks, row.threads) for row in self.rows))

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    """Return what ``Results.write`` has written."""
    values = json.loads(path.read_text(encoding="utf-8"))
    values["peak"] = {int(cores): flops for cores, flops in values["peak"].items()}
    values["memory"] = {net: {int(b): size for b, size in of.items()} for net, of in values["memory"].items()}
    values["rows"] = [Row(**row) for row in values["rows"]]
    return Results(**values)


def flatness(rows: list[Row], least: int = 8) -> float | None:
    """Return the slowest over the fastest of our throughputs at batches of ``least`` and more."""
    rates = [row.ours for row in rows if row.ours and row.batch >= least]
    return min(rates) / max(rates) if len(rates) > 1 else None


def scaling(results: Results, net: str, ranks: int) -> dict[int, float]:
    """Return our throughput on ``ranks`` ranks over that on one, by batch per rank."""
    one = {row.batch: row.ours for row in results.block(net, 1, 1) if row.ours}
    return {
        row.batch: row.ours / one[row.batch] for row in results.block(net, ranks, 1) if row.ours and row.batch in one
    }
