"""``batchbrew calibrate``: the measurements the theory is fed with."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("study", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="Folder of the study's results.")
def calibrate(study: Path, out: Path) -> int:
    """Measure compute and communication times for STUDY and write OUT/calibration.json."""
    from batchbrew.runner import study_run
    from batchbrew.runner.study import load_study

    loaded = load_study(study)
    study_run.prepare(loaded, out)
    code = study_run.calibrate(loaded, out, click.echo)
    if code == 0:
        click.echo(str(out / "calibration.json"))
    return code
