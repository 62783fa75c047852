"""The test set, counted once over all nodes, and the check that all nodes hold the same parameters."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from batchbrew.runner.engine import NetLike
from batchbrew.runner.job import Job
from batchbrew.runner.nodeset import NodeSet
from batchbrew.runner.order import cut


@dataclass(frozen=True)
class Result:
    """Mean outputs over exactly all test samples, the same on every node."""

    outputs: dict[str, float]
    count: int
    seconds: float
    checksum: str


class DriftError(RuntimeError):
    """Nodes hold different parameters though the strategy keeps them equal: nothing after this can be trusted."""


def evaluate(job: Job, test_net: NetLike, nodes: NodeSet, synchronous: bool) -> Result:
    """Evaluate the present parameters, test samples split over the nodes and sums added up.

    Rank-local statistics (BatchNorm's running means) are averaged over the nodes before. Raises DriftError if
    ``synchronous`` and the checksums of the parameters differ.
    """
    begin = perf_counter()
    job.net.sync_local(nodes.world.allreduce_mean)
    counts = cut(job.spec.test_samples, nodes.size)
    start = sum(counts[: nodes.rank])
    test_net.zero_sums()
    test_net.evaluate(np.arange(start, start + counts[nodes.rank], dtype=np.int64))
    names = list(test_net.statistics)
    sums = np.array([test_net.statistics[name] for name in names], np.float64).reshape(len(names), 2)
    nodes.world.allreduce_sum(sums)
    outputs = {name: float(total / max(count, 1.0)) for name, (total, count) in zip(names, sums, strict=True)}
    checksum = _common_checksum(job, nodes, synchronous)
    return Result(outputs, job.spec.test_samples, perf_counter() - begin, checksum)


def _common_checksum(job: Job, nodes: NodeSet, synchronous: bool) -> str:
    checksums = nodes.world.gather(job.net.flat.checksum())
    problem = None
    if synchronous and len(set(checksums)) > 1:
        others = [str(rank) for rank, value in enumerate(checksums) if value != checksums[0]]
        problem = f"update {job.solver.iter}: the parameters of node {', '.join(others)} differ from node 0's"
    problem = nodes.world.bcast(problem)
    if problem is not None:
        raise DriftError(problem)
    return nodes.world.bcast(checksums[0] if checksums else "")
