"""The look of all figures: colours that colour-blind readers can tell apart, plain number ticks, no pyplot."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from batchbrew.analysis.wording import number

INK, MUTED, GRID, PAPER = "#1b1f24", "#59626d", "#d7dbe0", "#fffffe"
"""Four greys used for nothing else: in the page they are exchanged for those of the reader's theme."""

# Okabe and Ito's palette (black left to the text, yellow last as it is faint on white).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))

SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
    "errorbar.capsize": 3,
    "hatch.linewidth": 0.5,
    "figure.facecolor": PAPER,
    "figure.edgecolor": "none",
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "batchbrew",
    "text.parse_math": False,
}

Which = Literal["x", "y"]
SUBDIVISIONS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0.8, (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)),
    (2.5, (1.0, 2.0, 5.0)),
    (math.inf, (1.0,)),
)
"""Ticks within a decade for a logarithmic axis of fewer than so many decades."""

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def applied() -> Iterator[None]:
    """Draw or save within these settings, whatever the surrounding program has set."""
    settings: Any = SETTINGS
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Return ``draw`` made to run within the settings."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with applied():
            return draw(*args, **kwargs)

    return inside


def panels(
    total: int, width: float = 3.4, height: float = 3.0, most: int = 3, *, sharex: Any = False, sharey: Any = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``total`` axes, at most ``most`` in a row, each about ``width`` x ``height`` inches."""
    # Four are better seen as two rows of two than as three and one.
    columns = 2 if total == 4 else min(total, most)
    rows = math.ceil(total / columns)
    figure = Figure(figsize=(max(width * columns, 5.6), height * rows + 0.6), layout=_layout())
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).ravel().tolist()
    for unused in grid[total:]:
        unused.remove()
    return figure, grid[:total]


def color(index: int) -> str:
    """Return the colour of the n-th thing."""
    return COLORS[index % len(COLORS)]


def marker(index: int) -> str:
    """Return the marker of the n-th thing, so that colour is never the only difference."""
    # Shifted after every round of colours, so that no pair of colour and marker comes twice soon.
    return MARKERS[(index + index // len(COLORS)) % len(MARKERS)]


def log_values(axes: Axes, which: Which, values: Sequence[float], most: int = 9) -> None:
    """Make an axis logarithmic to base 2 with a tick at the values that occur, thinned out to ``most``."""
    axis = _scaled(axes, which, "log", base=2)
    ticks = sorted({float(v) for v in values})
    step = math.ceil(len(ticks) / most)
    axis.set_major_locator(FixedLocator(ticks[::step]))
    axis.set_minor_locator(NullLocator())


def log_plain(axes: Axes, which: Which, low: float, high: float) -> None:
    """Make an axis logarithmic from ``low`` to ``high`` with ticks written as plain numbers."""
    decades = math.log10(high / low)
    subs = next(subs for most, subs in SUBDIVISIONS if decades < most)
    axis = _scaled(axes, which, "log")
    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_view_interval(low, high, ignore=True)


def plain_ticks(axes: Axes, which: Which) -> None:
    """Write the ticks of a linear axis as plain numbers."""
    _scaled(axes, which, "linear")


def limits(values: Sequence[float], pad: float = 1.25) -> tuple[float, float]:
    """Return the range of the positive finite values, widened by the factor ``pad``; (1, 10) without any."""
    good = [v for v in values if math.isfinite(v) and v > 0]
    return (min(good) / pad, max(good) * pad) if good else (1.0, 10.0)


def shared_legend(figure: Figure, axes: Sequence[Axes], columns: int | None = None) -> None:
    """Put one legend for all ``axes`` under the figure, each label once, in as many columns as fit."""
    entries: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        # A character is about 0.065 inches wide at this size, handle and gaps take half an inch.
        columns = columns or max(1, int(figure.get_figwidth() / (0.6 + 0.065 * max(map(len, entries)))))
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=min(columns, len(entries))
        )


def _scaled(axes: Axes, which: Which, scale: str, **options: Any) -> Axis:
    (axes.set_xscale if which == "x" else axes.set_yscale)(scale, **options)
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 4, short=True)))
    return axis


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
