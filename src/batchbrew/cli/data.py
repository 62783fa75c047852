"""``batchbrew data``: prepare data sets."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from batchbrew.solver.data import dataset

_PATH = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Make, download and list data sets."""


@data.command()
@click.argument("name")
@click.option("--from", "source", type=_PATH, help="Folder or archive with the raw files.")
def make(name: str, source: Path | None) -> None:
    """Prepare NAME from files, or compute it."""
    click.echo(str(dataset.make(name, source, dataset.data_home())))


@data.command()
@click.argument("name")
def get(name: str) -> None:
    """Download NAME, check it and prepare it."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(file: str, so_far: int, in_all: int) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file)
            progress.update(tasks[file], completed=so_far, total=in_all or None)

        click.echo(str(dataset.get(name, dataset.data_home(), tell)))


@data.command(name="list")
def list_() -> None:
    """List the known data sets and the prepared ones."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "prepared", "train", "test", "shape", "what"):
        table.add_column(heading)
    for row in dataset.listing(dataset.data_home()):
        shape = " x ".join(map(str, row.shape)) if row.shape else ""
        counts = (f"{row.train:,}", f"{row.test:,}") if row.prepared else ("", "")
        table.add_row(row.name, "yes" if row.prepared else "no", *counts, shape, row.note)
    Console().print(table)
