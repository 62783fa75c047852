"""Torque (with Moab or Maui): ``#PBS`` lines with ``nodes=:ppn=`` or ``procs=``, qsub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from batchbrew.flux_jobs import directive, quantities
from batchbrew.flux_jobs.layout import layout
from batchbrew.flux_jobs.schedulers.base import SCHEDULERS, Scheduler

if TYPE_CHECKING:
    from batchbrew.flux_jobs.job import Job
    from batchbrew.flux_jobs.site import Site

# A longer name is an error of qsub.
LONGEST_NAME = 15


@final
@SCHEDULERS.register("torque")
class Torque(Scheduler):
    """Torque, as on the University of Michigan's Flux cluster."""

    foreground: ClassVar[bool] = False
    foreign: ClassVar[Mapping[str, str]] = {
        "partition": "Torque's word is 'queue'",
        "signal_seconds": "Torque sends SIGTERM at the walltime and nothing before it; leave it out",
    }

    def directives(self, job: Job, site: Site) -> list[str]:
        """Return the ``#PBS`` lines."""
        # Torque runs the script with the user's login shell, whatever its first line says; -S names the shell.
        options = [f"-N {directive.job_name(job.name, LONGEST_NAME)}", "-S /bin/bash"]
        for option, key, value in (("-A ", "account", site.account), ("-q ", "queue", site.queue)):
            if value is not None:
                options.append(f"{option}{directive.identifier(key, value)}")
        if site.qos is not None:
            options.append(f"-l qos={directive.identifier('qos', site.qos)}")
        options.append(f"-l {_cores(job, site)}")
        if job.memory_mib is not None:
            # pmem is a limit for each process and what Moab reserves for each core; mem would be the whole job's.
            options.append(f"-l pmem={job.memory_mib}mb")
        if job.walltime_seconds is not None:
            options.append(f"-l walltime={quantities.format_walltime(job.walltime_seconds)}")
        if site.exclusive:
            # Torque itself has no word for it on one or two machines (-n needs three); Moab decides anyway.
            options.append("-l naccesspolicy=singlejob")
        options += ["-j oe", f"-o {directive.output_file(job.output)}"]
        options.append(f"-r {'y' if site.requeue else 'n'}")
        if site.inherit_environment:
            options.append("-V")
        return [directive.line("#PBS", option) for option in (*options, *site.directives)]

    def environment(self, job: Job, site: Site) -> dict[str, str]:
        """Return nothing: ranks learn everything from MPI, for PBS_* variables exist on the first machine only."""
        return {}

    def submit_command(self, script: str) -> list[str]:
        """Return the qsub call."""
        return ["qsub", script]

    def job_id(self, answer: str) -> str:
        """Return qsub's ``number.server``, whole, as qstat and qdel want it."""
        return answer.strip()


def _cores(job: Job, site: Site) -> str:
    """Return the request for cores; ``ppn`` counts cores (and lines of the machine file), not ranks."""
    if site.procs and job.threads == 1:
        return f"procs={job.ranks}"
    # procs= scatters single cores over the cluster, so the threads of a rank would not find theirs on one machine.
    place = layout(job.ranks, job.threads, site)
    if place:
        return f"nodes={place.machines}:ppn={place.cores_per_machine}"
    return f"nodes={job.ranks}:ppn={job.threads}"
