"""``batchbrew study``: run a grid, or look at how far it is."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from batchbrew.cli.report import write_report
from batchbrew.errors import UserError
from batchbrew.runner import study_run
from batchbrew.runner.build import validate
from batchbrew.runner.progress import bar
from batchbrew.runner.status import read_status
from batchbrew.runner.study import load_study
from batchbrew.runner.world import under_mpi

_PATH = click.Path(path_type=Path)


@click.group()
def study() -> None:
    """Run or look at a study: a grid of batch sizes, node counts, seeds."""


@study.command()
@click.argument("file", type=_PATH, metavar="STUDY")
@click.option("--out", type=_PATH, required=True, help="Folder of the study's results.")
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report when all is run.")
def run(file: Path, out: Path, report: bool) -> int:
    """Run what is missing of STUDY, then write its report; safe to interrupt and to repeat."""
    if under_mpi():
        raise UserError("start 'batchbrew study run' once, without mpiexec or srun: it starts the ranks itself")
    loaded = load_study(file)
    validate(loaded.sources, loaded.expand()[0])
    code = study_run.run_study(loaded, out, bar, click.echo)
    if report and code != 2:
        write_report(out)
    return code


@study.command()
@click.argument("folder", type=_PATH, metavar="DIR")
def status(folder: Path) -> None:
    """Show the state of every run of the study in DIR."""
    grid = read_status(folder)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("run", "state", "update", "train s", grid.metric):
        table.add_column(heading, justify="left" if heading in ("run", "state") else "right")
    for row in grid.rows:
        value = "" if row.value is None else f"{row.value:.4f}"
        table.add_row(row.run_id, row.state, str(row.update), f"{row.train_seconds:.1f}", value)
    Console().print(table)
    click.echo(grid.counts())
