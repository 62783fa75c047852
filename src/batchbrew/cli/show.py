"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from batchbrew.runner.launch import Tick


@contextmanager
def nothing() -> Iterator[Tick]:
    """Stand in for a progress bar where none is wanted."""
    yield lambda: None


def net_table(net: dict[str, Any]) -> None:
    """Print a net's layers: type, name, output, parameters and MFLOP per sample (forward and backward)."""
    table = Table(title=net["name"], title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("layer")
    table.add_column("name")
    for heading in ("output", "parameters", "MFLOP"):
        table.add_column(heading, justify="right")
    for row in net["layers"]:
        shape = " x ".join(str(size) for size in row["shape"][1:]) or "1"
        parameters = f"{row['parameters']:,}" if row["parameters"] else ""
        mflop = f"{row['mflop']:.3f}" if row["mflop"] else ""
        table.add_row(row["type"], row["name"], shape, parameters, mflop)
    table.add_row("", "total", "", f"{net['parameters']:,}", f"{net['flops_per_sample'] / 1e6:.3f}", style="bold")
    Console().print(table)
