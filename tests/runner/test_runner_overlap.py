"""The Allreduce in buckets during the backward pass: the same sums as the one behind it, and nothing that hangs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from runner_support import HERE, MPIEXEC, here, lines, losses, new_folder, summary, values

from batchbrew.runner.buckets import Buckets
from batchbrew.runner.launch import environment_for
from batchbrew.runner.world import OneRank

OVERLAP = {"strategy_options": {"overlap": True, "bucket_kib": 1}}


class Recording(OneRank):
    """Notes which pieces of a message of doubles 0, 1, 2, ... are summed, and when it is asked to get on."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []
        self.asked = 0
        self.finished = False

    def begin_sum(self, buffer) -> None:
        self.sent.append((int(buffer[0]), int(buffer[-1]) + 1))

    def advance_sums(self) -> None:
        self.asked += 1

    def finish_sums(self) -> None:
        self.finished = True


class Net:
    """A message of 1000 gradients and a tail of 4 behind them."""

    def __init__(self) -> None:
        self.flat = self
        self.message = np.arange(1004.0)
        self.packed = 0

    def pack_tail(self) -> None:
        self.packed += 1


@pytest.mark.parametrize(
    ("least", "sent"),
    [
        (1, [(900, 1004), (500, 900), (450, 500), (0, 450)]),
        (8 * 104, [(900, 1004), (500, 900), (0, 500)]),
        (8 * 105, [(500, 1004), (0, 500)]),
        (8 * 600, [(0, 1004)]),
        (1 << 20, [(0, 1004)]),
    ],
)
def test_ranges_are_merged_up_to_the_least_size(least, sent):
    world, net = Recording(), Net()
    buckets = Buckets(world, net, least)
    for start, stop in [(900, 1000), (500, 900), (450, 500), (0, 450)]:
        buckets.ready(start, stop)
    assert world.sent == sent
    assert (net.packed, world.asked, world.finished) == (1, 4, False)
    buckets.finish()
    assert world.sent == sent
    assert (net.packed, world.finished) == (1, True)
    assert buckets.inside_seconds > 0
    assert buckets.overlapped_seconds > 0


def test_a_net_without_gradients_still_sends_its_tail():
    world, net = Recording(), Net()
    buckets = Buckets(world, net, 1)
    buckets.finish()
    assert (world.sent, net.packed) == ([(0, 1004)], 1)
    assert buckets.overlapped_seconds == 0


@pytest.mark.parametrize("accumulate", [1, 4])
def test_one_rank_trains_the_same_bits(tmp_path, accumulate):
    plain, overlapped = (
        new_folder(tmp_path / name, accumulate=accumulate, **options)
        for name, options in (("plain", {}), ("overlapped", OVERLAP))
    )
    here(plain)
    here(overlapped)
    assert losses(overlapped) == losses(plain)
    np.testing.assert_array_equal(values(overlapped), values(plain))


@pytest.mark.mpi
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_buckets_change_nothing_on_a_real_net(count):
    if not MPIEXEC.exists():
        pytest.skip("no mpiexec in this environment")
    start = [str(MPIEXEC), "-n", str(count), sys.executable, "-m", "mpi4py"] if count > 1 else [sys.executable]
    done = subprocess.run(
        [*start, str(HERE / "overlap_ranks.py")], env=environment_for(1, count > 1), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{count} ranks agree\n"


@pytest.mark.mpi
@pytest.mark.parametrize(("count", "batch", "accumulate"), [(2, 12, 1), (3, 13, 2), (4, 3, 1)])
def test_training_is_the_same(ranks, count, batch, accumulate):
    folder = ranks.folder("run", nodes=count, batch=batch, accumulate=accumulate, **OVERLAP)
    ranks.run(folder, count)
    alone = new_folder(ranks.root / "alone", batch=batch)
    here(alone)
    np.testing.assert_allclose(losses(folder), losses(alone), rtol=1e-5)
    np.testing.assert_allclose(values(folder), values(alone), rtol=1e-4, atol=1e-5)  # the stand-in sums in float32
    segment = lines(folder, "segment")[0]
    assert sum(segment["accounts"].values()) == pytest.approx(segment["seconds"], rel=0.9)
    assert segment["overlapped_seconds"] >= 0


@pytest.mark.mpi
def test_divergence_on_one_rank_ends_the_run_on_all(ranks):
    folder = ranks.folder("run", nodes=2, **OVERLAP)
    ranks.run(folder, 2, BREW_FAULT="nan:1:9")
    assert (summary(folder)["outcome"], summary(folder)["update"]) == ("diverged", 8)
    assert np.isfinite(values(folder)).all()


@pytest.mark.mpi
def test_an_exception_during_the_backward_pass_ends_the_job(ranks):
    folder = ranks.folder("run", nodes=3, stop={"updates": 100000}, segment_updates=1000, **OVERLAP)
    err = ranks.run(folder, 3, code=1, limit=20, BREW_FAULT="raise:1:5")
    assert "RuntimeError: the injected fault" in err
