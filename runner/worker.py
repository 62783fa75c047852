"""One rank of one run: build the job, take up the saved state, train, and report errors so that nothing hangs."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from batchbrew.errors import UserError
from batchbrew.runner import convolutions, environment, pinning, start
from batchbrew.runner.build import Built, build, statistics_batch
from batchbrew.runner.caffe_log import CaffeLog
from batchbrew.runner.folder import RunFolder
from batchbrew.runner.history import History
from batchbrew.runner.job import identity
from batchbrew.runner.ledger import Ledger
from batchbrew.runner.nodeset import FixedNodes, NodeSet
from batchbrew.runner.record import Recorder, read_lines
from batchbrew.runner.strategies import STRATEGIES
from batchbrew.runner.train import Listener, Run, train
from batchbrew.runner.world import World

T = TypeVar("T")
Builder = Callable[[RunFolder, Any], Built]


class RefusedError(UserError):
    """A UserError that all ranks know of: rank 0 reports it, and all end in order."""


def together(world: World, step: Callable[[], T]) -> T:
    """Run ``step`` on all ranks; where it raised UserError on any, raise RefusedError with the first text on all."""
    result, problem = None, None
    try:
        result = step()
    except UserError as error:
        problem = str(error)
    found = [(rank, text) for rank, text in enumerate(world.gather(problem)) if text is not None]
    first = world.bcast(found[0] if found else None)
    if first is not None:
        rank, text = first
        raise RefusedError(text if rank == 0 else f"node {rank}: {text}")
    return result  # type: ignore[return-value]


def work(path: Path, world: World, log: str = "quiet", builder: Builder = build) -> dict[str, Any] | None:
    """Do (or finish) the run of the folder ``path``; return the summary on rank 0."""
    folder = RunFolder(path)
    with ExitStack() as held:
        spec = together(world, folder.spec)
        check_size(world, spec.nodes)
        together(world, lambda: environment.check_cores(world, spec))
        if world.rank == 0:
            together(world, lambda: held.enter_context(folder.writing()))
        else:
            together(world, lambda: None)
        built = together(world, lambda: builder(folder, spec))
        run = _prepare(folder, built, FixedNodes(world), log)
        try:
            return train(run)
        finally:
            if run.recorder is not None:
                run.recorder.close()


def _prepare(folder: RunFolder, built: Built, nodes: NodeSet, log: str) -> Run:
    """Take up the saved state, open the record and write its head."""
    world, job = nodes.world, built.job
    spec = job.spec
    found = together(world, lambda: start.take_up(folder, built, world))
    about = environment.collect(world, spec.threads)
    about["pinned"] = pinning.pin(world, spec)
    about["convolutions"] = convolutions.settle(
        built.nets, world, recorded(folder) if found.state is not None else None
    )
    strategy_class = STRATEGIES.get(spec.strategy)
    strategy = strategy_class(strategy_class.Options.model_validate(spec.strategy_options))
    history = History.of(spec)
    run = Run(job, nodes, strategy, folder, None, history)
    if world.rank != 0:
        return run
    state = found.state
    if state is not None:
        for line in read_lines(folder.record, state.record_offset):
            history.absorb(line)
        run.ledger = Ledger(state.ledger, state.wall_seconds)
    run.recorder = Recorder(folder.record, state.record_offset if state is not None else 0)
    run.listener = (
        CaffeLog(built.solver_param, built.net["name"], built.net["loss_weights"]) if log == "caffe" else Listener()
    )
    run.snapshot = start.snapshot_writer(built, run.listener)
    special = statistics_batch(job, nodes.size)
    if state is None:
        run.recorder.write(
            "header",
            format=1,
            run_id=spec.run_id,
            spec=spec.as_dict(),
            identity=identity(spec.batch, job.shares(nodes.size), spec.accumulate),
            net=built.net,
            dataset=built.dataset,
            environment=about,
            statistics_batch=special,
            started=datetime.now().astimezone().isoformat(timespec="seconds"),
        )
    event = "resume" if state is not None else "start"
    run.note("event", event=event, nodes=nodes.size, hosts=about["hosts"], git=about["git"])
    if state is not None and log != "quiet":
        say(f"note: going on from update {state.update}")
    if special is not None:
        layers = ", ".join(special["layers"][:3]) + (", ..." if len(special["layers"]) > 3 else "")
        say(f"note: {layers} take statistics over {special['batch']} samples at once, not over the global batch")
    return run


def recorded(folder: RunFolder) -> dict[str, Any]:
    """Return what the head of the record says of the algorithms for convolutions."""
    header = next(read_lines(folder.record), {})
    return dict(header.get("environment", {}).get("convolutions", {}))


def check_size(world: World, wanted: int) -> None:
    """Raise RefusedError unless the world has as many ranks as the run wants nodes."""
    if world.size == wanted:
        return
    library = "no MPI launcher was found in the environment"
    if world.size > 1 or "mpi4py.MPI" in sys.modules:
        from mpi4py import MPI

        library = f"mpi4py uses {MPI.Get_library_version().split(',')[0].strip()}"
    raise RefusedError(
        f"this run wants {wanted} nodes, but its world has {world.size} ({library}): use the mpiexec of that MPI "
        "(set BATCHBREW_MPIEXEC)"
    )


def say(text: str) -> None:
    """Write one line to stderr at once."""
    sys.stderr.write(f"batchbrew: {text}\n")
    sys.stderr.flush()


def main(path: Path, world: World, log: str, builder: Builder = build) -> int:
    """Be one rank of the run in the folder ``path``; return the exit code."""
    return guarded(world, lambda ranks: work(path, ranks, log, builder))


def guarded(world: World, task: Callable[[World], object]) -> int:
    """Run ``task`` as one rank of a job and return its exit code: 0, 1 for a crash, 2 for a user's error.

    A refusal known to all ranks is reported once. Anything else that happens to one rank alone ends all ranks at
    once, with the rank and its host in the text, because the others would wait for it for ever.
    """
    try:
        task(world)
    except RefusedError as error:
        if world.rank == 0:
            say(f"error: {error}")
        world.barrier()
        return 2
    except UserError as error:
        say(f"error: {error}" if world.size == 1 else f"error: node {world.rank}: {error}")
        world.abort(2)
    except KeyboardInterrupt:
        return 130
    except Exception:
        say(f"node {world.rank} on {world.host} failed:\n{traceback.format_exc().rstrip()}")
        world.abort(1)
    return 0
