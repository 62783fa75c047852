"""A job: everything about one submission that is not the site's."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batchbrew.errors import UserError
from batchbrew.flux_jobs import quantities
from batchbrew.flux_jobs.site import Site
from batchbrew.flux_jobs.variables import variable_name


@dataclass(frozen=True)
class Job:
    """One command with the resources it needs.

    ``ranks`` x ``threads`` cores, ``memory_mib`` MiB a core and ``walltime_seconds`` seconds are asked for; None
    leaves a value to the scheduler. ``path_folders`` are put before PATH, before the site's setup lines run.
    Raises UserError for values no job can have.
    """

    name: str
    command: tuple[str, ...]
    ranks: int
    threads: int
    workdir: Path
    output: Path
    walltime_seconds: int | None = None
    memory_mib: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    path_folders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key, count in (("nodes", self.ranks), ("threads", self.threads)):
            if count < 1:
                raise UserError(f"job '{self.name}': {key} is {count}: ask for at least 1")
        for key, path in (("workdir", self.workdir), ("output", self.output)):
            if not path.is_absolute():
                raise UserError(f"job '{self.name}': {key} '{path}' is a relative path: give it from / on")
        if not self.command or not self.command[0]:
            raise UserError(f"job '{self.name}': the command is empty: name the program to run")
        for variable in self.environment:
            variable_name(variable, f"job '{self.name}'")
        texts = (*self.command, *self.environment.values(), *self.path_folders, str(self.workdir), str(self.output))
        if any("\0" in text for text in texts):
            raise UserError(f"job '{self.name}': an argument, path or variable holds a NUL character: remove it")


def job_for_study(
    study: Path,
    *,
    nodes: int,
    threads: int,
    walltime: str | int | None,
    out: Path,
    site: Site,
    environment: Mapping[str, str] | None = None,
) -> Job:
    """Return the job that runs a study on a site: ``batchbrew study run STUDY --out OUT``.

    ``nodes`` is the largest number of ranks any of its runs has, ``threads`` the cores of each, ``walltime``
    ``"HH:MM:SS"`` or minutes. Paths are made absolute, and the job works in the present folder, so that relative
    paths inside the study mean in the job what they mean here.
    Raises UserError for what the site does not allow.
    """
    seconds = None if walltime is None else quantities.parse_walltime(walltime)
    check_time(seconds, site)
    python = site.python or sys.executable
    return Job(
        name=study.stem,
        command=(python, "-m", "batchbrew", "study", "run", str(study.absolute()), "--out", str(out.absolute())),
        ranks=nodes,
        threads=threads,
        workdir=Path.cwd(),
        output=out.absolute() / "job.log",
        walltime_seconds=seconds,
        memory_mib=quantities.parse_memory(site.memory_per_core) if site.memory_per_core else None,
        environment=environment or {},
        path_folders=_programs_of(python),
    )


def check_time(seconds: int | None, site: Site) -> None:
    """Raise UserError if a walltime of ``seconds`` is longer than the site allows or shorter than its signal needs."""
    if seconds is None:
        return
    asked = quantities.format_walltime(seconds)
    if site.walltime is not None and seconds > quantities.parse_walltime(site.walltime):
        raise UserError(
            f"site '{site.name}': walltime {asked} is over its limit of {site.walltime}: ask for less; "
            "what is not finished then is run by submitting the study again"
        )
    if site.signal_seconds is not None and seconds <= site.signal_seconds:
        raise UserError(
            f"site '{site.name}': walltime {asked} is no longer than its signal_seconds ({site.signal_seconds}), "
            "so the job would be told to stop at once: ask for more"
        )


def _programs_of(python: str) -> tuple[str, ...]:
    """Return the program folder of the virtual environment ``python`` belongs to, whose mpiexec fits its mpi4py."""
    folder = Path(python).parent
    return (str(folder),) if folder.is_absolute() and (folder.parent / "pyvenv.cfg").exists() else ()
