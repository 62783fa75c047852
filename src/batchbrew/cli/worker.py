"""The hidden commands that a launcher runs once a rank."""

from __future__ import annotations

from pathlib import Path

import click

from batchbrew.runner import worker as ranks
from batchbrew.runner.world import find_world

_PATH = click.Path(path_type=Path)


@click.command(hidden=True)
@click.argument("folder", type=_PATH)
@click.option("--log", default="quiet")
def worker(folder: Path, log: str) -> int:
    """Be one rank of the run in FOLDER."""
    return ranks.main(folder, find_world(), log)


@click.command(hidden=True)
@click.argument("folder", type=_PATH)
@click.option("--nodes", type=int, required=True)
def calibrate_worker(folder: Path, nodes: int) -> int:
    """Be one rank of a calibration in FOLDER."""
    from batchbrew.runner.calibrate import measure

    return ranks.guarded(find_world(), lambda world: measure(folder, world, nodes))
