"""The text of a job script: a pure function of job, site and scheduler."""

from __future__ import annotations

import shlex

from batchbrew.errors import UserError
from batchbrew.flux_jobs.job import Job, check_time
from batchbrew.flux_jobs.launchers import LAUNCHERS, Pinning
from batchbrew.flux_jobs.layout import layout
from batchbrew.flux_jobs.schedulers import Scheduler
from batchbrew.flux_jobs.site import Site
from batchbrew.flux_jobs.variables import THREAD_VARIABLES


def render(job: Job, site: Site, scheduler: Scheduler) -> str:
    """Return the job script: directives, working folder, setup lines, environment, command.

    Everything from the job is quoted, so that any path or argument arrives as it is; the setup lines are the site's
    own shell code. ``BATCHBREW_MPIEXEC`` holds the launcher's words for the shell; ``-n N`` is to be added to them.
    Raises UserError for what the site cannot hold or a directive cannot say.
    """
    check_time(job.walltime_seconds, site)
    lines = [
        # A login shell: with a clean environment, /etc/profile is what makes `module` known.
        "#!/bin/bash -l",
        # Schedulers stop reading directives at the first command, so all of them come first.
        *scheduler.directives(job, site),
        "",
        "set -euo pipefail",
        # PBS starts a job in the home folder; Slurm where it was submitted.
        f"cd -- {shlex.quote(str(job.workdir))}",
        *(f'export PATH={shlex.quote(folder)}:"$PATH"' for folder in job.path_folders),
    ]
    if site.setup:
        lines += ["", "set +u  # module and conda scripts read unset variables", *site.setup, "set -u"]
    if any("\0" in text for text in lines):
        raise UserError(f"site '{site.name}': setup holds a NUL character: remove it")
    exports = (f"export {name}={shlex.quote(value)}" for name, value in _environment(job, site, scheduler).items())
    # A PBS script is its shell's input: a command that read its input would swallow the rest of the script.
    # exec makes the command the job's first process, which is the one a signal of the scheduler reaches.
    command = f"exec -- {shlex.join(job.command)} </dev/null"
    return "\n".join([*lines, "", *exports, "", command, ""])


def _environment(job: Job, site: Site, scheduler: Scheduler) -> dict[str, str]:
    """Return the site's and the job's variables, then those that have to agree with what was asked for."""
    place = layout(job.ranks, job.threads, site)
    pinning = Pinning(job.threads, site.bind, site.oversubscribe, place.ranks_per_machine if place else 0)
    launcher = LAUNCHERS.get(site.launcher)()
    return {
        **site.environment,
        **job.environment,
        **scheduler.environment(job, site),
        **launcher.environment(pinning),
        "BATCHBREW_MPIEXEC": shlex.join([*launcher.prefix(pinning), *site.launcher_options]),
        **dict.fromkeys(THREAD_VARIABLES, str(job.threads)),
    }
