"""What starts ranks inside a job: ``mpiexec``, ``mpirun``, ``srun``, ``mpiexec.hydra``.

Which scheduler a site has and which launcher its MPI wants vary independently, so the two are chosen separately.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from batchbrew.registry import Registry


@dataclass(frozen=True)
class Pinning:
    """Where ranks may run: ``threads`` cores each, pinned or not, more ranks than cores or not.

    ``ranks_per_machine`` is 0 where it is not known.
    """

    threads: int = 1
    bind: bool = True
    oversubscribe: bool = False
    ranks_per_machine: int = 0

    @property
    def pinned(self) -> bool:
        """Whether each rank is bound to its own cores, which more ranks than cores cannot be."""
        return self.bind and not self.oversubscribe


class Launcher(ABC):
    """One program that starts ranks.

    To add one, write a class in this file with ``@LAUNCHERS.register("name")`` and implement

    * ``prefix(pinning)`` - the program and its options, without the number of ranks. The number is added as ``-n N``,
      which every launcher reads; so one prefix, exported to the job, starts a study's runs of 1, 2, 4, ... ranks.
    * ``environment(pinning)`` - the variables the program needs in the environment of the job, or nothing.

    Both are pure. Whether ranks are pinned to cores is always said, never left to the program's default: Open MPI
    binds two ranks to one core each however many threads they have, MPICH binds none.

    >>> class Aprun(Launcher):
    ...     def prefix(self, pinning):
    ...         return ["aprun", "-d", str(pinning.threads)]
    ...     def environment(self, pinning):
    ...         return {}
    >>> Aprun().command(4, Pinning(threads=2))
    ['aprun', '-d', '2', '-n', '4']
    """

    @abstractmethod
    def prefix(self, pinning: Pinning) -> list[str]:
        """Return the program and its options, without the number of ranks."""

    @abstractmethod
    def environment(self, pinning: Pinning) -> dict[str, str]:
        """Return the environment variables the program needs."""

    @final
    def command(self, ranks: int, pinning: Pinning | None = None) -> list[str]:
        """Return what starts ``ranks`` ranks; the program of the ranks follows it."""
        return [*self.prefix(pinning or Pinning()), "-n", str(ranks)]


LAUNCHERS: Registry[type[Launcher]] = Registry("launcher")


@final
@LAUNCHERS.register("mpiexec")
class Mpiexec(Launcher):
    """The MPI standard's own starter, of whichever MPI comes first on the path; ranks are not pinned.

    The standard knows no word for pinning, and one library's option is an error to the other; so none is given and
    Open MPI is told by its variables (5.x reads PRTE_, 4.x OMPI_), which MPICH does not read and does not need.
    """

    def prefix(self, pinning: Pinning) -> list[str]:
        """Return the bare program."""
        return ["mpiexec"]

    def environment(self, pinning: Pinning) -> dict[str, str]:
        """Return Open MPI's settings for ranks spread over the machines and not bound."""
        variables = {
            "PRTE_MCA_hwloc_default_binding_policy": "none",
            "PRTE_MCA_rmaps_default_mapping_policy": "node:oversubscribe" if pinning.oversubscribe else "node",
            "OMPI_MCA_hwloc_base_binding_policy": "none",
            "OMPI_MCA_rmaps_base_mapping_policy": "node",
        }
        if pinning.oversubscribe:
            variables["OMPI_MCA_rmaps_base_oversubscribe"] = "1"
        return variables


@final
@LAUNCHERS.register("mpirun")
class Mpirun(Launcher):
    """Open MPI's starter (5.x; the options are the same since 1.8)."""

    def prefix(self, pinning: Pinning) -> list[str]:
        """Return mpirun mapping by node, so that ranks spread evenly however many slots the scheduler lists.

        By slot, 12 ranks of 2 threads on 2 machines of 12 slots would all be put on the first.
        """
        if pinning.oversubscribe:
            return ["mpirun", "--map-by", "node:OVERSUBSCRIBE", "--bind-to", "none"]
        if pinning.pinned:
            # PE=n implies binding to n cores and is an error together with --bind-to none.
            return ["mpirun", "--map-by", f"node:PE={pinning.threads}", "--bind-to", "core"]
        return ["mpirun", "--map-by", "node", "--bind-to", "none"]

    def environment(self, pinning: Pinning) -> dict[str, str]:
        """Return nothing: mpirun takes options."""
        return {}


@final
@LAUNCHERS.register("mpiexec.hydra")
class Hydra(Launcher):
    """MPICH's starter, also Intel MPI's and MVAPICH's; more ranks than cores need no option."""

    def prefix(self, pinning: Pinning) -> list[str]:
        """Return mpiexec.hydra with as many ranks a machine as were asked for: it fills every core otherwise."""
        per_machine = ["-ppn", str(pinning.ranks_per_machine)] if pinning.ranks_per_machine else []
        return ["mpiexec.hydra", *per_machine, "-bind-to", f"core:{pinning.threads}" if pinning.pinned else "none"]

    def environment(self, pinning: Pinning) -> dict[str, str]:
        """Return nothing: mpiexec.hydra takes options."""
        return {}


@final
@LAUNCHERS.register("srun")
class Srun(Launcher):
    """Slurm's own starter."""

    def prefix(self, pinning: Pinning) -> list[str]:
        """Return srun with the cores a rank restated: since Slurm 22.05 it no longer takes them from the job."""
        return [
            "srun",
            f"--cpus-per-task={pinning.threads}",
            f"--cpu-bind={'cores' if pinning.pinned else 'none'}",
            # Without it the other ranks wait for a dead one until the walltime ends.
            "--kill-on-bad-exit=1",
            *(["--overcommit"] if pinning.oversubscribe else []),
        ]

    def environment(self, pinning: Pinning) -> dict[str, str]:
        """Return the same number of cores for any srun started without it."""
        return {"SRUN_CPUS_PER_TASK": str(pinning.threads)}
