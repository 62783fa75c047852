"""``batchbrew report``: from a study folder to its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from batchbrew.analysis.tables import View


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def report(folder: Path) -> None:
    """Write the speedup report of the study in DIR and print its headline."""
    write_report(folder)


# Columns a narrow terminal does without, the least missed first; the page has them all.
_SPARE = ("same batch only", "efficiency", "samples", "lr", "a node", "updates", "theory / measured")


def write_report(folder: Path) -> None:
    """Write the report of a study folder; print the headline table, the findings and where the page is."""
    from rich.console import Console
    from rich.measure import Measurement

    from batchbrew.analysis.headline import headline
    from batchbrew.analysis.load import load
    from batchbrew.analysis.report import write
    from batchbrew.analysis.summary import sentences

    page = write(folder)
    study = load(folder)
    head = headline(study)
    if head.rows and not study.single:
        console = Console()
        if not console.is_terminal:
            console = Console(width=200)
        hidden = 0
        table = _table(head.view(), _SPARE[:hidden])
        while hidden < len(_SPARE) and Measurement.get(console, console.options, table).maximum > console.width:
            hidden += 1
            table = _table(head.view(), _SPARE[:hidden])
        console.print(table)
    for sentence in sentences(study):
        click.echo(sentence)
    click.echo(str(page))


def _table(view: View, hidden: tuple[str, ...]) -> Table:
    """Return the view as a table for the terminal, without the columns ``hidden``."""
    from rich.table import Table

    table = Table(title=view.caption, title_justify="left", box=None, pad_edge=False, header_style="bold")
    shown = [i for i, heading in enumerate(view.columns) if heading not in hidden]
    for i in shown:
        table.add_column(view.columns[i], justify="right" if i < len(view.numeric) and view.numeric[i] else "left")
    for row in view.rows:
        table.add_row(*(row[i] for i in shown))
    return table
