"""The loop on one rank, in this process: what is done when, what is recorded, and going on after a crash."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import runner_standin
from runner_support import here, lines, losses, make_spec, new_folder, outputs, summary, values

from batchbrew.errors import UserError
from batchbrew.runner.history import History
from batchbrew.runner.ledger import ACCOUNTS
from batchbrew.runner.record import read_lines
from batchbrew.runner.spec import Plateau, Stop


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = new_folder(tmp_path_factory.mktemp("reference") / "run")
    here(folder)
    return folder


def plain_sgd(updates: int, batch: int = 12, seed: int = 1) -> np.ndarray:
    """The same training in a few lines: parameters after ``updates`` updates."""
    from batchbrew.runner.order import permutation

    x, y = runner_standin.samples(runner_standin.TRAIN, 1)
    w = np.random.default_rng(seed).normal(scale=0.1, size=(runner_standin.CLASSES, runner_standin.INPUTS))
    h = np.zeros_like(w)
    order = np.concatenate([permutation(seed, epoch, runner_standin.TRAIN) for epoch in range(9)])
    for u in range(updates):
        chosen = order[u * batch : (u + 1) * batch]
        p = np.exp(x[chosen] @ w.T)
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(batch), y[chosen]] -= 1
        h = 0.9 * h + 0.2 * 0.5 ** (u // 40) * (p.T @ x[chosen]) / batch
        w -= h
    return w.ravel()


def test_the_parameters_are_those_of_plain_sgd(reference):
    np.testing.assert_allclose(values(reference), plain_sgd(40), rtol=2e-4, atol=1e-5)


def test_evaluations_come_at_their_samples_first_and_last(reference):
    assert [update for update, _, _ in outputs(reference)] == [0, 10, 20, 30, 40]
    assert all(line["count"] == runner_standin.TEST for line in lines(reference, "evaluation"))


def test_the_first_evaluation_can_be_left_out(tmp_path):
    folder = new_folder(tmp_path / "run", evaluate_first=False, stop=Stop(updates=12))
    here(folder)
    assert [update for update, _, _ in outputs(folder)] == [10, 12]


def test_segments_add_up(reference):
    segments = lines(reference, "segment")
    assert sum(line["updates"] for line in segments) == 40
    assert [line["samples"] for line in segments] == [12 * line["update"] for line in segments]
    assert all(len(line["step_seconds"]) == line["updates"] for line in segments)
    assert all(line["shares"] == [12] and line["nodes"] == 1 for line in segments)
    trained = np.cumsum([line["seconds"] for line in segments])
    np.testing.assert_allclose([line["train_seconds"] for line in segments], trained)
    for line in segments:
        assert sum(line["accounts"].values()) <= line["seconds"]
        assert sum(line["step_seconds"]) == pytest.approx(sum(line["accounts"].values()), rel=1e-6)


def test_header_and_end(reference):
    header, end = lines(reference, "header")[0], lines(reference, "end")[0]
    spec = make_spec()
    assert header["format"] == 1
    assert header["spec"] == spec.as_dict()
    assert header["identity"] == "global 12 = 1 node x 12 x accumulate 1"
    assert header["environment"]["hosts"]
    assert header["environment"]["affinity"][0]
    assert {"batchbrew", "python", "numpy", "kernels", "blas", "cpu", "cores", "git", "command"} <= set(
        header["environment"]
    )
    result = summary(reference)
    assert result.pop("spec") == header["spec"]
    assert result == {key: value for key, value in end.items() if key != "kind"}
    assert (reference.path / "DONE").exists()
    assert result["outcome"] == "updates"
    assert result["reached"] is False
    assert result["update"] == 40
    assert set(result["accounts"]) == set(ACCOUNTS)
    assert result["accounts"]["evaluate"] > 0
    assert result["step_seconds"]["count"] == 38  # two of 40 are warm-up


def test_the_target_ends_the_run_and_is_dated(tmp_path):
    folder = new_folder(tmp_path / "run", target=0.75, stop=Stop(updates=400))
    here(folder)
    result = summary(folder)
    last = lines(folder, "evaluation")[-1]
    assert result["outcome"] == "target"
    assert result["reached"]
    assert last["outputs"]["accuracy"] >= 0.75
    assert result["to_target"] == {
        "update": last["update"], "samples": last["samples"], "seconds": last["train_seconds"],
    }  # fmt: skip
    assert all(line["outputs"]["accuracy"] < 0.75 for line in lines(folder, "evaluation")[:-1])


@pytest.mark.parametrize(
    ("stop", "outcome"),
    [
        (Stop(epochs=1.5), "epochs"),
        (Stop(seconds=0.02), "seconds"),
        (Stop(updates=0), "updates"),
        (Stop(updates=400, plateau=Plateau(patience=1, delta=0.5)), "plateau"),
    ],
)
def test_outcomes(tmp_path, stop, outcome):
    folder = new_folder(tmp_path / "run", stop=stop)
    here(folder)
    result = summary(folder)
    assert result["outcome"] == outcome
    assert outputs(folder)[-1][0] == result["update"]
    if outcome == "epochs":
        assert result["update"] == math.ceil(round(1.5 * runner_standin.TRAIN) / 12)


def test_divergence_ends_before_the_update_with_finite_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("BREW_FAULT", "nan:0:13")
    folder = new_folder(tmp_path / "run")
    here(folder)
    result = summary(folder)
    assert result["outcome"] == "diverged"
    assert result["reason"] == "loss or gradients not finite in update 13"
    assert result["update"] == 12
    np.testing.assert_allclose(values(folder), plain_sgd(12), rtol=2e-4, atol=1e-5)
    assert all("NaN" not in line for line in folder.record.read_text().splitlines())


@pytest.mark.parametrize("update", [1, 6, 9, 11, 25, 39])
def test_a_crash_at_any_update_changes_nothing(tmp_path, monkeypatch, reference, update):
    changes = {"checkpoint_every_samples": 60}
    folder = new_folder(tmp_path / "run", **changes)
    monkeypatch.setenv("BREW_FAULT", f"raise:0:{update}")
    with pytest.raises(RuntimeError, match="injected"):
        here(folder)
    monkeypatch.delenv("BREW_FAULT")
    assert folder.status() == "interrupted"
    here(folder)
    assert outputs(folder) == outputs(reference)  # bit for bit
    np.testing.assert_array_equal(values(folder), values(reference))
    assert [line["update"] for line in lines(folder, "segment")][-1] == 40
    assert sum(line["updates"] for line in lines(folder, "segment")) == 40
    events = [line["event"] for line in lines(folder, "event")]
    assert events.count("resume") == (update > 5)


def test_a_truncated_last_line_is_tolerated(tmp_path, monkeypatch, reference):
    folder = new_folder(tmp_path / "run", checkpoint_every_samples=120)
    monkeypatch.setenv("BREW_FAULT", "raise:0:28")
    with pytest.raises(RuntimeError):
        here(folder)
    monkeypatch.delenv("BREW_FAULT")
    with folder.record.open("ab") as stream:
        stream.write(b'{"kind": "segment", "upda')
    assert folder.status() == "interrupted"
    assert folder.progress()["update"] >= 20
    here(folder)
    assert outputs(folder) == outputs(reference)
    assert all(json.loads(line) for line in folder.record.read_text().splitlines())


def test_warm_up_is_left_out_after_every_start(tmp_path, monkeypatch):
    folder = new_folder(tmp_path / "run", checkpoint_every_samples=120)
    monkeypatch.setenv("BREW_FAULT", "raise:0:28")
    with pytest.raises(RuntimeError):
        here(folder)
    monkeypatch.delenv("BREW_FAULT")
    here(folder)
    assert summary(folder)["step_seconds"]["count"] == 40 - 2 - 2


def test_a_recorded_run_can_be_replayed(reference):
    history = History.of(make_spec())
    for line in read_lines(reference.record):
        history.absorb(line)
    result = summary(reference)
    assert (history.update, history.samples) == (result["update"], result["samples"])
    assert history.train_seconds == result["train_seconds"]
    assert history.best()[0] == result["best"]["accuracy"]


def test_a_finished_run_of_another_spec_is_not_overwritten(reference):
    with pytest.raises(UserError, match=r"holds another run .* use another --out"):
        new_folder(reference.path, seed=9)


def test_an_edited_spec_is_refused(tmp_path):
    folder = new_folder(tmp_path / "run")
    place = folder.path / "spec.json"
    place.write_text(place.read_text().replace('"batch": 12', '"batch": 13'))
    with pytest.raises(UserError, match=r"spec\.json: was changed after the run was planned"):
        here(folder)


def test_one_writer_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("batchbrew.runner.folder.LOCK_PATIENCE_SECONDS", 0.2)
    folder = new_folder(tmp_path / "run")
    with folder.writing():
        folder.record.touch()
        assert folder.status() == "running"
        with pytest.raises(UserError, match="another process is writing this run"):
            here(folder)


def test_the_wrong_number_of_ranks_is_refused(tmp_path):
    folder = new_folder(tmp_path / "run", nodes=2)
    with pytest.raises(UserError, match=r"wants 2 nodes, but its world has 1 .* BATCHBREW_MPIEXEC"):
        here(folder)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_does_not_change_the_losses(tmp_path, reference, accumulate):
    folder = new_folder(tmp_path / "run", accumulate=accumulate)
    here(folder)
    np.testing.assert_allclose(losses(folder), losses(reference), rtol=1e-5)


def test_the_schedule_keeps_its_meaning_at_another_batch(tmp_path):
    """The policy halves the rate every 40 updates of 12 samples: every 20 of 24."""
    folder = new_folder(tmp_path / "run", batch=24, segment_updates=1)
    here(folder)
    rates = [line["rate"] for line in lines(folder, "segment")]
    assert rates == [0.2] * 20 + [0.1] * 20


def test_lr_rule_and_warm_up_reach_the_updates(tmp_path):
    folder = new_folder(
        tmp_path / "run", batch=24, segment_updates=1, lr_rule="linear", lr_base_batch=12, lr_warmup_samples=96,
        stop=Stop(updates=6),
    )  # fmt: skip
    here(folder)
    rates = [line["rate"] for line in lines(folder, "segment")]
    assert rates == pytest.approx([0.2, 0.25, 0.3, 0.35, 0.4, 0.4])
