"""One run while it runs: the spec, the engine and the position in the stream of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from batchbrew.runner import lr_rules, order
from batchbrew.runner.balance import BALANCERS
from batchbrew.runner.engine import NetLike, SolverLike
from batchbrew.runner.spec import RunSpec

# (iteration, loss and outputs of its batch, learning rate), called by rank 0 after each update.
OnUpdate = Callable[[int, float, Mapping[str, float], float], None]


@dataclass
class Job:
    """What a strategy works on. ``samples`` is the position in the stream: all there is to know about the data."""

    spec: RunSpec
    net: NetLike
    solver: SolverLike
    test_net: NetLike | None = None
    samples: int = 0
    on_update: OnUpdate | None = None
    speeds: list[float] = field(default_factory=list)

    @property
    def epoch(self) -> float:
        """Return how often the training set has been passed through."""
        return self.samples / self.spec.train_samples

    def rate(self) -> float:
        """Return the learning rate of the next update: the solver's policy at this progress times the lr rule.

        The policy counts in updates of ``schedule_batch`` samples, the batch its step values were written for.
        """
        spec = self.spec
        scaled = lr_rules.factor(
            spec.lr_rule, spec.batch, spec.lr_base_batch, spec.lr_warmup_samples, samples=self.samples
        )
        return self.solver.rate(self.samples // spec.schedule_batch) * scaled

    def shares(self, nodes: int) -> list[int]:
        """Return how many samples of the next update each of ``nodes`` nodes takes."""
        speeds = self.speeds or [1.0] * nodes
        return BALANCERS.get(self.spec.balancer)().shares(self.spec.batch, speeds)

    def indices(self, start: int, count: int) -> list[order.Part]:
        """Return the samples at the stream positions [start, start + count)."""
        spec = self.spec
        return order.batch_indices(spec.seed, start, count, spec.train_samples, spec.shuffle)


def identity(batch: int, shares: list[int], accumulate: int) -> str:
    """Return how the global batch is cut, in one line.

    >>> identity(256, [64, 64, 64, 64], 2)
    'global 256 = 4 nodes x 32 x accumulate 2'
    >>> identity(100, [34, 33, 33], 1)
    'global 100 = 34 + 33 + 33 on 3 nodes, accumulate 1'
    """
    nodes = len(shares)
    if len(set(shares)) == 1 and shares[0] % accumulate == 0:
        name = "node" if nodes == 1 else "nodes"
        return f"global {batch} = {nodes} {name} x {shares[0] // accumulate} x accumulate {accumulate}"
    return f"global {batch} = {' + '.join(map(str, shares))} on {nodes} nodes, accumulate {accumulate}"
