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
    from batchbrew.solver.roofline import Machine
    from batchbrew.solver.timing import PassTime, Timing

_PATH = click.Path(path_type=Path)
COLUMNS = [(f"{way}\nms", "GFLOP/s", "GB/s", "% of\nlimit") for way in ("forward", "backward")]
SHORT = {"FMA": "FMA", "memory": "mem"}


@click.command()
@click.option("--model", type=_PATH, help="Net prototxt.")
@click.option("--weights", help="Trained .caffemodel to use instead of the fillers.")
@click.option("--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="Passes to average over.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads that share the work. [default: 1]")
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"]), default="TRAIN", show_default=True)
@click.option("--synthetic", is_flag=True, help="Put made-up samples in the place of the net's data.")
@click.option("--shape", help="C,H,W of the made-up pictures, where the net does not say it.")
@click.option("--batch", type=click.IntRange(min=1), help="Samples of a made-up batch. [default: the net's]")
@state_flags
def time(**given: Any) -> None:
    """Time every layer of a net, forward and backward, over whole batches."""
    from batchbrew.solver.roofline import measure_machine
    from batchbrew.solver.timing import time_layers, warm_up

    options = Options(**given)
    needed(options.model, "a model definition to time", "model")
    if (options.shape or options.batch) and not options.synthetic:
        raise UserError("--shape and --batch are for made-up samples: add --synthetic")
    use_cpu(options.gpu)
    net = _net(options)
    machine = measure_machine(net.kernels, seconds, net.threads)
    log("caffe.cpp:355", "Performing Forward")
    log("caffe.cpp:360", f"Initial loss: {number(warm_up(net))}")
    log("caffe.cpp:361", "Performing Backward")
    log("caffe.cpp:369", "*** Benchmark begins ***")
    log("caffe.cpp:370", f"Testing for {options.iterations} iterations.")

    def tell(iteration: int, spent: float) -> None:
        log("caffe.cpp:406", f"Iteration: {iteration} forward-backward time: {number(spent * 1e3)} ms.")

    timing = time_layers(net, options.iterations, seconds, tell)
    _lines(timing)
    _table(timing, net.name or str(options.model), machine)


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    model: Path | None
    weights: str | None
    iterations: int
    threads: int | None
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
    from batchbrew.runner.convolutions import measured, use
    from batchbrew.solver.load import read_net_file
    from batchbrew.solver.snapshot import load_weights
    from batchbrew.solver.synthetic import synthesize

    file = read_net_file(str(options.model))
    if options.synthetic:
        synthesize(file.param, str(options.model), _shape(options.shape), options.batch)
    phase = pb.TRAIN if options.phase == "TRAIN" else pb.TEST
    net = file.build(phase, level=options.level, stages=stages(options.stage), threads=options.threads)
    use([net], measured([net]))
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
        log("caffe.cpp:415", f"{layer.name:>10}\tforward: {number(layer.forward.seconds * 1e3)} ms.")
        log("caffe.cpp:418", f"{layer.name:>10}\tbackward: {number(layer.backward.seconds * 1e3)} ms.")
    total = sum(timing.iterations)
    log("caffe.cpp:424", f"Average Forward pass: {number(timing.forward * 1e3)} ms.")
    log("caffe.cpp:426", f"Average Backward pass: {number(timing.backward * 1e3)} ms.")
    log("caffe.cpp:428", f"Average Forward-Backward: {number(total / len(timing.iterations) * 1e3)} ms.")
    log("caffe.cpp:430", f"Total Time: {number(total * 1e3)} ms.")
    log("caffe.cpp:431", "*** Benchmark ends ***")


def _table(timing: Timing, title: str, machine: Machine | None) -> None:
    """Print the same as a table, with operations and bytes a second, and how near they are to the machine's limit."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("layer", max_width=26, no_wrap=True)
    table.add_column("type", max_width=16, no_wrap=True)
    for heading in ("% of\ntime", *COLUMNS[0], *COLUMNS[1]):
        table.add_column(heading, justify="right")
    whole = timing.forward + timing.backward or 1.0
    for layer in timing.layers:
        share = 100 * (layer.forward.seconds + layer.backward.seconds) / whole
        cells = (*_cells(layer.forward, machine), *_cells(layer.backward, machine))
        table.add_row(layer.name, layer.type, f"{share:.1f}", *cells)
    forward, backward = (f"{1e3 * spent:.3f}" for spent in (timing.forward, timing.backward))
    table.add_row("total", "", "100.0", forward, "", "", "", backward, style="bold")
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    if machine is not None:
        console.print(_limits(machine), highlight=False, soft_wrap=True)


def _cells(spent: PassTime, machine: Machine | None) -> tuple[str, str, str, str]:
    """Return milliseconds, GFLOP/s, GB/s and the share of the nearer limit; what there is none of is empty."""
    limit = spent.limit(machine) if machine is not None else None
    return (
        f"{1e3 * spent.seconds:.3f}",
        f"{spent.gflops:.1f}" if spent.flops else "",
        f"{spent.gigabytes:.1f}" if spent.bytes else "",
        f"{100 * limit.share:.0f} {SHORT[limit.name]}" if limit is not None else "",
    )


def _limits(machine: Machine) -> str:
    """Return what the shares are shares of."""
    (small, fast), (large, slow) = machine.bandwidths[0], machine.bandwidths[-1]
    return (
        f"limits of {machine.threads} {'thread' if machine.threads == 1 else 'threads'} ({machine.kernels}), measured: "
        f"FMA {1e-9 * machine.flops:.0f} GFLOP/s; mem(ory) {1e-9 * fast:.0f} GB/s for {small >> 10} KiB "
        f"to {1e-9 * slow:.0f} GB/s for {large >> 20} MiB"
    )
