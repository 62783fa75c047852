"""Fits find the constants that made their data."""

from __future__ import annotations

import numpy as np
import pytest

from batchbrew.analysis.fit import fit_allreduce, fit_amdahl, fit_compute, fit_hockney, nonnegative_pair
from batchbrew.analysis.hyperbola import fit_hyperbola
from batchbrew.analysis.theory import communication, laws, statistics

BATCHES = np.array([32, 64, 128, 256, 512, 1024])


def test_hockney_cv_3_2() -> None:
    fit = fit_hockney([1024, 65536, 1048576], [58.192e-6, 574.288e-6, 8438.608e-6])
    assert fit.alpha == pytest.approx(50e-6, rel=1e-6)
    assert fit.beta == pytest.approx(8e-9, rel=1e-6)
    assert (fit.n_half, fit.bandwidth) == pytest.approx((6250, 125e6), rel=1e-6)


def test_hyperbola_cv_4_5() -> None:
    fit = fit_hyperbola(BATCHES, statistics.steps(BATCHES, 1000, 500), np.zeros(6), np.zeros(6))
    assert fit is not None
    assert fit.s_min == pytest.approx(1000, rel=1e-6)
    assert fit.b_crit == pytest.approx(500, rel=1e-6)
    assert fit.e_min == pytest.approx(500_000, rel=1e-6)
    assert not fit.at_edge and fit.b_crit_interval is None, "one seed gives no interval"


@pytest.mark.parametrize(("s_min", "b_crit"), [(10, 60), (5000, 2000), (300, 150)])
def test_hyperbola_of_noisy_seeds(s_min: float, b_crit: float) -> None:
    rng = np.random.default_rng(5)
    batches, seeds = np.repeat(BATCHES, 8), np.tile(np.arange(8), 6)
    updates = statistics.steps(batches, s_min, b_crit) * np.exp(0.05 * rng.standard_normal(48))
    fit = fit_hyperbola(batches, updates, seeds, np.zeros(48))
    assert fit is not None and fit.b_crit_interval is not None and fit.s_min_interval is not None
    assert fit.b_crit == pytest.approx(b_crit, rel=0.15)
    assert fit.s_min_interval.low < s_min < fit.s_min_interval.high
    assert fit.b_crit_interval.low < fit.b_crit < fit.b_crit_interval.high
    assert fit.error == pytest.approx(0.05, rel=0.4)
    assert (fit.band_low < fit.band_high).all()


def test_a_censored_run_pulls_up_but_not_down() -> None:
    updates = statistics.steps(BATCHES, 1000, 500)
    missed = np.array([0, 0, 0, 0, 0, 1])
    silent = fit_hyperbola(BATCHES, np.append(updates[:5], 700), np.zeros(6), missed)
    pulling = fit_hyperbola(BATCHES, np.append(updates[:5], 3000), np.zeros(6), missed)
    assert silent is not None and pulling is not None
    assert silent.b_crit == pytest.approx(500, rel=1e-6), "it had not come as far as the curve expects"
    assert float(statistics.steps(1024, pulling.s_min, pulling.b_crit)) > updates[5] * 1.05
    assert silent.censored == 1


def test_a_hyperbola_needs_three_batches_that_reached() -> None:
    assert fit_hyperbola([32, 64, 128], [9, 8, 7], [1, 1, 1], [0, 0, 1]) is None


def test_data_of_one_regime_say_so() -> None:
    perfect = fit_hyperbola(BATCHES, 1e6 / BATCHES, np.zeros(6), np.zeros(6))
    flat = fit_hyperbola(BATCHES, np.full(6, 100.0), np.zeros(6), np.zeros(6))
    assert perfect is not None and flat is not None
    assert perfect.at_edge and flat.at_edge


def test_sfo_constant_is_found() -> None:
    fit = fit_hyperbola(BATCHES, statistics.sfo_steps(BATCHES, 100, 20), np.zeros(6), np.zeros(6))
    assert fit is not None and fit.sfo_c2 == pytest.approx(20, rel=1e-3)


