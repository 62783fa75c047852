"""PBS Professional and OpenPBS: ``#PBS`` lines with ``select=``, qsub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from batchbrew.flux_jobs import directive, quantities
from batchbrew.flux_jobs.layout import layout
from batchbrew.flux_jobs.schedulers.base import SCHEDULERS, Scheduler

if TYPE_CHECKING:
    from batchbrew.flux_jobs.job import Job
    from batchbrew.flux_jobs.site import Site

# Before PBS 2021 a longer name is an error of qsub.
LONGEST_NAME = 15


@final
@SCHEDULERS.register("pbspro")
class PbsPro(Scheduler):
    """PBS Professional and OpenPBS (Torque is another system: see torque.py)."""

    foreground: ClassVar[bool] = False
    foreign: ClassVar[Mapping[str, str]] = {
        "partition": "PBS's word is 'queue'",
        "qos": "it has no such word; where the cluster defined one, write it under directives: '-l qos=NAME'",
        "procs": "it is Torque's; PBS Pro places ranks itself where cores_per_node is left out",
        "signal_seconds": "PBS sends SIGTERM at the walltime and nothing before it; leave it out",
    }

    def directives(self, job: Job, site: Site) -> list[str]:
        """Return the ``#PBS`` lines."""
        # PBS runs the script with the user's login shell, whatever its first line says; -S names the shell.
        options = [f"-N {directive.job_name(job.name, LONGEST_NAME)}", "-S /bin/bash"]
        for option, key, value in (("-A", "account", site.account), ("-q", "queue", site.queue)):
            if value is not None:
                options.append(f"{option} {directive.identifier(key, value)}")
        place = layout(job.ranks, job.threads, site)
        chunks, ranks = (place.machines, place.ranks_per_machine) if place else (job.ranks, 1)
        # A chunk is what must lie on one machine. mpiprocs makes the lines of the machine file that MPI reads: without
        # it there is one a chunk, and all ranks of a chunk but the first are "not enough slots".
        chunk = f"select={chunks}:ncpus={ranks * job.threads}:mpiprocs={ranks}:ompthreads={job.threads}"
        if job.memory_mib is not None:
            chunk += f":mem={job.memory_mib * ranks * job.threads}mb"
        options.append(f"-l {chunk}")
        # scatter: each chunk on a machine of its own, as laid out; free: one-rank chunks wherever there is room.
        options.append(f"-l place={'scatter' if place else 'free'}{':excl' if site.exclusive else ''}")
        if job.walltime_seconds is not None:
            options.append(f"-l walltime={quantities.format_walltime(job.walltime_seconds)}")
        options += ["-j oe", f"-o {directive.output_file(job.output)}"]
        # Said either way: PBS's default is to run a job again from its start.
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
