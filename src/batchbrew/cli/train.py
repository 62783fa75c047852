"""``batchbrew train``: one run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from batchbrew.cli import as_caffe as caffe_loop
from batchbrew.cli import show
from batchbrew.cli.caffe_flags import state_flags
from batchbrew.errors import UserError
from batchbrew.runner import launch, start, worker
from batchbrew.runner.balance import BALANCERS
from batchbrew.runner.build import validate
from batchbrew.runner.folder import RunFolder
from batchbrew.runner.job import identity
from batchbrew.runner.plan import TrainOptions, TrainPlan, plan_train
from batchbrew.runner.progress import bar
from batchbrew.runner.study_run import outcome_line
from batchbrew.runner.world import World, find_world, under_mpi

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
LOGS = ("auto", "bar", "caffe", "quiet")
_LOG_HELP = "A progress bar, Caffe's log lines, or neither; auto: a bar on a terminal, else lines."


@click.command()
@click.option("--solver", type=_PATH, required=True, help="Solver prototxt.")
@click.option("--nodes", type=_COUNT, default=1, show_default=True, help="MPI ranks.")
@click.option("--threads", type=_COUNT, default=1, show_default=True, help="Threads of each rank.")
@click.option("--batch", type=_COUNT, help="Global batch: samples per update over all nodes. [default: the net's]")
@click.option("--accumulate", type=_COUNT, help="Pieces of a node's share. [default: iter_size]")
@click.option("--data", help="Data set: a name or a path. [default: the net's source]")
@click.option("--out", type=_PATH, help="Folder of the run. [default: runs/<run id>]")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of weights and order. [default: random_seed, or 1]")
@click.option("--snapshot", type=_PATH, help="Go on from a .solverstate or a state.h5.")
@click.option("--weights", help="Begin with the weights of a .caffemodel.")
@click.option("--target", help="Stop when reached: accuracy=0.7 or loss=0.9.")
@click.option("--max-updates", type=_COUNT, help="Stop after so many updates. [default: from max_iter]")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Stop after so many epochs.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds of training.")
@click.option("--checkpoint-every", type=_COUNT, help="Updates between checkpoints. [default: one epoch]")
@click.option("--oversubscribe", is_flag=True, help="Allow more nodes than cores.")
@click.option("--log", type=click.Choice(LOGS), default="auto", show_default=True, help=_LOG_HELP)
@click.option("--no-pin", is_flag=True, help="Do not keep each of several threads on a core of its own.")
@click.option("--no-shuffle", is_flag=True, help="Use the samples in the order of the file.")
@click.option("--as-caffe", is_flag=True, help="Run Caffe's own loop in one process; only Caffe's files are written.")
@click.option("--sigint-effect", default="stop", show_default=True, help="Of Caffe's loop: stop, snapshot or none.")
@click.option("--sighup-effect", default="snapshot", show_default=True, help="Of Caffe's loop, as above.")
@state_flags
def train(log: str, no_shuffle: bool, no_pin: bool, as_caffe: bool, **given: Any) -> int:
    """Train one net, on one or several nodes; repeated, it goes on from the last checkpoint.

    --level, --stage, --sigint-effect and --sighup-effect are of Caffe's own loop and ask for it, as --as-caffe does.
    """
    own = {name: given.pop(name) for name in ("gpu", "level", "stage", "sigint_effect", "sighup_effect")}
    if caffe_loop.wanted(as_caffe, own):
        caffe_loop.refuse_foreign(given)
        shared = {name: given[name] for name in ("solver", "snapshot", "weights", "seed")}
        return caffe_loop.train(caffe_loop.CaffeOptions(**shared, **own))
    if log == "auto":
        log = "bar" if sys.stderr.isatty() else "caffe"
    out = given.pop("out")
    given["weights"] = Path(given["weights"]) if given["weights"] is not None else None
    options = TrainOptions(shuffle=not no_shuffle, pin=not no_pin, **given)
    if under_mpi():
        return _as_rank(options, out, log)
    plan = plan_train(options)
    launch.check_cores(options.nodes, plan.spec.threads, options.oversubscribe)
    if options.nodes > 1:
        launch.find_mpiexec()
    folder = _prepare(plan, out, log)
    if folder.done:
        return 0
    arguments = ["worker", str(folder.path), "--log", log]
    with bar(plan.spec, folder.record, "training") if log == "bar" else show.nothing() as tick:
        code = launch.launch(options.nodes, plan.spec.threads, arguments, options.oversubscribe, tick)
    if code == 0 and log != "quiet":
        click.echo(f"{outcome_line(plan.spec, folder.summary() or {})}; {folder.path}")
    return code


def _prepare(plan: TrainPlan, out: Path | None, log: str) -> RunFolder:
    """Check the run's net, write its folder and say what will be done; a finished run is said to be finished."""
    built = validate(plan.sources, plan.spec)
    start.begin(built)  # a snapshot that does not fit is refused before anything is written
    folder = RunFolder(out if out is not None else Path("runs") / plan.spec.run_id)
    folder.create(plan.spec, plan.sources.texts)
    if folder.done:
        summary = folder.summary() or {}
        click.echo(f"{folder.path} is finished: {outcome_line(plan.spec, summary)} (another --out trains again)")
    elif log != "quiet":
        show.net_table(built.net)
        for note in plan.notes:
            click.echo(f"note: {note}")
        spec = plan.spec
        shares = BALANCERS.get(spec.balancer)().shares(spec.batch, [1.0] * spec.nodes)
        click.echo(f"{identity(spec.batch, shares, spec.accumulate)}; run {spec.run_id} in {folder.path}")
    return folder


def _as_rank(options: TrainOptions, out: Path | None, log: str) -> int:
    """Be one of the ranks a launcher started with this very command: rank 0 plans for all."""
    world = find_world()

    def prepare() -> RunFolder | None:
        if world.rank != 0:
            return None
        if options.nodes not in (1, world.size):
            raise UserError(f"--nodes {options.nodes}, but there are {world.size} ranks: leave it out")
        return _prepare(plan_train(replace(options, nodes=world.size)), out, log)

    def task(ranks: World) -> None:
        folder = ranks.bcast(worker.together(ranks, prepare))
        if folder is not None and not ranks.bcast(folder.done):
            worker.work(folder.path, ranks, log)

    return worker.guarded(world, task)
