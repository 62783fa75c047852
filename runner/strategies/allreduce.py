"""Synchronous data parallelism: the sums of every node added up once per update."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from batchbrew.config import Config
from batchbrew.runner.buckets import Buckets
from batchbrew.runner.engine import Ready, mean_of
from batchbrew.runner.order import Part, cut
from batchbrew.runner.strategies.base import STRATEGIES, Strategy, Sums

if TYPE_CHECKING:
    from batchbrew.runner.job import Job
    from batchbrew.runner.nodeset import NodeSet

# Columns of the clock marks of one update: its begin, then the end of each account; last the seconds of other work
# while a sum was under way.
_BEGIN, _DATA, _COMPUTE, _REDUCE, _UPDATE, _OVERLAPPED = range(6)


@STRATEGIES.register("allreduce")
class Allreduce(Strategy):
    """Sum gradients, statistics and counts over the nodes in one message, then update everywhere alike.

    A node's share is a contiguous slice of the update's slice of the stream, cut again into ``accumulate`` pieces.
    At a fixed global batch the parameters are the same, up to rounding, for any number of nodes and any shares.
    """

    class Options(Config):
        """How the message is sent.

        ``overlap``: in buckets of at least ``bucket_kib`` KiB, each as soon as the backward pass has filled it, instead
        of whole behind it.
        """

        overlap: bool = False
        bucket_kib: int = Field(default=256, ge=1)

    options: Options

    def run_segment(self, job: Job, nodes: NodeSet, updates: int) -> Sums:
        """Make ``updates`` updates."""
        shares = job.shares(nodes.size)
        offset = sum(shares[: nodes.rank])
        pieces = cut(shares[nodes.rank], job.spec.accumulate)
        sums = Sums(shares=shares)
        marks = np.zeros((updates, 6))
        begin = perf_counter()
        coming = _cut_parts(job, job.samples + offset, pieces)
        for number, row in enumerate(marks, 1):
            row[_BEGIN] = perf_counter()
            parts = coming
            coming = _cut_parts(job, job.samples + job.spec.batch + offset, pieces) if number < updates else []
            row[_DATA] = perf_counter()
            job.net.zero_sums()
            fed = job.net.fed_seconds
            if self.options.overlap:
                buckets = Buckets(nodes.world, job.net, 1024 * self.options.bucket_kib)
                _accumulate(job, parts, coming, buckets.ready)
                row[_COMPUTE] = perf_counter() - buckets.inside_seconds
                buckets.finish()
                row[_OVERLAPPED] = buckets.overlapped_seconds
            else:
                _accumulate(job, parts, coming)
                job.net.pack_tail()
                row[_COMPUTE] = perf_counter()
                nodes.world.allreduce_sum(job.net.flat.message)
            row[_REDUCE] = perf_counter()
            row[_DATA] += job.net.fed_seconds - fed
            job.net.unpack_tail()
            if not job.solver.finite():
                sums.diverged = True
                break
            sums.rate = job.rate()
            job.solver.apply(sums.rate)
            row[_UPDATE] = perf_counter()
            job.samples += job.spec.batch
            sums.updates += 1
            sums.losses.append(job.net.mean_loss)
            if job.on_update is not None:
                job.on_update(job.solver.iter - 1, sums.losses[-1], mean_of(job.net.statistics), sums.rate)
        sums.seconds = perf_counter() - begin
        sums.samples = sums.updates * job.spec.batch
        _book(sums, marks[: sums.updates], nodes)
        return sums


def _cut_parts(job: Job, start: int, pieces: list[int]) -> list[Part]:
    """Return this node's micro-batches; one that reaches into the next epoch is two parts."""
    parts: list[Part] = []
    for count in pieces:
        parts += job.indices(start, count)
        start += count
    return parts


def _accumulate(job: Job, parts: list[Part], coming: list[Part], ready: Ready | None = None) -> None:
    """Compute the sums of these parts; the last one, which may be empty, tells ``ready`` what is complete.

    The net hears before each which one follows; behind the last one those ``coming`` in the next update.
    """
    parts = parts or [(0, np.zeros(0, np.int64))]
    for number, (epoch, indices) in enumerate(parts, 1):
        for next_epoch, following in [*parts, *coming][number : number + 1]:
            job.net.expect(following, next_epoch)
        if number < len(parts):
            job.net.accumulate(indices, epoch)
        else:
            job.net.accumulate(indices, epoch, ready)


def _book(sums: Sums, marks: NDArray[np.float64], nodes: NodeSet) -> None:
    """Fill in node 0's step times and the accounts, the mean over the nodes, from the clock marks [updates, 6].

    The last node to arrive at an Allreduce does not wait in it, so the shortest time spent there is the
    transfer; what another node spends beyond that is waiting. Clocks of different nodes are never compared.
    """
    gathered = nodes.world.gather(np.column_stack([np.diff(marks[:, :_OVERLAPPED], axis=1), marks[:, _OVERLAPPED]]))
    if nodes.rank != 0:
        return
    spent = np.stack(gathered)
    data, compute, inside, update = (spent[:, :, i] for i in range(4))
    sums.overlapped_seconds = float(spent[:, :, 4].sum()) / nodes.size
    transfer = inside.min(axis=0)
    seconds = {"data": data, "compute": compute, "reduce": transfer, "wait": inside - transfer, "update": update}
    per_node = {"reduce": 1}
    sums.accounts = {name: float(value.sum()) / per_node.get(name, nodes.size) for name, value in seconds.items()}
    sums.step_seconds = (marks[:, _UPDATE] - marks[:, _BEGIN]).tolist()