def test_compute_fit_is_exact_on_exact_data() -> None:
    fit = fit_compute([1, 8, 64], [[2e-3 + 1e-3 * b] for b in (1, 8, 64)])
    assert fit is not None
    assert (fit.a, fit.c, fit.b_half) == pytest.approx((2e-3, 1e-3, 2.0), rel=1e-9)
    assert fit.a_interval is None and fit.error < 1e-12


def test_compute_fit_minds_relative_errors() -> None:
    """A 10 % slip of the largest batch must not swamp the fixed cost, as it would in plain least squares."""
    batches = [1, 4, 16, 64, 256, 1024]
    times = [2e-3 + 1e-3 * b for b in batches]
    times[-1] *= 1.1
    fit = fit_compute(batches, [[t] for t in times])
    assert fit is not None and fit.a == pytest.approx(2e-3, rel=0.1)


def test_compute_fit_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(2)
    seconds = [(2e-3 + 1e-3 * b) * np.exp(0.02 * rng.standard_normal(15)) for b in (1, 4, 16, 64)]
    fit = fit_compute([1, 4, 16, 64], [list(s) for s in seconds])
    assert fit is not None and fit.a_interval is not None and fit.c_interval is not None
    assert fit.a_interval.low < 2e-3 < fit.a_interval.high
    assert fit.c_interval.low < 1e-3 < fit.c_interval.high
    assert fit_compute([8, 8], [[1.0], [2.0]]) is None


@pytest.mark.parametrize("seconds", [[5.0, 3.0, 1.0], [1e-3, 1.0, 30.0]])
def test_pairs_are_never_negative(seconds: list[float]) -> None:
    found = nonnegative_pair([1, 1, 1], [1, 2, 3], seconds)
    assert all(float(value) >= 0 for value in found)


@pytest.mark.parametrize("algorithm", sorted(communication.ALGORITHMS))
def test_allreduce_constants_are_found(algorithm: str) -> None:
    nodes, sizes = [2, 4, 6, 8, 2], [1000, 1000, 1000, 582_312, 582_312]
    seconds = [
        [float(communication.allreduce(algorithm, p, m, 50e-6, 8e-9))] for p, m in zip(nodes, sizes, strict=True)
    ]
    fit = fit_allreduce(nodes, sizes, seconds, algorithm)
    free = fit_allreduce(nodes, sizes, seconds)
    assert fit is not None and free is not None
    assert (fit.alpha, fit.beta) == pytest.approx((50e-6, 8e-9), rel=1e-6)
    assert fit.separable and free.error < 1e-6
    assert free.algorithm == algorithm


def test_one_allreduce_point_cannot_tell_latency_from_bandwidth() -> None:
    fit = fit_allreduce([1, 2], [582_312, 582_312], [[1e-9], [1e-3, 1.1e-3, 0.9e-3]])
    assert fit is not None and not fit.separable and fit.alpha == 0
    found = communication.allreduce(fit.algorithm, 2, 582_312, fit.alpha, fit.beta)
    assert float(found) == pytest.approx(1e-3), "at the point itself it is exact"
    assert fit_allreduce([1], [8], [[1.0]]) is None


def test_amdahl_fraction_is_found() -> None:
    times = {p: 50 / laws.amdahl(0.07, p) * np.array([1.0, 1.0, 1.0]) for p in (1, 2, 4, 8)}
    fit = fit_amdahl(times)
    assert fit is not None and fit.interval is not None
    assert (fit.serial_fraction, fit.one_node_seconds) == pytest.approx((0.07, 50), rel=1e-6)
    assert fit_amdahl({1: [3.0]}) is None


def test_amdahl_leaves_out_node_counts_where_most_missed() -> None:
    times = {1: [10.0, 10.0], 2: [6.0, 6.0], 4: [1.0, np.inf, np.inf]}
    fit = fit_amdahl(times)
    assert fit is not None and fit.serial_fraction == pytest.approx(0.2, rel=1e-6)
