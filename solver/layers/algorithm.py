"""Which algorithm computes a convolution: directly, or by Winograd's tiles (kernels/reference/winograd.py)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from batchbrew.errors import UserError, did_you_mean
from batchbrew.solver.layers.geometry import Pair

TAPS = (3, 5)  # of the filters that Winograd's kernels know, along both axes
TILES = (2, 4)  # outputs of a tile, along both axes
LANES = 16  # channels are worked on in vectors of so many
MAX_SUMS = 1 << 19  # of the transformed gradient: they are held in memory and gone through for each chunk


@dataclass(frozen=True)
class Case:
    """A pass over pictures (C, *size) with filters (K, C, taps, taps), of stride 1 in one group: all a choice needs.

    ``gradient``: that of the filters is computed, not the outputs. The gradient of the pictures is a pass of its own,
    by turned filters over what the outputs received; its ``pad`` may be negative: so many rows or columns are left out.
    """

    gradient: bool
    channels: int
    outputs: int
    size: Pair
    taps: int
    pad: Pair

    @property
    def label(self) -> str:
        """Return all of it in one line, for records."""
        what, (height, width), (rows, cols) = "gradient" if self.gradient else "outputs", self.size, self.pad
        return (
            f"{what}, {self.channels} x {height} x {width} by {self.outputs} filters {self.taps} x {self.taps}, "
            f"pad {rows} x {cols}"
        )

    @property
    def out(self) -> Pair:
        """Rows and columns of an output."""
        height, width = (s + 2 * p - self.taps + 1 for s, p in zip(self.size, self.pad, strict=True))
        return height, width

    @property
    def tiles(self) -> tuple[int, ...]:
        """The sizes of tiles it can be computed by."""
        sums = self.channels * self.outputs if self.gradient else 0
        return tuple(t for t in TILES if (t + self.taps - 1) ** 2 * sums <= MAX_SUMS)

    def cost(self, tile: int, pictures: int) -> float:
        """Return about how long a picture takes, in multiply-adds of direct convolution (tile 0).

        Products at each point; the transforms of inputs and outputs, or their gradients; that of the filters, once for
        so many ``pictures``, or the sums. The weights describe the measurements of benchmarks/winograd.py.
        """
        height, width = self.out
        if tile == 0:
            return float(height * width * self.taps**2 * self.channels * self.outputs)
        places = -(-height // tile) * -(-width // tile)
        wide = sum(-(-n // LANES) * LANES for n in (self.channels, self.outputs))
        products = self.channels * self.outputs
        filters = products * (12.0 if self.gradient else 32.0 / pictures)
        return (tile + self.taps - 1) ** 2 * (places * (products + 8.0 * wide) + filters)


# The size of the tiles for a case (0: computed directly), of whose filters so many pictures are computed at a time.
Choose = Callable[[Case, int], int]
UPDATE = 32  # pictures of an update, for choices that are made before it is known


def direct(case: Case, pictures: int) -> int:
    """Never by tiles."""
    return 0


def winograd(case: Case, pictures: int) -> int:
    """Always by tiles where it can be, the largest ones."""
    return max(case.tiles, default=0)


def by_rule(case: Case, pictures: int) -> int:
    """By tiles where that is clearly cheaper, without measuring anything: the same everywhere."""
    cost = {tile: case.cost(tile, pictures) for tile in (0, *case.tiles)}
    best = min(cost, key=cost.__getitem__)
    return best if 1.25 * cost[best] < cost[0] else 0


NAMES: dict[str, Choose] = {"auto": by_rule, "direct": direct, "winograd": winograd}


def choice_name(name: str | None = None) -> str:
    """Return ``name``, else what BATCHBREW_CONVOLUTION says, else auto. Raises UserError for an unknown one."""
    wanted = name or os.environ.get("BATCHBREW_CONVOLUTION") or "auto"
    if wanted not in NAMES:
        raise UserError(
            f"convolution '{wanted}' is not known{did_you_mean(wanted, NAMES)} (known: {', '.join(sorted(NAMES))})"
        )
    return wanted


def chooser(how: str | Choose | None, compiled: bool) -> Choose:
    """Return what ``how`` chooses by: a function, or the name of one; auto pays with compiled kernels only."""
    if callable(how):
        return how
    name = choice_name(how)
    return direct if name == "auto" and not compiled else NAMES[name]
