"""The headline table and the summary of studies whose truth is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchbrew.analysis.findings import find
from batchbrew.analysis.headline import Row, headline
from batchbrew.analysis.load import load
from batchbrew.analysis.records import StudyData
from batchbrew.analysis.summary import sentences
from batchbrew.analysis.theory.statistics import steps

Make = Callable[..., Path]
CLEAN = {"censored": (), "diverged": (), "missing": ()}


def row_of(study: StudyData, batch: int, nodes: int) -> Row:
    return next(r for r in headline(study).rows if (r.group.batch, r.group.nodes) == (batch, nodes))


def test_the_base_is_one_node_at_its_best_batch(study: StudyData) -> None:
    head = headline(study)
    assert head.base.startswith("1 node, global batch 64, lr rule linear, sync: 43.2 s [")
    assert "(median of 5 runs; the same parallel program on the fewest nodes, at its best batch)" in head.base
    assert [(r.group.batch, r.group.nodes) for r in head.rows if r.is_base] == [(64, 1)]
    assert len(head.rows) == 18


def test_measured_and_predicted_speedups_find_the_truth(study: StudyData, truth: Any) -> None:
    row = row_of(study, 256, 4)
    system = truth.step(256, 1) / truth.step(256, 4)
    assert row.same_batch is not None and row.same_batch.paired
    assert row.same_batch.value == pytest.approx(system, rel=0.02)
    goal = truth.step(64, 1) * float(steps(64, 400, 300)) / (truth.step(256, 4) * float(steps(256, 400, 300)))
    assert row.theory == pytest.approx(goal, rel=0.05)
    assert row.speedup is not None and row.speedup.value == pytest.approx(goal, rel=0.1)
    assert row.efficiency == pytest.approx(row.speedup.value / 4)
    assert row.rate_speedup == pytest.approx((256 / truth.step(256, 4)) / (64 / truth.step(64, 1)), rel=0.02)
    assert row.lr == pytest.approx(0.008)
    assert row.node_seconds == pytest.approx(4 * row.seconds.value)


def test_misses_and_open_runs_show(study: StudyData) -> None:
    censored, diverged, missing = (row_of(study, *cell) for cell in ((1024, 1), (1024, 4), (32, 4)))
    assert (censored.reached.count, censored.reached.total) == (4, 5)
    assert (diverged.reached.count, diverged.reached.total) == (4, 5)
    assert (missing.reached.total, missing.planned) == (4, 5)
    view = headline(study).view()
    last = {(cells[0], cells[1]): cells[-1] for cells in view.rows}
    assert last["1024", "1"] == "4 of 5"
    assert last["32", "4"] == "4 of 4, 1 open"


def test_a_cell_that_mostly_missed_has_no_time(make_study: Make) -> None:
    missed = tuple((64, 2, s) for s in (1, 2))
    folder = make_study(batches=(64,), nodes=(1, 2), seeds=(1, 2, 3), **(CLEAN | {"censored": missed}))
    row = row_of(load(folder), 64, 2)
    assert math.isinf(row.seconds.value)
    assert row.speedup is not None and row.speedup.value == 0
    assert "not reached" in headline(load(folder)).view().rows[1]
    assert headline(load(folder)).table().records()[1]["seconds_to_target"] is None


def test_weak_scaling_is_said_and_compared_by_batch_a_node(make_study: Make) -> None:
    folder = make_study(scaling="weak", batches=(64,), nodes=(1, 2), seeds=(1, 2), **CLEAN)
    head = headline(load(folder))
    assert head.scaling == "weak scaling (fixed batch per node)"
    assert "same batch a node" in head.view().columns
    row = next(r for r in head.rows if r.group.nodes == 2)
    assert row.group.batch == 128
    assert row.same_batch is not None and row.same_batch.value == row.speedup.value  # type: ignore[union-attr]


def test_without_a_target_throughput_is_compared(make_study: Make, truth: Any) -> None:
    folder = make_study(target=None, batches=(64,), nodes=(1, 2), seeds=(1, 2), time_noise=0.0, **CLEAN)
    head = headline(load(folder))
    assert "3200 samples/s" in head.base and head.target == "no target set"
    row = next(r for r in head.rows if r.group.nodes == 2)
    assert row.speedup is not None and row.speedup.value == pytest.approx(truth.step(64, 1) / truth.step(64, 2))
    assert row.theory == pytest.approx(row.speedup.value, rel=0.02)
    assert "without a target set, speed is compared" in sentences(load(folder))[0]


def test_a_study_without_calibration_has_no_theory(make_study: Make) -> None:
    folder = make_study(batches=(64,), nodes=(1, 2), seeds=(1, 2), calibrate=False, **CLEAN)
    assert math.isnan(row_of(load(folder), 64, 2).theory)


def test_runs_that_are_not_comparable_get_a_note_instead_of_a_ratio(make_study: Make) -> None:
    folder = make_study(batches=(64,), nodes=(1, 2), seeds=(1, 2), **CLEAN)
    path = folder / "runs" / "b64-n2-s2-linear" / "record.jsonl"
    first, *rest = path.read_text().splitlines()
    header = json.loads(first)
    header["spec"]["comparable"] = "other"
    path.write_text("\n".join([json.dumps(header), *rest]) + "\n")
    head = headline(load(folder))
    assert [row.speedup for row in head.rows] == [None, None]
    assert head.notes and head.notes[0].startswith("runs b64-n1-s1-linear and b64-n2-s2-linear are not comparable")


def test_the_summary_says_what_and_how_sure(study: StudyData) -> None:
    found = sentences(study)
    assert 3 <= len(found) <= 5
    text = " ".join(found)
    assert "CIFAR10_quick on generated reached accuracy 0.7 in 43.2 s on 1 node with a global batch of 64" in text
    assert "The fastest case, 4 nodes with a global batch of 128" in text
    assert "95 % interval [" in text
    assert "critical batch of about" in text
    assert "which explains the measurement" in text
    assert "89 of 90 planned runs have finished, 87 of these reached the target, 1 diverged" in text


def test_the_summary_of_nothing_says_so(make_study: Make) -> None:
    cells = tuple((64, 1, s) for s in (1, 2))
    folder = make_study(batches=(64,), nodes=(1,), seeds=(1, 2), **(CLEAN | {"missing": cells}))
    found = sentences(load(folder))
    assert found == ["None of the 2 planned runs has finished yet, so nothing can be said so far."]


def test_an_interval_over_one_is_no_speedup(make_study: Make) -> None:
    """With the times of seeds far apart and one cell barely faster, the summary must not claim a speedup."""
    folder = make_study(batches=(64, 80), nodes=(1,), seeds=(1, 2, 3), seed_noise=0.5, **CLEAN)
    text = " ".join(sentences(load(folder)))
    assert "these runs do not establish a speedup" in text or "No other case was faster" in text


def test_findings_hold_the_constants_of_the_simulation(study: StudyData, truth: Any) -> None:
    found = find(study)
    assert found.compute is not None and found.allreduce is not None
    assert (found.compute.a, found.compute.c) == pytest.approx((truth.a, truth.c), rel=0.02)
    assert found.allreduce.algorithm == "ring"
    assert (found.allreduce.alpha, found.allreduce.beta) == pytest.approx((truth.alpha, truth.beta), rel=0.03)
    fit = found.hyperbolas["linear", "sync"]
    assert (fit.s_min, fit.b_crit) == pytest.approx((truth.s_min, truth.b_crit), rel=0.1)
    assert (fit.runs, fit.censored) == (30, 1), "runs on more nodes are not counted again"


def test_warnings_name_what_to_beware_of(make_study: Make) -> None:
    settings = {"batches": (64,), "nodes": (1, 2), "seeds": (1, 2, 3, 4)}
    trouble = {"censored": ((64, 1, 1),), "diverged": ((64, 1, 2),), "missing": ((64, 2, 1),), "running": ((64, 2, 2),)}
    folder = make_study(**settings, **trouble, environment={"oversubscribed": True, "git": {"sha": "1", "dirty": True}})
    text = "\n".join(find(load(folder)).warnings)
    assert "7 of 8 runs were oversubscribed (more threads than cores)" in text
    assert "1 of 8 runs not finished (running or interrupted): b64-n2-s2-linear" in text
    assert "1 of 8 runs not started: b64-n2-s1-linear" in text
    assert "1 of 8 runs diverged" in text
    assert "1 of 8 runs ended without reaching the target (censored): b64-n1-s1-linear" in text
    assert "as few as 2 finished runs in a cell" in text
    assert "uncommitted changes" in text


def test_different_machines_are_named(make_study: Make) -> None:
    folder = make_study(batches=(64,), nodes=(1,), seeds=(1, 2), **CLEAN)
    path = folder / "runs" / "b64-n1-s2-linear" / "record.jsonl"
    path.write_text(path.read_text().replace("Simulated CPU @ 2.0 GHz", "Other CPU").replace('"alpha"', '"beta"'))
    text = "\n".join(find(load(folder)).warnings)
    assert "different processors: Other CPU; Simulated CPU @ 2.0 GHz" in text
    assert "different hosts: ['alpha']; ['beta']" in text
