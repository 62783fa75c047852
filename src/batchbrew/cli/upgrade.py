"""``batchbrew upgrade``: files of older formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from batchbrew.solver.upgrade.files import Upgraded, upgrade_net_file, upgrade_solver_file

_PATH = click.Path(path_type=Path)
Command = Callable[[Path, Path, bool | None], int]


@click.group()
def upgrade() -> None:
    """Write nets, models and solvers of older formats in the current one."""


def _arguments(command: Command) -> Command:
    """Add what both commands take."""
    for decorate in (
        click.option("--text/--binary", "as_text", default=None, help="What OUT is to be; as a rule what IN is."),
        click.argument("target", type=_PATH, metavar="OUT"),
        click.argument("source", type=_PATH, metavar="IN"),
    ):
        command = decorate(command)
    return command


@upgrade.command()
@_arguments
def net(source: Path, target: Path, as_text: bool | None) -> int:
    """Write the net or model IN to OUT, which may be the same file; comments are not kept.

    Text and binary are told apart by content; a binary IN becomes text if OUT ends in .prototxt or .txt.
    """
    return _tell(upgrade_net_file(source, target, as_text), source, target)


@upgrade.command()
@_arguments
def solver(source: Path, target: Path, as_text: bool | None) -> int:
    """Write the solver IN, with the nets inside it, to OUT, which may be the same file; comments are not kept."""
    return _tell(upgrade_solver_file(source, target, as_text), source, target)


def _tell(done: Upgraded, source: Path, target: Path) -> int:
    """Print what was upgraded; the exit code is 1 if something in the file had no place in the new format."""
    for note in done.notes:
        if note.level == "E":
            click.echo(f"batchbrew: {source}: {note}", err=True)
    what = f"upgraded {', '.join(done.outdated)}" if done.outdated else "is in the current format already"
    click.echo(f"{source}: {what}{f'; wrote {target}' if done.written else ''}")
    return 0 if done.complete else 1
