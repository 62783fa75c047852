"""Which core each thread of each rank stays on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from batchbrew.runner.environment import affinity
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.world import World

Place = tuple[str, list[int]]  # a rank's host, and the logical processors it may use, the better ones first
_SIBLINGS = Path("/sys/devices/system/cpu")


def pin(world: World, spec: RunSpec) -> list[list[int]]:
    """Pin the threads of every rank, where it has several; return the processors of each rank's threads: collective."""
    found: list[list[int]] = world.bcast(places(world.gather((world.host, _by_core(affinity()))), spec.threads))
    if spec.threads == 1 or not spec.pin:
        return [[] for _ in found]
    from batchbrew.solver.kernels import pin as keep

    keep(found[world.rank])
    return found


def places(ranks: Sequence[Place], threads: int) -> list[list[int]]:
    """Return the processors of each rank's threads; none for the ranks of a host that has too few.

    Ranks that a launcher has given processors of their own keep to them; those that share some take one slice each.

    >>> places([("a", [0, 1, 2, 3]), ("a", [0, 1, 2, 3]), ("b", [4, 5])], 2)
    [[0, 1], [2, 3], [4, 5]]
    >>> places([("a", [0, 1, 2]), ("a", [0, 1, 2])], 2)
    [[], []]
    """
    found: list[list[int]] = []
    taken: dict[str, set[int]] = {}
    for host, cores in ranks:
        free = [core for core in cores if core not in taken.setdefault(host, set())]
        found.append(free[:threads])
        taken[host].update(free[:threads])
    crowded = {host for (host, _), own in zip(ranks, found, strict=True) if len(own) < threads}
    return [[] if host in crowded else own for (host, _), own in zip(ranks, found, strict=True)]


def _by_core(processors: list[int]) -> list[int]:
    """Return logical processors in an order in which the second one of a physical core comes after all first ones."""
    return sorted(processors, key=lambda one: (_twin(one), one))


def _twin(processor: int) -> int:
    """Return the number of a logical processor among those of its physical core; 0 where that is not known."""
    path = _SIBLINGS / f"cpu{processor}" / "topology" / "thread_siblings_list"
    try:
        numbers = [int(n) for n in re.findall(r"\d+", path.read_text())]
    except OSError:
        return 0
    return sum(n < processor for n in numbers)
