"""``batchbrew time``: how long each layer takes, as ``caffe time`` does."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchbrew.cli.caffe_flags import needed, stages, state_flags, use_cpu
from batchbrew.errors import UserError
from batchbrew.glog import log, number, seconds

if TYPE_CHECKING:
    from batchbrew.solver.net import Net
    from batchbrew.solver.timing import Timing

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--model", type=_PATH, help="Net prototxt.")
@click.option("--weights", help="Trained .caffemodel to use instead of the fillers.")
@click.option("--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="Passes to average over.")
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"]), default="TRAIN", show_default=True)
@click.option("--synthetic", is_flag=True, help="Put made-up samples in the place of the net's data.")
@click.option("--shape", help="C,H,W of the made-up pictures, where the net does not say it.")
@click.option("--batch", type=click.IntRange(min=1), help="Samples of a made-up batch. [default: the net's]")
@state_flags
def time(**given: Any) -> None:
    """Time every layer of a net, forward and backward, over whole batches."""
    from batchbrew.solver.timing import time_layers, warm_up

    options = Options(**given)
    needed(options.model, "a model definition to time", "model")
    if (options.shape or options.batch) and not options.synthetic:
        raise UserError("--shape and --batch are for made-up samples: add --synthetic")
    use_cpu(options.gpu)
    net = _net(options)
    log("caffe.cpp:355", "Performing Forward")
    log("caffe.cpp:360", f"Initial loss: {number(warm_up(net))}")
    log("caffe.cpp:361", "Performing Backward")
    log("caffe.cpp:369", "*** Benchmark begins ***")
    log("caffe.cpp:370", f"Testing for {options.iterations} iterations.")

    def tell(iteration: int, spent: float) -> None:
        log("caffe.cpp:406", f"Iteration: {iteration} forward-backward time: {number(spent * 1e3)} ms.")

    timing = time_layers(net, options.iterations, seconds, tell)
    _lines(timing)
    _table(timing, net.name or str(options.model))


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    model: Path | None
    weights: str | None
    iterations: int
    phase: str
    synthetic: bool
    shape: str | None
    batch: int | None
    gpu: str
    level: int
    stage: str


def _net(options: Options) -> Net:
    """Return the net to be timed."""
    from batchbrew.protos import messages as pb
    from batchbrew.solver.load import read_net_file
    from batchbrew.solver.snapshot import load_weights
    from batchbrew.solver.synthetic import synthesize

    file = read_net_file(str(options.model))
    if options.synthetic:
        synthesize(file.param, str(options.model), _shape(options.shape), options.batch)
    phase = pb.TRAIN if options.phase == "TRAIN" else pb.TEST
    net = file.build(phase, level=options.level, stages=stages(options.stage))
    if options.weights:
        load_weights(net, options.weights)
    return net


def _shape(text: str | None) -> tuple[int, ...] | None:
    """Return C,H,W as numbers."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"--shape {text}: give channels, height and width, as in 3,32,32")
    return tuple(int(part) for part in parts)


def _lines(timing: Timing) -> None:
    """Write the averages as Caffe's log has them."""
    log("caffe.cpp:412", "Average time per layer: ")
    for layer in timing.layers:
        log("caffe.cpp:415", f"{layer.name:>10}\tforward: {number(layer.forward * 1e3)} ms.")
        log("caffe.cpp:418", f"{layer.name:>10}\tbackward: {number(layer.backward * 1e3)} ms.")
    total = sum(timing.iterations)
    log("caffe.cpp:424", f"Average Forward pass: {number(timing.forward * 1e3)} ms.")
    log("caffe.cpp:426", f"Average Backward pass: {number(timing.backward * 1e3)} ms.")
    log("caffe.cpp:428", f"Average Forward-Backward: {number(total / len(timing.iterations) * 1e3)} ms.")
    log("caffe.cpp:430", f"Total Time: {number(total * 1e3)} ms.")
    log("caffe.cpp:431", "*** Benchmark ends ***")


def _table(timing: Timing, title: str) -> None:
    """Print the same as a table, with the arithmetic done a second."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("layer", "type"):
        table.add_column(heading)
    for heading in ("forward ms", "backward ms", "share %", "forward GFLOP/s", "backward GFLOP/s"):
        table.add_column(heading, justify="right")
    whole = timing.forward + timing.backward or 1.0
    for layer in timing.layers:
        flops = [f"{x:.1f}" if x else "" for x in (layer.forward_gflops, layer.backward_gflops)]
        share = 100 * (layer.forward + layer.backward) / whole
        times = (f"{layer.forward * 1e3:.3f}", f"{layer.backward * 1e3:.3f}")
        table.add_row(layer.name, layer.type, *times, f"{share:.1f}", *flops)
    sums = (f"{timing.forward * 1e3:.3f}", f"{timing.backward * 1e3:.3f}")
    table.add_row("total", "", *sums, "100.0", "", "", style="bold")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
