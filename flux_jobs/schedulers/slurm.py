"""Slurm: ``#SBATCH`` lines, sbatch, srun."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from batchbrew.errors import UserError
from batchbrew.flux_jobs import directive, quantities
from batchbrew.flux_jobs.layout import layout
from batchbrew.flux_jobs.schedulers.base import SCHEDULERS, Scheduler

if TYPE_CHECKING:
    from batchbrew.flux_jobs.job import Job
    from batchbrew.flux_jobs.site import Site

LONGEST_NAME = 64


@final
@SCHEDULERS.register("slurm")
class Slurm(Scheduler):
    """Slurm, any version since 17."""

    foreground: ClassVar[bool] = False
    foreign: ClassVar[Mapping[str, str]] = {
        "queue": "Slurm's word is 'partition'",
        "procs": "it is Torque's; Slurm places ranks itself where cores_per_node is left out",
    }

    def directives(self, job: Job, site: Site) -> list[str]:
        """Return the ``#SBATCH`` lines."""
        options = [f"--job-name={directive.job_name(job.name, LONGEST_NAME)}"]
        for key, value in (("account", site.account), ("partition", site.partition), ("qos", site.qos)):
            if value is not None:
                options.append(f"--{key}={directive.identifier(key, value)}")
        place = layout(job.ranks, job.threads, site)
        if place:
            options.append(f"--nodes={place.machines}")
        options.append(f"--ntasks={job.ranks}")
        if place:
            options.append(f"--ntasks-per-node={place.ranks_per_machine}")
        options.append(f"--cpus-per-task={job.threads}")
        if job.memory_mib is not None:
            options.append(f"--mem-per-cpu={job.memory_mib}M")
        if job.walltime_seconds is not None:
            options.append(f"--time={quantities.format_walltime(job.walltime_seconds)}")
        if site.exclusive:
            options.append("--exclusive")
        # Append: a requeued job would otherwise erase the log of what it did before.
        options += [f"--output={_log(job.output)}", "--open-mode=append"]
        # Said either way, because the cluster's default (JobRequeue) is not known here.
        options.append("--requeue" if site.requeue else "--no-requeue")
        if site.signal_seconds is not None:
            # B: to the job's first process only, which is the command (the script ends in exec). Without B: the signal
            # goes to the steps and not to the script, so only ranks would get it. It may come up to 60 s early.
            options.append(f"--signal=B:USR1@{site.signal_seconds}")
        # By default sbatch hands on every variable of the submitting shell, and a job then depends on who sent it.
        options.append("--export=ALL" if site.inherit_environment else "--export=NONE")
        return [directive.line("#SBATCH", option) for option in (*options, *site.directives)]

    def environment(self, job: Job, site: Site) -> dict[str, str]:
        """Return what undoes ``--export=NONE`` inside the job: srun obeys it too and would start ranks with nothing."""
        return {"SLURM_EXPORT_ENV": "ALL"}

    def submit_command(self, script: str) -> list[str]:
        """Return the sbatch call that prints only the job's id."""
        return ["sbatch", "--parsable", script]

    def job_id(self, answer: str) -> str:
        """Return the id of sbatch's ``id`` or ``id;cluster``."""
        return answer.strip().split(";")[0]


def _log(path: Path) -> str:
    """Return how ``--output`` names the log; Slurm reads ``%j`` and the like anywhere in it, also in its folder."""
    if "%" in str(path) or "\\" in str(path):
        raise UserError(
            f"Slurm would read the % or \\ in the log's path {str(path)!r} as a pattern: choose another --out"
        )
    return directive.output_file(path)
