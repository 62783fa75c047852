"""Real ranks: the same training on any number of them, and nothing that hangs."""

from __future__ import annotations

import re
import signal
import time

import numpy as np
import pytest
from runner_support import here, lines, losses, new_folder, outputs, summary, values

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory):
    folder = new_folder(tmp_path_factory.mktemp("one") / "run")
    here(folder)
    return folder


@pytest.mark.parametrize(("count", "accumulate"), [(2, 1), (3, 2), (5, 4)])
def test_losses_are_the_same_on_any_number_of_ranks(ranks, one_rank, count, accumulate):
    folder = ranks.folder("run", nodes=count, accumulate=accumulate)
    ranks.run(folder, count)
    np.testing.assert_allclose(losses(folder), losses(one_rank), rtol=1e-5)
    for ours, theirs in zip(outputs(folder), outputs(one_rank), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    np.testing.assert_allclose(values(folder), values(one_rank), rtol=1e-4, atol=1e-6)
    segment = lines(folder, "segment")[0]
    assert segment["nodes"] == count
    assert sum(segment["shares"]) == 12
    assert set(segment["accounts"]) == {"data", "compute", "reduce", "wait", "update"}
    assert sum(segment["accounts"].values()) == pytest.approx(segment["seconds"], rel=0.9)


def test_empty_shares_take_part(ranks, one_rank):
    """Four nodes and a batch of three: one node computes nothing in every update."""
    folder = ranks.folder("run", nodes=4, batch=3, stop={"updates": 20})
    ranks.run(folder, 4)
    alone = new_folder(ranks.root / "alone", batch=3, stop={"updates": 20})
    here(alone)
    assert lines(folder, "segment")[0]["shares"] == [1, 1, 1, 0]
    np.testing.assert_allclose(losses(folder), losses(alone), rtol=1e-5)


def test_an_exception_on_one_rank_ends_the_job_and_names_the_rank(ranks):
    folder = ranks.folder("run", nodes=3, stop={"updates": 100000}, segment_updates=1000)
    begin = time.monotonic()
    process = ranks.start(folder, 3, BREW_FAULT="raise:1:5")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert re.search(r"batchbrew: node 1 on \S+ failed:\nTraceback", err)
    assert "RuntimeError: the injected fault" in err
    started = min((folder.path / ".lock").stat().st_ctime, time.time())
    assert time.time() - started < 5
    assert time.monotonic() - begin < 20


def test_a_users_error_on_one_rank_is_one_line(ranks):
    folder = ranks.folder("run", nodes=2, stop={"updates": 100000})
    err = ranks.run(folder, 2, code=2, BREW_FAULT="refuse:1:5")
    assert err.count("batchbrew: error:") == 1
    assert "batchbrew: error: node 1: the injected refusal\n" in err
    assert "Traceback" not in err


def test_a_refusal_known_to_all_is_reported_once(ranks):
    folder = ranks.folder("run", nodes=3)
    err = ranks.run(folder, 2, code=2)
    assert err.count("batchbrew: error:") == 1
    assert "wants 3 nodes, but its world has 2 (mpi4py uses Open MPI" in err
    assert "Traceback" not in err


def test_divergence_is_a_result_not_a_crash(ranks):
    folder = ranks.folder("run", nodes=2)
    ranks.run(folder, 2, BREW_FAULT="nan:1:9")
    assert summary(folder)["outcome"] == "diverged"
    assert summary(folder)["update"] == 8
    assert np.isfinite(values(folder)).all()


def test_drifting_parameters_are_fatal(ranks):
    folder = ranks.folder("run", nodes=3)
    err = ranks.run(folder, 3, code=1, BREW_FAULT="drift:2:3")
    assert "DriftError: update 10: the parameters of node 2 differ from node 0's" in err


@pytest.mark.parametrize("after", [2, 1])
def test_killed_and_resumed_on_the_same_and_on_another_number_of_ranks(ranks, one_rank, after):
    folder = ranks.folder("run", nodes=2, checkpoint_every_samples=60)
    process = ranks.start(folder, 2, BREW_FAULT="kill:1:24")
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert folder.status() == "interrupted"
    if after == 2:
        ranks.run(folder, 2)
        assert [line["event"] for line in lines(folder, "event")].count("resume") == 1
        whole = ranks.folder("whole", nodes=2)
        ranks.run(whole, 2)
        np.testing.assert_array_equal(values(folder), values(whole))  # bit for bit
        return
    from batchbrew.runner.start import file_digest

    path = folder.path / "state.h5"
    start = {"start": str(path), "start_kind": "snapshot", "start_digest": file_digest(path)}
    rest = new_folder(ranks.root / "rest", **start)
    here(rest)
    np.testing.assert_allclose(values(rest), values(one_rank), rtol=1e-4, atol=1e-6)


def test_a_terminated_launcher_ends_the_ranks(ranks):
    folder = ranks.folder("run", nodes=2, stop={"updates": 10**7}, segment_updates=10**6)
    process = ranks.start(folder, 2)
    while not folder.record.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode != 0
    assert folder.status() == "interrupted"
