"""``batchbrew check``: is this file right?"""

from __future__ import annotations

from pathlib import Path

import click

from batchbrew.errors import UserError
from batchbrew.runner.check import check_file


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
def check(files: tuple[Path, ...]) -> int:
    """Check nets, solvers and studies without running them; nets are built in both phases."""
    code = 0
    for file in files:
        try:
            click.echo(f"{file}: OK ({check_file(file)})")
        except UserError as error:
            click.echo(f"batchbrew: error: {error}", err=True)
            code = 2
    return code
