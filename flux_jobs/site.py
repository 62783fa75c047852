"""A site: one cluster's habits, read from a small YAML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from batchbrew.config import Config, read_yaml
from batchbrew.errors import UserError, did_you_mean
from batchbrew.flux_jobs import directive, quantities
from batchbrew.flux_jobs.launchers import LAUNCHERS
from batchbrew.flux_jobs.schedulers import SCHEDULERS
from batchbrew.flux_jobs.variables import variable_name

SITES = Path(__file__).parent / "sites"

# YAML gives a list, which strict checking does not take for a tuple.
Lines = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]


class Site(Config):
    """One cluster (or one part of it): how its scheduler is asked, what it grants, how ranks are started there.

    A machine is what schedulers call a node; a node of batchbrew is one rank. The keys keep the schedulers' word.

    >>> Site(name="tiny", scheduler="local").launcher
    'mpiexec'
    """

    name: str
    scheduler: str
    account: str | None = None
    partition: str | None = None  # Slurm
    queue: str | None = None  # PBS
    qos: str | None = None
    cores_per_node: Annotated[int, Field(ge=1)] | None = None  # unknown: no limit is checked, the scheduler packs
    memory_per_core: str | None = None  # "4000mb", "4gb"
    walltime: str | None = None  # the longest allowed, "HH:MM:SS"
    exclusive: bool = False  # whole machines, shared with nobody
    procs: bool = False  # Torque: ranks of one thread ask for single cores, wherever they are (procs=)
    requeue: bool = False  # start again after a preemption or a lost machine; a study then runs what is missing
    signal_seconds: Annotated[int, Field(ge=1, le=65535)] | None = None  # Slurm: SIGUSR1 so long before the end
    inherit_environment: bool = False  # pass on the submitting shell's variables (-V, --export=ALL)
    launcher: str = "mpiexec"
    launcher_options: Lines = ()
    bind: bool = True  # pin each rank to its own cores
    oversubscribe: bool = False  # allow more ranks than cores; ranks are then not pinned
    python: str | None = None  # the interpreter inside the job; default: the one that submits
    setup: Lines = ()  # shell code, e.g. "module load openmpi"
    environment: dict[str, str] = Field(default_factory=dict)
    directives: Lines = ()  # further options as they are, e.g. "--constraint=haswell", "-m abe"

    @field_validator("name", "account", "partition", "queue", "qos")
    @classmethod
    def _plain(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            _checked(directive.identifier, str(info.field_name), value)
        return value

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, value: str) -> str:
        _checked(SCHEDULERS.get, value)
        return value

    @field_validator("launcher")
    @classmethod
    def _known_launcher(cls, value: str) -> str:
        _checked(LAUNCHERS.get, value)
        return value

    @field_validator("memory_per_core")
    @classmethod
    def _size(cls, value: str | None) -> str | None:
        if value is not None:
            _checked(quantities.parse_memory, value)
        return value

    @field_validator("walltime", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        if isinstance(value, int):
            raise ValueError('write the walltime in quotes, "HH:MM:SS": YAML reads a bare 12:30:00 as a number')
        if isinstance(value, str):
            _checked(quantities.parse_walltime, value)
        return value

    @field_validator("environment")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            _checked(variable_name, name, "environment")
        return value

    @field_validator("directives")
    @classmethod
    def _options(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _checked(directive.line, "#", text)
        return value

    @field_validator("partition", "queue", "qos", "exclusive", "procs", "requeue", "signal_seconds")
    @classmethod
    def _understood(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what the site's scheduler cannot express, rather than drop it."""
        scheduler, key = str(info.data.get("scheduler")), str(info.field_name)
        foreign = SCHEDULERS.get(scheduler).foreign if scheduler in SCHEDULERS else {}
        if value and key in foreign:
            raise ValueError(f"scheduler '{scheduler}' does not take it: {foreign[key]}")
        return value


def _checked(check: Callable[..., object], *arguments: str) -> None:
    """Call ``check``, its UserError turned into what pydantic collects with the key's place."""
    try:
        check(*arguments)
    except UserError as error:
        raise ValueError(str(error)) from None


def bundled_sites() -> list[str]:
    """Return the names of the sites that come with batchbrew.

    >>> "umich_flux" in bundled_sites()
    True
    """
    return sorted(path.stem for path in SITES.glob("*.yaml"))


def find_site(name_or_path: str) -> Site:
    """Return the bundled site of that name, or the one in the YAML file at that path.

    Text with a slash or ending in ``.yaml`` or ``.yml`` is a path. Raises UserError with the nearest name for an
    unknown name, and ``file:line:col`` for a mistake in the file.
    """
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        return read_yaml(Path(name_or_path), Site)
    known = bundled_sites()
    if name_or_path not in known:
        raise UserError(
            f"unknown site '{name_or_path}'{did_you_mean(name_or_path, known)} "
            f"(known: {', '.join(known)}; or give the path of a site file, ending in .yaml)"
        )
    return read_yaml(SITES / f"{name_or_path}.yaml", Site)
