"""``batchbrew submit``: hand a study to a scheduler."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("study", type=_PATH)
@click.option("--out", type=_PATH, help="Folder of the study's results. [default: studies/<name of the study>]")
@click.option("--scheduler", help="slurm, pbspro, torque or local. [default: the site's]")
@click.option("--site", help="Name or file of the site's settings. [default: local]")
@click.option("--walltime", help="HH:MM:SS or minutes.")
@click.option("--dry-run", is_flag=True, help="Print the job script; submit nothing.")
def submit(study: Path, out: Path | None, dry_run: bool, **job: Any) -> int:
    """Submit STUDY as one job that runs what is missing of it."""
    from batchbrew.flux_jobs.submit import submit as hand_over
    from batchbrew.runner.study import load_study

    loaded = load_study(study)
    result = hand_over(
        study,
        out=out or Path("studies") / re.sub(r"[^\w.-]+", "_", loaded.file.study),
        nodes=max(loaded.file.grid.nodes),
        threads=loaded.file.threads,
        dry_run=dry_run,
        **job,
    )
    if dry_run:
        click.echo(result.text, nl=False)
    elif result.job_id is not None:
        click.echo(f"job {result.job_id} ({result.script})")
    return result.exit_code or 0
