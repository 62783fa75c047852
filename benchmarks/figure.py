"""Draw the throughput that bench.py has measured: images/s by batch, one panel for each net and number of cores.

python benchmarks/figure.py RESULTS.json FOLDER      # writes throughput.svg and throughput.png there
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from results import Results, Row, read

from batchbrew import atomic
from batchbrew.analysis.plots.style import MUTED, color, log_values, marker, panels, plain_ticks, shared_legend, styled
from batchbrew.analysis.report import render_png, render_svg


@styled
def draw(results: Results) -> Figure:
    """Return the figure: ours, PyTorch at its best, and the throughput the FMA peak would allow."""
    blocks = results.blocks()
    columns = max(len([block for block in blocks if block[0] == net]) for net, _, _ in blocks)
    figure, grid = panels(len(blocks), width=3.2, height=2.5, most=columns)
    for axes, (net, ranks, threads) in zip(grid, blocks, strict=True):
        rows = results.block(net, ranks, threads)
        cores = f"{ranks} ranks" if ranks > 1 else f"{threads} thread{'s' if threads > 1 else ''}"
        axes.set_title(f"{net}, {cores}")
        ceiling = results.ceiling(net, ranks * threads)
        if ceiling:
            axes.axhline(ceiling, color=MUTED, linestyle=(0, (5, 3)), linewidth=1, label="FMA peak, direct convolution")
        line(axes, 0, "batchbrew", [(row.batch, row.ours) for row in rows if row.ours])
        line(axes, 1, "PyTorch at its best", [(row.batch, row.best[1]) for row in rows if row.best])
        log_values(axes, "x", batches(rows))
        plain_ticks(axes, "y")
        axes.set_ylim(bottom=0)
    for axes in grid[-columns:]:
        axes.set_xlabel("samples per update and rank")
    for axes in grid[::columns]:
        axes.set_ylabel("images/s")
    shared_legend(figure, grid)
    return figure


def line(axes: Axes, index: int, label: str, points: list[tuple[int, float]]) -> None:
    """Draw one contender."""
    axes.plot(*zip(*points, strict=True), color=color(index), marker=marker(index), label=label) if points else None


def batches(rows: list[Row]) -> list[float]:
    """Return the batches that have room for a label."""
    kept: list[float] = []
    for row in rows:
        if not kept or row.batch >= 3 * kept[-1]:
            kept.append(float(row.batch))
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    figure = draw(read(options.results))
    options.folder.mkdir(parents=True, exist_ok=True)
    atomic.write(options.folder / "throughput.svg", render_svg(figure))
    atomic.write(options.folder / "throughput.png", render_png(figure))


if __name__ == "__main__":
    main()
