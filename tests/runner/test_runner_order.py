from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchbrew.runner.balance import BALANCERS
from batchbrew.runner.lr_rules import LR_RULES, factor
from batchbrew.runner.order import batch_indices, cut, permutation


def test_permutation_is_a_permutation_that_depends_on_seed_and_epoch():
    orders = [permutation(seed, epoch, 100).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_permutation_is_the_same_for_ever():
    assert permutation(1, 0, 12).tolist() == [3, 5, 2, 9, 7, 10, 0, 8, 6, 11, 1, 4]
    assert permutation(7, 3, 12).tolist() == [2, 5, 9, 7, 3, 0, 6, 8, 4, 1, 11, 10]


def test_every_order_of_three_is_about_equally_frequent():
    counts = Counter(tuple(permutation(seed, 0, 3).tolist()) for seed in range(3000))
    assert len(counts) == 6
    assert all(400 < count < 600 for count in counts.values())


def test_without_shuffle_every_epoch_is_the_order_of_the_file():
    assert permutation(5, 9, 4, shuffle=False).tolist() == [0, 1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 40),
    batch=st.integers(1, 90),
    epochs=st.integers(1, 4),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_every_sample_once_an_epoch_for_any_history_of_node_counts(samples, batch, epochs, seed, data):
    """Any cut of the updates into shares and micro-batches, changed at every update, uses each sample once an epoch."""
    used: Counter = Counter()
    position = 0
    while position < samples * epochs:
        nodes, accumulate = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
        start = position
        for share in BALANCERS.get("equal")().shares(batch, [1.0] * nodes):
            for piece in cut(share, accumulate):
                for epoch, indices in batch_indices(seed, start, piece, samples):
                    used.update((epoch, int(i)) for i in indices)
                start += piece
        assert start == position + batch
        position = start
    whole = {(epoch, i): 1 for epoch in range(epochs) for i in range(samples)}
    assert {key: used[key] for key in whole} == whole
    assert max(used.values()) == 1


@given(st.integers(0, 1000), st.integers(1, 50))
def test_cut_sums_and_differs_by_at_most_one(total, pieces):
    counts = cut(total, pieces)
    assert sum(counts) == total
    assert len(counts) == pieces
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("name", BALANCERS.names())
@given(batch=st.integers(1, 500), speeds=st.lists(st.floats(0.1, 10), min_size=1, max_size=9))
def test_shares_of_every_balancer_sum_to_the_batch(name, batch, speeds):
    shares = BALANCERS.get(name)().shares(batch, speeds)
    assert sum(shares) == batch
    assert len(shares) == len(speeds)
    assert min(shares) >= 0


@pytest.mark.parametrize("rule", LR_RULES.names())
def test_every_lr_rule_is_1_at_the_base_batch(rule):
    assert factor(rule, 64, 64) == 1.0


@pytest.mark.parametrize(("rule", "expected"), [("none", 1.0), ("linear", 32.0), ("sqrt", np.sqrt(32.0))])
def test_factor_at_the_reference_point_of_goyal_et_al(rule, expected):
    """0.1 per 256 images is 3.2 at 8192 by the linear rule."""
    assert 0.1 * factor(rule, 8192, 256) == pytest.approx(0.1 * expected)


def test_warm_up_rises_by_equal_steps_and_then_stays():
    rates = [factor("linear", 256, 64, warmup_samples=2560, samples=256 * u) for u in range(14)]
    assert np.diff(rates[:11]) == pytest.approx(np.full(10, 0.3))
    assert rates[0] == 1.0
    assert rates[10:] == [4.0] * 4
