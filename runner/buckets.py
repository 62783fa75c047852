"""The sum of one update's message over the nodes, begun piece by piece while the backward pass still runs."""

from __future__ import annotations

from time import perf_counter

from batchbrew.runner.engine import NetLike
from batchbrew.runner.world import World


class Buckets:
    """Sums ``net.flat.message`` in buckets of at least ``least_bytes``, from its end to its begin, as they fill.

    Call ``ready`` from the backward pass and ``finish`` behind it. A bucket closes where a range of gradients ends, so
    all nodes have the same ones; the tail, complete before the first range, goes with the first. Source: Li et al.,
    "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020, section 3.2.
    """

    def __init__(self, world: World, net: NetLike, least_bytes: int) -> None:
        self._world, self._net, self._least_bytes = world, net, least_bytes
        self._message = net.flat.message
        self._unsent = len(self._message)  # what lies behind it has been sent
        self._left = 0.0  # when the last call returned
        self.inside_seconds = 0.0  # spent here: sending, testing, waiting
        self.overlapped_seconds = 0.0  # spent elsewhere while a sum was under way

    def ready(self, start: int, stop: int) -> None:
        """Take note that ``message[start:stop]`` is complete."""
        begin = self._enter()
        self._world.advance_sums()
        if start == 0 or self._message[start : self._unsent].nbytes >= self._least_bytes:
            self._send(start)
        self._leave(begin)

    def finish(self) -> None:
        """Send what is left, and wait until the whole message is the sum."""
        begin = self._enter()
        if self._unsent:
            self._send(0)
        self._world.finish_sums()
        self._leave(begin)

    def _send(self, start: int) -> None:
        if self._unsent == len(self._message):
            self._net.pack_tail()
        self._world.begin_sum(self._message[start : self._unsent])
        self._unsent = start

    def _enter(self) -> float:
        begin = perf_counter()
        if self._unsent < len(self._message):
            self.overlapped_seconds += begin - self._left
        return begin

    def _leave(self, begin: float) -> None:
        self._left = perf_counter()
        self.inside_seconds += self._left - begin
