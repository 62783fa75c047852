"""The contract of a strategy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchbrew.config import Config
from batchbrew.registry import Registry

if TYPE_CHECKING:
    from batchbrew.runner.job import Job
    from batchbrew.runner.nodeset import NodeSet


@dataclass
class Sums:
    """What a segment did. Counts, losses and rates are equal on all nodes; times are complete on node 0 only.

    ``losses`` and ``step_seconds`` have one entry an update. ``accounts`` are seconds in this segment, the mean over
    the nodes; for ``overlapped_seconds`` of compute and data, also the mean, sums were under way. ``diverged``: the
    sums of the update after the last counted one were not finite; the parameters are those before it.
    """

    updates: int = 0
    samples: int = 0
    losses: list[float] = field(default_factory=list)
    rate: float = 0.0
    seconds: float = 0.0
    step_seconds: list[float] = field(default_factory=list)
    accounts: dict[str, float] = field(default_factory=dict)
    overlapped_seconds: float = 0.0
    shares: list[int] = field(default_factory=list)
    diverged: bool = False

    @property
    def loss(self) -> float:
        """Return the mean training loss per sample (all batches of a segment are equally large)."""
        return sum(self.losses) / len(self.losses) if self.losses else float("nan")


class Strategy(ABC):
    """Say how nodes compute and exchange within a segment, the updates between two decision points.

    To add one: a file in ``runner/strategies/`` with a class entered by ``@STRATEGIES.register("name")``; studies
    choose it by ``strategy: name`` or ``strategy: {name: name, option: value}``.

    Set:
        ``Options`` - a frozen ``Config`` subclass with the options users may give (default: none);
        ``synchronous`` - whether all nodes hold equal parameters at every decision point; the checksum of the
        parameters is then compared at every evaluation and a difference ends the run.

    Implement:
        :meth:`run_segment`. It is called by all nodes with the same arguments. It makes ``updates`` updates (fewer
        only on divergence), advances ``job.samples`` and ``job.solver.iter``, and returns drained and consistent: no
        message under way, and the state complete on node 0, which writes checkpoints. Which samples an update uses
        comes from ``job.indices`` (never from a rank's own counter), the learning rate from ``job.rate()``. Sums are
        reduced, never means: the solver divides by the global count once. No ``if`` on local data may surround a
        collective. Non-finite sums end the segment *before* the update that would use them.

    Example, one node that ignores all others::

        @STRATEGIES.register("alone")
        class Alone(Strategy):
            synchronous = False

            def run_segment(self, job, nodes, updates):
                for _ in range(updates):
                    job.net.zero_sums()
                    for epoch, indices in job.indices(job.samples, job.spec.batch):
                        job.net.accumulate(indices, epoch)
                    job.solver.apply(job.rate())
                    job.samples += job.spec.batch
                return Sums(updates=updates, samples=updates * job.spec.batch)
    """

    class Options(Config):
        """No options."""

    synchronous: bool = True

    def __init__(self, options: Config) -> None:
        self.options = options

    @abstractmethod
    def run_segment(self, job: Job, nodes: NodeSet, updates: int) -> Sums:
        """Make ``updates`` updates and return their sums."""


STRATEGIES: Registry[type[Strategy]] = Registry("strategy")
