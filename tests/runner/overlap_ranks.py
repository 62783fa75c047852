"""One rank of a comparison: the same updates with the message sent whole and in buckets, on a small real net.

``python -m mpi4py overlap_ranks.py``, run on any number of ranks by test_runner_overlap.py.
"""

from __future__ import annotations

import sys

import numpy as np

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.runner.job import Job
from batchbrew.runner.nodeset import FixedNodes
from batchbrew.runner.spec import RunSpec, Stop
from batchbrew.runner.strategies.allreduce import Allreduce
from batchbrew.runner.world import World, find_world
from batchbrew.solver.data.part import Part
from batchbrew.solver.net import Net
from batchbrew.solver.solvers import make_solver

COUNT, UPDATES = 37, 4
NET = """
layer { name: "data" type: "Data" top: "data" top: "label" data_param { batch_size: 12 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "a" type: "InnerProduct" bottom: "conv" top: "a" inner_product_param {
  num_output: 20 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param {
  num_output: 20 weight_filler { type: "xavier" } } }
layer { name: "c" type: "InnerProduct" bottom: "b" top: "c" inner_product_param {
  num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "c" bottom: "label" top: "accuracy" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }
"""


def run(world: World, batch: int, accumulate: int, poisoned: int | None = None, **options):
    """Return the sums of a run of some updates, each update's summed message, and the parameters at the end.

    The learning rate is 0, so that a difference in one update's last bit does not grow in the next.
    """
    draw = np.random.default_rng(1)
    images = draw.normal(size=(COUNT, 2, 8, 8)).astype(np.float32)
    if poisoned is not None:
        images[poisoned] = np.nan
    part = Part(images, draw.integers(0, 4, COUNT).astype(np.int32))
    net = Net(text.parse(NET, pb.NetParameter), pb.TRAIN, data=part, seed=1, chunk=3)
    solver = make_solver(pb.SolverParameter(base_lr=0.0, lr_policy="fixed", momentum=0.9), net)
    spec = RunSpec(
        study="s", net="n", solver="s", data="d", net_digest="", solver_digest="", data_digest="", train_samples=COUNT,
        test_samples=0, batch=batch, nodes=world.size, accumulate=accumulate, base_lr=0.0, schedule_batch=batch,
        shuffle=False, stop=Stop(updates=UPDATES),
    )  # fmt: skip
    messages: list[np.ndarray] = []
    job = Job(spec, net, solver, on_update=lambda *_: messages.append(net.flat.message.copy()))
    sums = Allreduce(Allreduce.Options(**options)).run_segment(job, FixedNodes(world), UPDATES)
    return sums, messages, net.flat.values.copy()


def compare(world: World, batch: int, accumulate: int, kib: int) -> None:
    """Assert that buckets change nothing: no bit with up to two ranks, nothing but rounding with more."""
    whole, wanted, _ = run(world, batch, accumulate)
    parts, found, _ = run(world, batch, accumulate, overlap=True, bucket_kib=kib)
    assert (parts.updates, parts.shares) == (whole.updates, whole.shares) == (UPDATES, whole.shares)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-12)
    for ours, theirs in zip(found, wanted, strict=True):
        if world.size <= 2:
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max())
        assert len(set(world.gather(ours.tobytes()))) <= 1  # all ranks hold the same bits
    if world.rank == 0:
        assert set(parts.accounts) == set(whole.accounts)
        assert all(seconds >= 0 for seconds in parts.accounts.values())
        assert 0 <= parts.overlapped_seconds <= parts.accounts["compute"] + parts.accounts["data"]
        assert whole.overlapped_seconds == 0


def diverge(world: World) -> None:
    """Assert that a picture that is not finite, met by one rank in the second update, ends the segment before it."""
    for options in ({}, {"overlap": True, "bucket_kib": 1}):
        sums, messages, values = run(world, 12, 1, poisoned=15, **options)
        assert (sums.diverged, sums.updates, len(messages)) == (True, 1, 1)
        assert np.isfinite(values).all()


def main() -> None:
    world = find_world()
    for batch, accumulate, kib in [(12, 1, 1), (12, 1, 8), (12, 1, 100), (7, 2, 1), (3, 1, 1), (1, 3, 1), (30, 2, 1)]:
        compare(world, batch, accumulate, kib)
    diverge(world)
    world.barrier()
    if world.rank == 0:
        sys.stdout.write(f"{world.size} ranks agree\n")


if __name__ == "__main__":
    main()
