"""The promise about trajectories, on the real engine: 20 updates of cifar10_quick, the same however they are computed.

Real ranks, real SIGKILLs. The pictures are random; batch 30 does not divide by most of the rank counts.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from batchbrew.solver.data.dataset import Part, write_dataset

NETDEFS = Path(__file__).resolve().parents[2] / "netdefs"
UPDATES = 20
pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a small data set and a solver that moves the parameters enough for differences to show."""
    folder = tmp_path_factory.mktemp("trajectory")
    rng = np.random.default_rng(5)
    train, test = (
        Part(rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.int32))
        for n in (250, 40)
    )
    write_dataset(folder / "pictures.h5", "pictures", tuple("abcdefghij"), train, test)
    (folder / "solver.prototxt").write_text(
        f'net: "{NETDEFS / "cifar10_quick.prototxt"}" base_lr: 0.01 lr_policy: "step" gamma: 0.5 stepsize: 8 '
        f"momentum: 0.9 weight_decay: 0.004 max_iter: {UPDATES} display: 1 solver_mode: CPU"
    )
    return folder


def command(home, out, nodes, *options):
    return [
        sys.executable, "-m", "batchbrew", "train", "--solver", str(home / "solver.prototxt"),
        "--data", str(home / "pictures.h5"), "--batch", "30", "--max-updates", str(UPDATES), "--nodes", str(nodes),
        "--oversubscribe", "--log", "quiet", "--out", str(out), *options,
    ]  # fmt: skip


def trained(home, name, nodes, *options):
    out = home / name
    done = subprocess.run(command(home, out, nodes, *options), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return out


def records(out, kind):
    lines = (out / "record.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def checkpointed(out):
    """Return the update of the last checkpoint in a record that is being written."""
    path = out / "record.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return max(
        (json.loads(line)["update"] for line in lines if '"checkpoint"' in line and '"event"' in line), default=0
    )


def losses(out):
    """Loss by update; a resumed run begins later."""
    return {record["update"]: record["loss"] for record in records(out, "segment")}


def values(out):
    with h5py.File(out / "state.h5") as file:
        return file["values"][...]


def assert_same(out, whole):
    theirs = losses(whole)
    for update, loss in losses(out).items():
        assert loss == pytest.approx(theirs[update], rel=1e-4), update
    expected = values(whole)
    np.testing.assert_allclose(values(out), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def whole(home):
    out = trained(home, "whole", 1)
    assert list(losses(out)) == list(range(1, UPDATES + 1))
    return out


@pytest.mark.parametrize(("nodes", "accumulate"), [(1, 2), (1, 4), (2, 1), (2, 4), (3, 1), (3, 2), (5, 1)])
def test_any_number_of_ranks_and_pieces(home, whole, nodes, accumulate):
    assert_same(trained(home, f"n{nodes}a{accumulate}", nodes, "--accumulate", str(accumulate)), whole)


@pytest.mark.parametrize(("nodes", "threads"), [(1, 2), (1, 3), (2, 2)])
def test_any_number_of_threads(home, whole, nodes, threads):
    out = trained(home, f"n{nodes}t{threads}", nodes, "--threads", str(threads))
    if nodes == 1:
        np.testing.assert_array_equal(values(out), values(whole))
        assert losses(out) == losses(whole)
    assert_same(out, whole)
    about = records(out, "header")[0]["environment"]
    cores = len(os.sched_getaffinity(0))
    assert about["threads"] == threads
    assert [len(own) for own in about["pinned"]] == [threads if nodes * threads <= cores else 0] * nodes


def test_the_same_configuration_gives_the_same_bits(home, whole):
    again = trained(home, "again", 1)
    np.testing.assert_array_equal(values(again), values(whole))
    assert losses(again) == losses(whole)


def kill_all(out):
    """SIGKILL the command, its launcher and all ranks at once: whoever has the run's folder on its command line."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(out).encode() in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the ranks through /proc")
@pytest.mark.parametrize(("before", "kill_after", "after"), [(2, 1, 3), (1, 7, 2), (3, 12, 1), (2, 18, 5)])
def test_killed_and_resumed_at_another_size(home, whole, before, kill_after, after):
    out = home / f"killed{kill_after}"
    process = subprocess.Popen(command(home, out, before, "--checkpoint-every", "1"), stderr=subprocess.PIPE)
    limit = time.monotonic() + 60
    while checkpointed(out) < kill_after:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.002)
    kill_all(out)
    process.communicate(timeout=20)
    with h5py.File(out / "state.h5") as file:
        reached = int(file.attrs["update"])
    assert kill_after <= reached
    rest = trained(home, f"rest{kill_after}", after, "--snapshot", str(out / "state.h5"))
    assert min(losses(rest), default=UPDATES) == min(reached + 1, UPDATES)
    assert_same(rest, whole)
