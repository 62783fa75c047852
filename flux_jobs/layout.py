"""How a job's ranks are laid out over a site's machines."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from batchbrew.errors import UserError

if TYPE_CHECKING:
    from batchbrew.flux_jobs.site import Site


@dataclass(frozen=True)
class Layout:
    """``machines`` machines with ``ranks_per_machine`` ranks of ``threads`` cores each."""

    machines: int
    ranks_per_machine: int
    threads: int

    @property
    def cores_per_machine(self) -> int:
        """Cores the job uses on each machine."""
        return self.ranks_per_machine * self.threads


def layout(ranks: int, threads: int, site: Site) -> Layout | None:
    """Return the fewest machines that hold the ranks, the same number on each; None if the site's machines are unknown.

    Raises UserError if a rank is larger than a machine, or the ranks do not divide evenly: ranks that share a machine
    share its memory bandwidth, so on unequal machines the slowest rank would set the time of every update.

    >>> from batchbrew.flux_jobs.site import Site
    >>> tiny = Site(name="tiny", scheduler="local", cores_per_node=12)
    >>> layout(16, 1, tiny)
    Layout(machines=2, ranks_per_machine=8, threads=1)
    """
    cores = site.cores_per_node
    if cores is None:
        return None
    if threads > cores:
        raise UserError(
            f"site '{site.name}': {threads} threads a rank do not fit on a node of {cores} cores: "
            f"ask for at most {cores} threads"
        )
    per_machine = cores // threads
    machines = -(-ranks // per_machine)
    if not _even(ranks, per_machine):
        below = next(number for number in range(ranks, 0, -1) if _even(number, per_machine))
        above = next(number for number in count(ranks) if _even(number, per_machine))
        raise UserError(
            f"site '{site.name}': {ranks} ranks of {threads} thread{'s' * (threads > 1)} need {machines} nodes of "
            f"{cores} cores and are no multiple of {machines}: ask for {below} or {above} ranks"
        )
    return Layout(machines, ranks // machines, threads)


def _even(ranks: int, per_machine: int) -> bool:
    return ranks % -(-ranks // per_machine) == 0
