"""The closed forms against the check values of the methods reference (CV numbers) and against identities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchbrew.analysis.theory import best, communication, compute, laws, noise, rates, statistics
from batchbrew.errors import UserError

# The running example: CIFAR-10 quick on 1 Gb/s Ethernet.
MESSAGE, ALPHA, BETA, GAMMA, A, C = 582_312, 50e-6, 8e-9, 0.5e-9, 2e-3, 1e-3

ALLREDUCE_MS = {  # CV-3.3
    2: (4.999652, 4.904074, 4.904074, 9.708148),
    4: (9.999304, 7.406111, 7.506111, 19.4163),
    8: (14.99896, 8.70713, 9.107129, 29.12444),
    16: (19.99861, 9.407639, 10.50764, 38.83259),
    64: (29.99791, 10.05802, 15.75802, 58.24889),
}


def test_amdahl_cv_2_1() -> None:
    assert float(laws.amdahl(0.05, 8)) == pytest.approx(5.92593, rel=1e-5)
    assert float(laws.amdahl(0.05, 1e12)) == pytest.approx(20)


def test_gustafson_cv_2_2_and_2_3() -> None:
    assert float(laws.gustafson(0.05, 8)) == pytest.approx(7.65)
    fraction = laws.amdahl_fraction(0.05, 8)
    assert float(fraction) == pytest.approx(0.00653595, rel=1e-5)
    assert float(laws.amdahl(fraction, 8)) == pytest.approx(7.65, rel=1e-9)


@pytest.mark.parametrize(
    ("speedups", "expected"),
    [
        ([1.82, 2.50, 3.08, 3.57, 4.00, 4.38, 4.71], [0.099, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        ([1.87, 2.61, 3.23, 3.73, 4.14, 4.46, 4.71], [0.070, 0.075, 0.079, 0.085, 0.090, 0.095, 0.100]),
    ],
)
def test_karp_flatt_cv_2_4(speedups: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(laws.karp_flatt(speedups, range(2, 9)), expected, atol=6e-4)


def test_karp_flatt_of_one_node_is_undefined() -> None:
    assert np.isnan(laws.karp_flatt([1.0, 1.9], [1, 2])).tolist() == [True, False]


@given(st.floats(0, 1), st.integers(2, 1000))
def test_karp_flatt_gives_back_amdahls_fraction(fraction: float, nodes: int) -> None:
    assert float(laws.karp_flatt(laws.amdahl(fraction, nodes), nodes)) == pytest.approx(fraction, abs=1e-9)


def test_usl_cv_2_5() -> None:
    assert float(laws.usl_peak(0.02, 0.0005)) == pytest.approx(44.2719, rel=1e-5)
    np.testing.assert_allclose(laws.usl(0.02, 0.0005, [8, 32, 44, 64]), [6.84932, 15.1229, 15.6807, 14.9673], rtol=1e-5)
    assert np.isinf(laws.usl_peak(0.02, 0.0))


def test_usl_of_a_ring_cv_2_6() -> None:
    ring = laws.usl_of_ring(A, C * 128, MESSAGE, ALPHA, BETA)
    assert ring.contention == pytest.approx(0.0870538, rel=1e-5)
    assert ring.coherency == pytest.approx(0.000769231, rel=1e-5)
    speedups = laws.usl(ring.contention, ring.coherency, [2, 8, 32])
    np.testing.assert_allclose(speedups, [1.83724, 4.84129, 7.17208], rtol=1e-5)
    peak = float(laws.usl_peak(ring.contention, ring.coherency))
    assert peak == pytest.approx(34.4504, rel=1e-5)
    assert float(laws.usl(ring.contention, ring.coherency, peak)) == pytest.approx(7.17952, rel=1e-5)


@pytest.mark.parametrize("nodes", [1, 2, 3, 8, 100])
def test_usl_of_a_ring_is_an_identity(nodes: int) -> None:
    ring = laws.usl_of_ring(A, C * 128, MESSAGE, ALPHA, BETA, gamma=GAMMA)
    comm = communication.allreduce("ring", nodes, MESSAGE, ALPHA, BETA, gamma=GAMMA)
    mechanistic = (A + C * 128) / (A + C * 128 / nodes + comm)
    assert float(laws.usl(ring.contention, ring.coherency, nodes)) == pytest.approx(float(mechanistic), rel=1e-12)


def test_usl_of_a_single_server_cv_2_6() -> None:
    server = laws.usl_of_single_server(A, C * 128, MESSAGE, ALPHA, BETA)
    assert (server.contention, server.coherency) == pytest.approx((0.0153846, 0.0724384), rel=1e-5)
    assert float(laws.usl(server.contention, server.coherency, 8)) == pytest.approx(1.54911, rel=1e-5)
    assert float(laws.usl_peak(server.contention, server.coherency)) == pytest.approx(3.68679, rel=1e-5)


def test_isoefficient_batch_cv_2_7() -> None:
    comm = communication.allreduce("ring", 8, MESSAGE, ALPHA, BETA)
    assert float(comm) == pytest.approx(0.008852368, rel=1e-5)
    assert float(laws.isoefficient_batch(0.8, 8, comm, C)) == pytest.approx(283.276, rel=1e-5)


def test_half_batch_and_batch_speedup_cv_3_1() -> None:
    assert float(compute.half_batch(A, C)) == pytest.approx(2.0)
    assert float(compute.batch_speedup(128, 8, A, C)) == pytest.approx(7.22222, rel=1e-5)
    assert float(compute.throughput(2.0, A, C)) == pytest.approx(0.5 / C)


def test_hockney_cv_3_2() -> None:
    times = communication.hockney([1024, 65536, 1048576], ALPHA, BETA)
    np.testing.assert_allclose(times, [5.8192e-05, 0.000574288, 0.008438608], rtol=1e-9)


@pytest.mark.parametrize(
    ("algorithm", "column"), [("recursive_doubling", 0), ("rabenseifner", 1), ("ring", 2), ("tree", 3)]
)
def test_allreduce_cv_3_3(algorithm: str, column: int) -> None:
    nodes = list(ALLREDUCE_MS)
    found = 1e3 * communication.allreduce(algorithm, nodes, MESSAGE, ALPHA, BETA, gamma=GAMMA)
    np.testing.assert_allclose(found, [ALLREDUCE_MS[p][column] for p in nodes], rtol=1e-5)


@pytest.mark.parametrize("algorithm", sorted(communication.ALGORITHMS))
def test_every_allreduce_costs_nothing_on_one_node_and_more_on_many(algorithm: str) -> None:
    times = communication.allreduce(algorithm, range(1, 40), MESSAGE, ALPHA, BETA, gamma=GAMMA)
    assert times[0] == 0
    bound = np.ceil(np.log2(np.arange(1, 40))) * ALPHA + 2 * (1 - 1 / np.arange(1, 40)) * MESSAGE * BETA
    assert (times >= bound * (1 - 1e-12)).all(), "no allreduce can be cheaper than the lower bound"


def test_rabenseifner_of_six_ranks_counts_the_four_that_survive_cv_3_3() -> None:
    found = communication.allreduce("rabenseifner", 6, MESSAGE, ALPHA, BETA, gamma=GAMMA)
    assert 1e3 * float(found) == pytest.approx(17.114259, rel=1e-5)


def test_crossover_cv_3_3() -> None:
    found = communication.crossover_bytes([4, 8, 16], ALPHA, BETA, GAMMA)
    np.testing.assert_allclose(found, [21621.6, 13559.3, 10792.6], rtol=1e-5)
    for nodes, size in zip([4, 8, 16], found, strict=True):
        pair = [
            communication.allreduce(name, nodes, size, ALPHA, BETA, gamma=GAMMA)
            for name in ("recursive_doubling", "rabenseifner")
        ]
        assert float(pair[0]) == pytest.approx(float(pair[1]), rel=1e-9)


def test_bus_bandwidth_of_a_ring_is_the_link_rate() -> None:
    seconds = communication.allreduce("ring", [2, 5, 9], MESSAGE, 0.0, BETA)
    np.testing.assert_allclose(communication.bus_bandwidth(MESSAGE, seconds, [2, 5, 9]), 1 / BETA)


def test_an_unknown_algorithm_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown allreduce algorithm 'rign' - did you mean 'ring'\?"):
        communication.allreduce("rign", 2, 1, 1, 1)


def test_set_size_speedup_reads_the_curve() -> None:
    sizes, seconds = [10_000, 20_000, 40_000], [11.0, 21.0, 41.0]
    found = compute.set_size_speedup(sizes, seconds, 40_000, [1, 2, 4, 3])
    np.testing.assert_allclose(found, [1, 41 / 21, 41 / 11, 41 / (40 / 3 + 1)])
    assert float(compute.set_size_speedup(sizes, seconds, 80_000, 8)) == pytest.approx(81 / 11), "prolonged upwards"
    assert np.isnan(compute.set_size_speedup([10], [1.0], 10, [2])).all(), "one point is no curve"


def test_noise_scale_cv_4_1_and_4_2() -> None:
    found = noise.noise_scale(44, 8, 10, 100)
    assert (found.gradient_square, found.variance, found.b_simple) == pytest.approx((4, 400, 100))
    assert noise.effective_small_batch([8, 24]) == pytest.approx(12)
    right, wrong = (1 / small - 1 / 32 for small in (12, 16))
    assert right / wrong == pytest.approx(5 / 3), "what the arithmetic mean would overestimate"


def test_finite_set_factor_cv_4_3() -> None:
    assert float(noise.finite_set_factor(1024, 50_000)) == pytest.approx(0.97954, rel=1e-5)


@pytest.mark.parametrize(
    ("batch", "updates", "samples", "elasticity"),
    [(50, 11_000, 550_000, 0.909091), (500, 2000, 1_000_000, 0.5), (4500, 1111.11, 5_000_000, 0.1)],
)
def test_hyperbola_cv_4_4(batch: int, updates: float, samples: float, elasticity: float) -> None:
    assert float(statistics.steps(batch, 1000, 500)) == pytest.approx(updates, rel=1e-5)
    assert float(statistics.examples(batch, 1000, 500)) == pytest.approx(samples, rel=1e-5)
    assert float(statistics.elasticity(batch, 500)) == pytest.approx(elasticity, rel=1e-5)


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1, 1e6))
def test_hyperbola_satisfies_its_defining_equation(batch: float, s_min: float, b_crit: float) -> None:
    e_min = s_min * b_crit
    updates, samples = statistics.steps(batch, s_min, b_crit), statistics.examples(batch, s_min, b_crit)
    assert float((updates / s_min - 1) * (samples / e_min - 1)) == pytest.approx(1, rel=1e-6)


def test_regimes_lie_between_their_bounds() -> None:
    low, high = statistics.regime_bounds(500)
    assert (low, high) == pytest.approx((500 / 9, 4500))
    names = statistics.regime([low * 0.99, low * 1.01, high * 0.99, high * 1.01], 500).tolist()
    assert names == [statistics.PERFECT, statistics.DIMINISHING, statistics.DIMINISHING, statistics.MAXIMAL]


def test_adaptive_gain_cv_4_6() -> None:
    progress = np.linspace(0, 1, 20_001)
    assert noise.adaptive_gain(progress, progress) == pytest.approx(0.888889, rel=1e-5)
    assert noise.adaptive_gain(np.full(3, 7.0), [0, 1, 2]) == pytest.approx(1.0)


def test_five_critical_batches_cv_4_7() -> None:
    found = statistics.critical_batches(500, 50, noise_scale=450, c2_over_eps2=20)
    assert found.twenty_percent == pytest.approx(160)
    assert (found.hyperbola, found.noise_scale, found.sfo) == (500, 450, 40)
    assert found.perfect_scaling_end == pytest.approx(500 / 9)
    data = statistics.examples([160, 50], 1000, 500)
    assert float(data[0] / data[1]) == pytest.approx(1.2), "160 costs 20 % more data than 50"


def test_sfo_batch_minimises_gradient_evaluations() -> None:
    batches = np.linspace(21, 200, 20_000)
    evaluations = batches * statistics.sfo_steps(batches, 3.0, 20.0)
    assert batches[np.argmin(evaluations)] == pytest.approx(float(statistics.sfo_batch(20.0)), abs=0.02)


def test_learning_rate_rules_cv_4_8_and_4_9() -> None:
    assert float(rates.adam_second_moment(0.999, 64 / 512)) == pytest.approx(0.9998749453, abs=1e-10)
    np.testing.assert_allclose(rates.surge([0.25, 1, 4], 1.0), [0.8, 1, 0.8])
    np.testing.assert_allclose(rates.noise_limited([1, 1e9], 1.0), [0.5, 1.0])


@pytest.mark.parametrize("rule", sorted(rates.RULES))
def test_every_rule_leaves_the_base_batch_alone(rule: str) -> None:
    assert float(rates.factor(rule, 64, 64)) == 1.0
    assert float(rates.factor(rule, 256, None)) == 1.0
    assert float(rates.factor(rule, 256, 64)) == {"none": 1.0, "sqrt": 2.0, "linear": 4.0}[rule]


def test_sgd_noise_cv_4_10() -> None:
    found = noise.sgd_noise([0.1, 0.02, 0.1], [128, 128, 640], 50_000, 0.9)
    np.testing.assert_allclose(found, [389.625, 77.925, 77.125])


def test_efficiency_and_gain_agree_cv_4_11_and_4_12() -> None:
    found = float(noise.efficiency(1024, 128, 1152))
    assert found == pytest.approx(0.588235, rel=1e-5)
    assert 8 * 0.8 * found == pytest.approx(3.76471, rel=1e-5)
    gain = float(noise.adascale_gain(9, 1, 8))
    assert (gain, gain / 8) == pytest.approx((4.70588, 0.588235), rel=1e-5)


def test_comm_speedup_cv_11_1() -> None:
    comm = communication.allreduce("ring", 8, MESSAGE, ALPHA, BETA)
    split = float(compute.batch_speedup(128, 8, A, C))
    whole = float(compute.comm_speedup(128, 8, A, C, comm))
    assert split / 8 == pytest.approx(0.902778, rel=1e-5)
    assert whole / split == pytest.approx(0.670332, rel=1e-5)
    assert whole == pytest.approx(4.84129, rel=1e-5)


@pytest.mark.parametrize(
    ("nodes", "overhead", "batch", "speedup"),
    [(8, 10e-3, 282.843, 5.30572), (32, 10e-3, 565.685, 14.2476), (256, 10e-3, 1600, 41.3327)],
)
def test_best_batch_cv_11_2(nodes: int, overhead: float, batch: float, speedup: float) -> None:
    assert float(best.best_batch(nodes, 1000, overhead, C)) == pytest.approx(batch, rel=1e-5)
    assert float(best.best_speedup(nodes, 1000, 2e-3, overhead, C)) == pytest.approx(speedup, rel=1e-5)


def test_best_time_cv_11_2() -> None:
    assert float(best.best_batch(1, 1000, 2e-3, C)) == pytest.approx(44.7214, rel=1e-5)
    assert float(best.best_time(1, 1.0, 1000, 2e-3, C)) == pytest.approx(1.091443, rel=1e-5)
    assert float(best.best_time(8, 1.0, 1000, 10e-3, C)) == pytest.approx(0.205711, rel=1e-5)
    times = best.time_to_target([128, 1024], 8, 1.0, 1000, overhead=10e-3, c=C)
    np.testing.assert_allclose(times, [0.229125, 0.272766], rtol=1e-5)
    assert float(best.speedup_limit(1000, 2e-3, 10e-3, C)) == pytest.approx(109.144, rel=1e-5)


@given(st.integers(1, 64), st.floats(10, 1e4), st.floats(1e-4, 1e-1), st.floats(1e-5, 1e-2))
def test_no_batch_beats_the_best(nodes: int, b_crit: float, overhead: float, c: float) -> None:
    batch = float(best.best_batch(nodes, b_crit, overhead, c))
    near = best.time_to_target(batch * np.geomspace(0.2, 5, 41), nodes, 1.0, b_crit, overhead=overhead, c=c)
    assert float(best.best_time(nodes, 1.0, b_crit, overhead, c)) == pytest.approx(float(near.min()), rel=1e-9)
