"""Which algorithm computes each convolution of a run: measured once, remembered, and the same on all ranks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import thread_time
from typing import TYPE_CHECKING, Any

import batchbrew
from batchbrew import atomic
from batchbrew.runner.environment import cpu_model
from batchbrew.runner.world import World

if TYPE_CHECKING:
    from batchbrew.solver.layers.algorithm import Case
    from batchbrew.solver.net import Net

Choices = dict[str, int]  # by the label of a Case: the size of the tiles, 0 where it is computed directly


def settle(nets: Sequence[Net], world: World, recorded: Choices | None) -> Choices:
    """Let all ranks use the algorithms that rank 0 chooses, or those ``recorded`` when the run began; return them."""
    chosen = {}
    if world.rank == 0:
        chosen = measured(nets) if recorded is None else recorded
    chosen = world.bcast(chosen)
    use(nets, chosen)
    return chosen


def measured(nets: Iterable[Net]) -> Choices:
    """Return the choice for each convolution: the fastest, unless BATCHBREW_CONVOLUTION says which."""
    from batchbrew.solver.layers.algorithm import NAMES, UPDATE, choice_name
    from batchbrew.solver.tuning import cases

    name, found = choice_name(), {}
    for net in nets:
        known = Known(net.kernels)
        for case in cases(net.wiring):
            if name != "auto":
                found[case.label] = NAMES[name](case, UPDATE)
            elif net.kernels != "reference":
                found[case.label] = known.get(case)
        known.keep()
    return found


def use(nets: Iterable[Net], choices: Choices) -> None:
    """Let ``nets`` compute convolutions by these choices, and directly what is not among them.

    They are for updates of some pictures: for fewer, the transforms of filters may cost more than is gained.
    """

    from batchbrew.solver.layers.algorithm import UPDATE

    def choose(case: Case, pictures: int) -> int:
        tile = choices.get(case.label, 0)
        known = tile in case.tiles
        return tile if known and (pictures >= UPDATE or case.cost(tile, pictures) < case.cost(0, pictures)) else 0

    for net in nets:
        net.choose = choose
        net.renew()


class Known:
    """What was measured before, in a file of the user's cache; where that cannot be read or written, it is no matter.

    Choices hold for one processor model and one build of the kernels.
    """

    def __init__(self, kernels: str) -> None:
        self._path = cache_folder() / "convolutions.json"
        self._kernels = kernels
        self._machine = f"{cpu_model()}, {kernels}, {batchbrew.__version__}, {_build()}"
        self._new: dict[str, int] = {}
        self._known = self._load().get(self._machine, {})

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        entries = content.items() if isinstance(content, dict) else ()
        return {machine: found for machine, found in entries if isinstance(found, dict)}

    def get(self, case: Case) -> int:
        """Return what is known of ``case``, or measure it."""
        from batchbrew.solver.tuning import fastest

        tile = self._known.get(case.label)
        if type(tile) is int and tile in (0, *case.tiles):
            return tile
        tile = fastest(case, self._kernels, thread_time)
        self._known[case.label] = self._new[case.label] = tile
        return tile

    def keep(self) -> None:
        """Write what was measured into the file."""
        if not self._new:
            return
        content = self._load()
        content[self._machine] = content.get(self._machine, {}) | self._new
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(self._path, json.dumps(content, indent=1) + "\n")


def cache_folder() -> Path:
    """Return the folder for what can be made again: $BATCHBREW_CACHE, else batchbrew in that of the user."""
    given = os.environ.get("BATCHBREW_CACHE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "batchbrew"


@cache
def _build() -> str:
    """Return a digest of the compiled kernels."""
    from batchbrew.solver.kernels import _compiled

    if _compiled is None:
        return "none"
    return hashlib.sha256(Path(_compiled.__file__).read_bytes()).hexdigest()[:16]
