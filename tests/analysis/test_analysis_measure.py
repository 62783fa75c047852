"""Speedups with intervals, censoring, and the refusal to compare what is not comparable."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from batchbrew.analysis import measure
from batchbrew.analysis.intervals import (
    bootstrap,
    bootstrap_ratio,
    delta_error,
    fieller,
    median_ranks,
    percentile,
    repetitions,
    wilson,
)
from batchbrew.analysis.load import load
from batchbrew.analysis.records import Run
from batchbrew.errors import UserError

Make = Callable[..., Path]
SMALL = {"batches": (64,), "nodes": (1, 2), "seeds": (1, 2, 3, 4, 5), "censored": (), "diverged": (), "missing": ()}
T_1, T_8 = np.array([100.0, 102, 98, 101, 99]), np.array([16, 17, 15.5, 16.5, 16])


def by_nodes(folder: Path) -> tuple[list[Run], list[Run]]:
    runs = load(folder).runs
    return [run for run in runs if run.nodes == 1], [run for run in runs if run.nodes == 2]


def test_ratios_cv_9_3() -> None:
    means, medians = measure.ratio(T_1, T_8, "mean"), measure.ratio(T_1, T_8)
    assert means.value == pytest.approx(6.17284, rel=1e-5)
    assert medians.value == pytest.approx(6.25)
    assert delta_error(T_1, T_8) == pytest.approx(0.106502, rel=1e-5)
    assert means.fieller is not None and means.interval is not None
    assert (means.fieller.low, means.fieller.high) == pytest.approx((5.93509, 6.42687), rel=1e-5)
    assert (means.interval.low, means.interval.high) == pytest.approx((5.99, 6.36), abs=0.02)
    assert means.warnings == ("5 runs on one side: with fewer than 8 the bootstrap interval is too narrow",)


def test_intervals_are_the_same_at_every_call() -> None:
    assert bootstrap_ratio(T_1, T_8) == bootstrap_ratio(T_1, T_8)


def test_bootstrap_covers_a_known_ratio() -> None:
    """95 % intervals of 40 simulated pairs of 12 runs contain the true ratio 4 at least 34 times."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(40):
        over, under = 8 * np.exp(0.1 * rng.standard_normal(12)), 2 * np.exp(0.1 * rng.standard_normal(12))
        found = bootstrap_ratio(over, under, draws=1000)
        assert found is not None
        hits += found.low <= 4 <= found.high
    assert hits >= 34


def test_pairs_by_seed_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    seeds = np.exp(0.3 * rng.standard_normal(9))
    over, under = 8 * seeds, 2 * seeds * np.exp(0.01 * rng.standard_normal(9))
    paired, apart = (bootstrap_ratio(over, under, "mean", paired=p) for p in (True, False))
    assert paired is not None and apart is not None
    assert paired.high - paired.low < 0.2 * (apart.high - apart.low)
    exact = fieller(over, under, paired=True)
    assert exact is not None and exact.low < 4 < exact.high and exact.high - exact.low < 0.3


def test_fieller_is_open_when_the_divisor_may_be_zero() -> None:
    found = fieller([5, 6, 7], [-1, 1, 0.5])
    assert found is not None and (found.low, found.high) == (0.0, math.inf)
    assert fieller([5], [1, 2]) is None
    assert fieller([5, math.inf], [1, 2]) is None


def test_medians_treat_misses_as_infinity() -> None:
    few = measure.estimate([1.0, 2.0, math.inf])
    most = measure.estimate([1.0, math.inf, math.inf])
    assert (few.value, most.value) == (2.0, math.inf)
    assert few.interval is not None and few.interval.high == math.inf


def test_an_undefined_draw_widens_the_interval() -> None:
    found = percentile([1.0] * 50 + [math.nan] * 50)
    assert (found.low, found.high) == (-math.inf, math.inf)
    both = bootstrap_ratio([1.0, math.inf], [1.0, math.inf])
    assert both is not None and (both.low, both.high) == (0.0, math.inf)


