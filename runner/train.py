"""The one training loop: evaluate if due, decide, save if due, run a segment.

Rank 0 decides from its history and broadcasts; no other rank's clock or number enters a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from batchbrew.runner import checkpoint, stopping
from batchbrew.runner.cadence import crossed, shortest, updates_to
from batchbrew.runner.evaluate import evaluate
from batchbrew.runner.folder import RunFolder
from batchbrew.runner.history import History
from batchbrew.runner.job import Job
from batchbrew.runner.ledger import Ledger
from batchbrew.runner.nodeset import NodeSet
from batchbrew.runner.record import Recorder
from batchbrew.runner.strategies import Strategy, Sums
from batchbrew.runner.summary import summarize


class Plan(NamedTuple):
    """What rank 0 decided: save now, end now, or make so many updates."""

    save: bool
    snapshot: bool
    verdict: stopping.Verdict | None
    updates: int


class Listener:
    """Is told what happens, on rank 0; the base class does nothing with it."""

    def update(self, iteration: int, loss: float, outputs: Mapping[str, float], rate: float) -> None:
        """Take note of one update (Caffe's iteration ``iteration``)."""

    def evaluation(self, update: int, outputs: dict[str, float]) -> None:
        """Take note of an evaluation."""

    def snapshot(self, model: Path, state: Path) -> None:
        """Take note of a snapshot in Caffe's format."""

    def end(self, summary: dict[str, Any]) -> None:
        """Take note of the end."""


@dataclass
class Run:
    """A job with everything around it. ``recorder`` is None on all ranks but 0, which alone keep a history.

    ``snapshot`` writes Caffe-format files of the present state; it is called on rank 0.
    """

    job: Job
    nodes: NodeSet
    strategy: Strategy
    folder: RunFolder
    recorder: Recorder | None
    history: History
    ledger: Ledger = field(default_factory=Ledger)
    listener: Listener = field(default_factory=Listener)
    snapshot: Callable[[], None] | None = None
    saved_samples: int = 0
    start_samples: int = 0

    @property
    def rules(self) -> dict[str, stopping.StopRule]:
        """Return the stopping rules of the run."""
        return stopping.rules_for(self.job.spec)

    def note(self, kind: str, **fields: Any) -> None:
        """Write a line to the record and take it into the history (rank 0; nothing elsewhere)."""
        if self.recorder is not None:
            position = {"update": self.job.solver.iter, "samples": self.job.samples}
            trained = {"train_seconds": self.history.train_seconds}
            self.history.absorb(self.recorder.write(kind, **(position | trained | fields)))


def train(run: Run) -> dict[str, Any] | None:
    """Train until a stopping rule ends the run; return the summary on rank 0, None elsewhere."""
    world = run.nodes.world
    run.start_samples = run.saved_samples = run.job.samples
    run.job.on_update = run.listener.update if run.recorder is not None else None
    while True:
        if world.bcast(run.recorder is not None and _evaluation_due(run)):
            _evaluate(run)
        plan = world.bcast(_plan(run) if run.recorder is not None else None)
        assert plan is not None
        if plan.save:
            _save(run)
        if plan.snapshot and run.recorder is not None and run.snapshot is not None:
            with run.ledger.time("save"):
                run.snapshot()
        if plan.verdict is not None:
            return _finish(run, plan.verdict)
        _book(run, run.strategy.run_segment(run.job, run.nodes, plan.updates))


def _evaluation_due(run: Run) -> bool:
    history, spec = run.history, run.job.spec
    if run.job.test_net is None or history.evaluated:
        return False
    if stopping.first_verdict(run.rules, history, limits_only=True) is not None:
        return True
    if not history.evaluations and history.samples == run.start_samples:
        return spec.evaluate_first
    last = history.evaluations[-1].samples if history.evaluations else run.start_samples
    return crossed(last, history.samples, spec.evaluate_every_samples)


def _plan(run: Run) -> Plan:
    history, spec = run.history, run.job.spec
    verdict = stopping.first_verdict(run.rules, history)
    save = verdict is not None or crossed(run.saved_samples, history.samples, spec.checkpoint_every_samples)
    every = spec.snapshot_every_updates
    moved = history.samples > run.start_samples
    snapshot = (verdict is not None and spec.snapshot_after_train) or (
        every is not None and moved and history.update % every == 0
    )
    updates = shortest(
        spec.segment_updates - history.update % spec.segment_updates,
        updates_to(history.samples, spec.evaluate_every_samples, spec.batch),
        updates_to(history.samples, spec.checkpoint_every_samples, spec.batch),
        every - history.update % every if every else None,
        stopping.updates_left(list(run.rules.values()), history),
    )
    return Plan(save, snapshot, verdict, updates)


def _evaluate(run: Run) -> None:
    assert run.job.test_net is not None
    result = evaluate(run.job, run.job.test_net, run.nodes, run.strategy.synchronous)
    run.ledger.add({"evaluate": result.seconds})
    fields = {"outputs": result.outputs, "count": result.count, "seconds": result.seconds, "checksum": result.checksum}
    run.note("evaluation", epoch=run.job.epoch, wall_seconds=run.ledger.wall_seconds, **fields)
    if run.recorder is not None:
        run.recorder.sync()
        run.listener.evaluation(run.job.solver.iter, result.outputs)


def _save(run: Run) -> None:
    begin = perf_counter()
    run.job.net.sync_local(run.nodes.world.allreduce_mean)
    run.saved_samples = run.job.samples
    if run.recorder is None:
        return
    state = checkpoint.capture(run.job)
    state.record_offset = run.recorder.sync()
    state.ledger, state.wall_seconds = run.ledger.totals, run.ledger.wall_seconds
    checkpoint.save(run.folder.path, state)
    seconds = perf_counter() - begin
    run.ledger.add({"save": seconds})
    run.note("event", event="checkpoint", seconds=seconds)


def _book(run: Run, sums: Sums) -> None:
    run.ledger.add(sums.accounts)
    if sums.updates:
        run.note(
            "segment",
            epoch=run.job.epoch,
            updates=sums.updates,
            loss=sums.loss,
            rate=sums.rate,
            seconds=sums.seconds,
            train_seconds=run.history.train_seconds + sums.seconds,
            step_seconds=sums.step_seconds,
            nodes=run.nodes.size,
            shares=sums.shares,
            accounts=sums.accounts,
            overlapped_seconds=sums.overlapped_seconds,
        )
    if sums.diverged:
        run.note("event", event="diverged")


def _finish(run: Run, verdict: stopping.Verdict) -> dict[str, Any] | None:
    if run.recorder is None:
        return None
    summary = summarize(run.job.spec, run.history, run.ledger, verdict)
    run.recorder.write("end", **summary)
    run.recorder.sync()
    run.folder.finish(summary | {"spec": run.job.spec.as_dict()})
    run.listener.end(summary)
    return summary
