"""How fast and how exact each algorithm for a convolution is on this machine, and which one to use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from batchbrew.solver.blob import Array, Storage, aligned_zeros
from batchbrew.solver.kernels import Call, Program, compile_program
from batchbrew.solver.kernels.reference.winograd import BLOCK
from batchbrew.solver.layers.algorithm import UPDATE, Case
from batchbrew.solver.layers.convolution import Filters
from batchbrew.solver.wiring import Wiring

MAX_ERROR = 3e-5  # of a number, relative to the largest of its array
GAIN = 1.05  # an algorithm must be so many times faster than direct convolution
PICTURES, NUMBERS = 16, 1 << 20  # measured at a time, at most: pictures, and numbers in their inputs and outputs
ROUNDS = 5


@dataclass(frozen=True)
class Trial:
    """What was measured of one algorithm: seconds for a picture of an update, and the largest error as above."""

    seconds: float
    error: float


def cases(net: Wiring) -> list[Case]:
    """Return each pass over a convolution of ``net`` for which there is a choice, once."""
    found: dict[Case, None] = {}
    for layer, runs, needs in zip(net.layers, net.runs, net.needs, strict=True):
        if isinstance(layer, Filters):
            found |= dict.fromkeys(layer.cases(runs, runs and any(needs)))
    return list(found)


def fastest(case: Case, kernels: str, clock: Callable[[], float]) -> int:
    """Return the tiles by which ``case`` is computed fastest and exactly enough, 0 for none; ``clock`` in seconds."""
    found = trials(case, kernels, clock)
    direct = found.pop(0).seconds
    fast = {t: each.seconds for t, each in found.items() if each.error < MAX_ERROR and each.seconds * GAIN < direct}
    return min(fast, key=fast.__getitem__, default=0)


def trials(case: Case, kernels: str, clock: Callable[[], float], rounds: int = ROUNDS) -> dict[int, Trial]:
    """Measure direct convolution (0) and each size of tiles on drawn pictures, in turns."""
    arrays = _Arrays(case)
    programs = {tile: compile_program(arrays.calls(tile), kernels) for tile in (0, *case.tiles)}
    errors = {tile: arrays.error(program) for tile, program in programs.items()}
    best = dict.fromkeys(programs, np.inf)
    filters = dict.fromkeys(programs, 0.0)  # seconds of what is done once an update
    for _ in range(rounds):
        for tile, program in programs.items():
            start = clock()
            program.run(0, len(program) - 1)
            begin = clock()
            program.run(len(program) - 1)
            best[tile] = min(best[tile], clock() - begin)
            filters[tile] = begin - start
    return {t: Trial(best[t] / len(arrays.x) + filters[t] / UPDATE, errors[t]) for t in programs}


class _Arrays:
    """Pictures, filters and outputs of a case as layers hold them, drawn."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.pad = [max(0, p) for p in case.pad]
        # what a negative pad leaves out is no part of these pictures
        height, width = (s + 2 * min(0, p) for s, p in zip(case.size, case.pad, strict=True))
        picture = case.channels * height * width + case.outputs * prod(case.out)
        pictures = min(PICTURES, max(1, NUMBERS // picture))
        draw = np.random.default_rng(1)
        self.x = Storage(np.float32, (0, self.pad[1])).view((pictures, case.channels, height, width))
        self.y = Storage(np.float32).view((pictures, case.outputs, *case.out))
        self.w = self._filters(np.float64 if case.gradient else np.float32)
        for array in (self.x, self.y if case.gradient else self.w):
            array[...] = draw.normal(size=array.shape)

    def _filters(self, dtype: type) -> Array:
        case = self.case
        flat = aligned_zeros(case.outputs * case.channels * case.taps**2, dtype)
        return flat.reshape(case.taps, case.taps, case.channels, case.outputs).transpose(3, 2, 0, 1)

    def calls(self, tile: int) -> list[Call]:
        """Return the operation of one pass, and before it those of an update."""
        case = self.case
        if tile == 0:
            return [self._direct(self.x, self.w, self.y)]
        if case.gradient:
            return [("winograd_backward_weight", (self.x, self.y, self.w, tile, *self.pad))]
        shape = (-(-case.outputs // BLOCK), (tile + case.taps - 1) ** 2, case.channels + 1, BLOCK)
        u = aligned_zeros(prod(shape), np.float32).reshape(shape)[:, :, :-1]
        return [
            ("winograd_weights", (self.w, u)),
            ("winograd_forward", (self.x, u, None, self.y, tile, case.taps, *self.pad)),
        ]

    def _direct(self, x: Array, w: Array, y: Array) -> Call:
        geometry = (1, 1, *self.pad, 1, 1, 1)
        if self.case.gradient:
            return ("conv_backward_weight", (x, y, w, *geometry))
        return ("conv_forward", (x, w, None, y, *geometry))

    def error(self, program: Program) -> float:
        """Run ``program`` and return its error against float64: of all of a gradient, of one picture's outputs."""
        gradient = self.case.gradient
        some = slice(None) if gradient else slice(1)
        x, w, y = (a.astype(np.float64) for a in (self.x[some], self.w, self.y[some]))
        made, wanted = (self.w, w) if gradient else (self.y[some], y)
        made[...] = 0
        wanted[...] = 0
        program.run()
        compile_program([self._direct(x, w, y)], "reference").run()
        return float(np.abs(made - wanted).max() / np.abs(wanted).max())