def test_one_value_has_no_interval() -> None:
    assert bootstrap([1.0]) is None
    assert measure.ratio(T_1[:1], T_8).interval is None
    assert "one run on one side: no interval can be given" in measure.ratio(T_1[:1], T_8).warnings


def test_wilson_cv_5_4_and_edges() -> None:
    found = wilson(7500, 10_000)
    assert (found.low, found.high) == pytest.approx((0.741418, 0.758390), abs=1e-6)
    assert wilson(0, 5).low == 0 and wilson(5, 5).high == 1
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)


def test_median_ranks_cv_9_2() -> None:
    found = median_ranks(20)
    assert found is not None and found[:2] == (6, 15)
    assert found[2] == pytest.approx(0.958611, abs=1e-6)
    assert median_ranks(4) is None, "four values cannot enclose a median with 95 %"


def test_repetitions_cv_9_1() -> None:
    assert repetitions(0.05, 0.01) == 97


def test_times_of_a_simulated_study(make_study: Make) -> None:
    one, two = by_nodes(make_study(**SMALL, time_noise=0.0))
    found = measure.speedup(one, two)
    truth = (4e-3 + 2.5e-4 * 64) / (4e-3 + 2.5e-4 * 32 + 2 * 60e-6 + 582_312 * 1.5e-9)
    assert found.paired
    assert found.value == pytest.approx(truth, rel=1e-9)
    assert found.interval is not None and found.interval.low == pytest.approx(found.interval.high)
    assert measure.speedup(one, two, "updates").value == 1.0
    assert measure.step_seconds(one[0]) == pytest.approx(0.02)
    assert measure.samples_per_second(one[0]) == pytest.approx(3200)


def test_misses_enter_a_speedup(make_study: Make) -> None:
    one, two = by_nodes(make_study(**(SMALL | {"censored": ((64, 2, 1), (64, 2, 2)), "diverged": ((64, 2, 3),)})))
    found = measure.speedup(one, two)
    assert found.value == 0.0, "most runs on two nodes never arrive"
    assert any("3 of 10 runs missed the target" in warning for warning in found.warnings)
    got = measure.reached(two)
    assert (got.count, got.total) == (2, 5)


def test_unfinished_runs_do_not_count(make_study: Make) -> None:
    _, two = by_nodes(make_study(**(SMALL | {"running": ((64, 2, 1),), "missing": ((64, 2, 2),)})))
    assert measure.values(two).size == 3
    assert measure.reached(two).total == 3


def test_step_times_of_a_run_that_has_not_finished_come_from_its_segments(make_study: Make) -> None:
    one, _ = by_nodes(make_study(**(SMALL | {"running": ((64, 1, 1),)}), time_noise=0.0))
    assert measure.step_seconds(one[0]) == pytest.approx(0.02)
    assert math.isnan(measure.to_target(one[0]))


def test_accounts_leave_the_warm_up_out(make_study: Make) -> None:
    one, _ = by_nodes(make_study(**SMALL, time_noise=0.0))
    found = measure.account_seconds(one[0])
    assert sum(found.values()) == pytest.approx(0.02)
    assert found["compute"] == pytest.approx(0.86 * 0.02)


def test_runs_that_are_not_comparable_are_refused(make_study: Make) -> None:
    folder = make_study(**SMALL)
    path = folder / "runs" / "b64-n2-s3-linear" / "record.jsonl"
    first, *rest = path.read_text().splitlines()
    header = json.loads(first)
    header["spec"] |= {"comparable": "other", "target": 0.8}
    path.write_text("\n".join([json.dumps(header), *rest]) + "\n")
    with pytest.raises(UserError) as caught:
        measure.speedup(*by_nodes(folder))
    assert str(caught.value) == (
        "runs b64-n1-s1-linear and b64-n2-s3-linear are not comparable (they differ in target); "
        "form ratios only between runs with the same data, net, target, evaluation and threads"
    )


def test_labels_say_what_is_held_fixed() -> None:
    assert measure.scaling_label("strong") == "strong scaling (fixed global batch)"
    assert measure.scaling_label("weak") == "weak scaling (fixed batch per node)"
