"""Write a study's job script and hand it to the scheduler."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from batchbrew import atomic
from batchbrew.errors import UserError
from batchbrew.flux_jobs.job import job_for_study
from batchbrew.flux_jobs.schedulers import SCHEDULERS, Scheduler
from batchbrew.flux_jobs.script import render
from batchbrew.flux_jobs.site import Site, find_site

SCRIPT = "job.sh"
ANSWER_SECONDS = 120


@dataclass(frozen=True)
class Submission:
    """What became of a job: its script, and its id (a cluster's) or exit code (run here), or neither (dry run)."""

    script: Path
    text: str
    command: tuple[str, ...]
    job_id: str | None = None
    exit_code: int | None = None


def submit(
    study: Path,
    *,
    out: Path,
    nodes: int,
    threads: int,
    walltime: str | int | None = None,
    scheduler: str | None = None,
    site: str | None = None,
    dry_run: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Submission:
    """Write ``OUT/job.sh`` for a study and, unless ``dry_run``, submit it; a local job is run to its end.

    ``environment`` defaults to the ``BATCHBREW_*`` variables set here, such as the data home: a clean job environment
    would lose them. Raises UserError for an unknown or unfitting site, for what the site does not allow, and for a
    scheduler that is missing or refuses the job.
    """
    chosen = choose_site(scheduler, site)
    if environment is None:
        environment = {name: value for name, value in os.environ.items() if name.startswith("BATCHBREW_")}
    job = job_for_study(
        study, nodes=nodes, threads=threads, walltime=walltime, out=out, site=chosen, environment=environment
    )
    backend = SCHEDULERS.get(chosen.scheduler)()
    text = render(job, chosen, backend)
    script = out.absolute() / SCRIPT
    _write(script, text)
    command = backend.submit_command(SCRIPT)
    planned = Submission(script, text, tuple(command))
    return planned if dry_run else _hand_over(planned, backend, chosen)


def choose_site(scheduler: str | None, site: str | None) -> Site:
    """Return the site meant by ``--scheduler`` and ``--site``; without a site, the bundled one named as the scheduler.

    Raises UserError if the two contradict each other.
    """
    if scheduler is not None:
        SCHEDULERS.get(scheduler)
    chosen = find_site(site or scheduler or "local")
    if scheduler is not None and chosen.scheduler != scheduler:
        raise UserError(
            f"site '{chosen.name}' is run by {chosen.scheduler}, not by {scheduler}: "
            "leave out --scheduler or name another --site"
        )
    return chosen


def _hand_over(planned: Submission, backend: Scheduler, site: Site) -> Submission:
    # Submitted from the script's folder: that is where a log named without a folder belongs (directive.output_file).
    folder = planned.script.parent
    program = planned.command[0]
    by_hand = f"cd {shlex.quote(str(folder))} && {shlex.join(planned.command)}"
    try:
        if backend.foreground:
            return replace(planned, exit_code=subprocess.run(planned.command, cwd=folder, check=False).returncode)
        answer = subprocess.run(
            planned.command,
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=ANSWER_SECONDS,
        )
    except FileNotFoundError:
        raise UserError(
            f"'{program}' is not on this machine: submit from a login node of site '{site.name}' "
            f"with: {by_hand} (or ask for --dry-run)"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"'{program}' gave no answer in {ANSWER_SECONDS} s: see whether the job is queued before submitting again"
        ) from None
    except OSError as error:
        raise UserError(f"cannot run '{program}': {error.strerror or error}: submit by hand: {by_hand}") from None
    if answer.returncode:
        said = " ".join(answer.stderr.split()) or "no reason given"
        raise UserError(f"'{program}' refused {planned.script} (exit code {answer.returncode}): {said}")
    return replace(planned, job_id=backend.job_id(answer.stdout))


def _write(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` at once or not at all, for the owner alone: the environment may be private."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, text, mode=0o700)
    except OSError as error:
        raise UserError(f"{path}: cannot write the job script: {error.strerror or error}") from None
