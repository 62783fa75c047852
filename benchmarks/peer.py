"""Measure PyTorch's training steps on request (see worker.py); DistributedDataParallel where WORLD_SIZE is over 1.

A step: gradients to none, forward, cross entropy, backward, SGD with momentum and weight decay, on one fixed batch.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from peer_nets import NETS
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from worker import measure, peak_bytes, serve, settle

RANK, RANKS = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))


class Case:
    """One net at one batch, in one layout."""

    def __init__(self, net: str, shape: tuple[int, ...], batch: int, layout: str, seconds: float) -> None:
        torch.manual_seed(0)
        form = getattr(torch, layout)
        model = NETS[net]().to(memory_format=form)
        # The fused update is the fastest that PyTorch has on a processor.
        self.update = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=0.004, fused=True)
        self.model = DistributedDataParallel(model) if RANKS > 1 else model
        self.images = torch.randn(batch, *shape).to(memory_format=form)
        self.labels = torch.randint(0, 10, (batch,))
        self.expected = settle(self.run, seconds)

    def run(self, count: int) -> list[float]:
        """Make ``count`` steps; return the seconds of each, on all ranks those of rank 0."""
        times = []
        for _ in range(count):
            start = perf_counter()
            self.update.zero_grad(set_to_none=True)
            F.cross_entropy(self.model(self.images), self.labels).backward()
            self.update.step()
            times.append(perf_counter() - start)
        if RANKS > 1:
            shared = [times]
            dist.broadcast_object_list(shared)
            times = shared[0]
        return times


cases = lru_cache(maxsize=2)(Case)  # both layouts of the batch that is measured


def answer(request: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(request["threads"])
    seconds = request["seconds"]
    case = cases(request["net"], tuple(request["shape"]), request["batch"], request["layout"], seconds)
    case.expected = measure(case.run, seconds, case.expected)
    return {"seconds": case.expected, "peak_bytes": peak_bytes()}


if __name__ == "__main__":
    if RANKS > 1:
        dist.init_process_group("gloo")
    serve(sys.stdin, answer, RANK, RANKS)
    if RANKS > 1:
        dist.destroy_process_group()
