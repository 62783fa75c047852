"""Sample keys: published numbers of the generator, pinned keys, and statistics a hash must have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchbrew.solver.data import keys


def test_mix_is_splitmix64():
    # The first outputs of splitmix64 for the seed 1234567, as published with the reference implementations.
    state = (np.uint64(1234567) + np.arange(1, 6, dtype=np.uint64) * np.uint64(keys.GOLDEN)).astype(np.uint64)
    assert keys.mix(state).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_keys_are_pinned():
    found = keys.sample_keys(1701, 3, np.array([0, 1, 49_999, 2**40]))
    assert [hex(key) for key in found] == PINNED
    assert found.dtype == np.uint64


PINNED = ["0xcf2ba32555279333", "0xecd5399d7fb6abbc", "0xa4504e4aa55f819", "0xf3c3ffa562cf2845"]


@given(st.integers(-(2**63), 2**64), st.integers(0, 10**6), st.lists(st.integers(0, 2**50), max_size=20))
def test_keys_agree_with_python_integers(seed, epoch, indices):
    def mix(x):
        x = x % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    base = mix(mix(seed + keys.GOLDEN) + (epoch + 1) * keys.GOLDEN)
    expected = [mix(base + (index + 1) * keys.GOLDEN) for index in indices]
    assert keys.sample_keys(seed, epoch, np.array(indices, np.int64)).tolist() == expected


def test_keys_do_not_depend_on_the_cut_of_a_batch():
    indices = np.random.default_rng(0).permutation(1000)
    whole = keys.sample_keys(5, 2, indices)
    cut = [keys.sample_keys(5, 2, piece) for piece in np.split(indices, [1, 7, 7, 500])]
    assert np.array_equal(whole, np.concatenate(cut))


def test_keys_of_samples_epochs_and_seeds_are_distinct():
    indices = np.arange(10_000)
    found = np.concatenate([keys.sample_keys(seed, epoch, indices) for seed in range(5) for epoch in range(5)])
    assert len(np.unique(found)) == len(found)


@pytest.mark.parametrize("count", [1, 2, 5, 9, 256])
def test_draws_are_even_and_independent(count):
    key = keys.sample_keys(0, 0, np.arange(100_000))
    first, second = (keys.below(keys.draws(key, stream), count) for stream in (1, 2))
    assert first.min() >= 0 and first.max() < count
    expected = len(key) / count
    chi2 = ((np.bincount(first, minlength=count) - expected) ** 2 / expected).sum()
    assert chi2 < count + 5 * np.sqrt(2 * count) + 5
    if count > 1:
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.015
        assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.015


def test_coin_is_fair():
    heads = keys.coin(keys.draws(keys.sample_keys(0, 0, np.arange(100_000)), 1))
    assert abs(heads.mean() - 0.5) < 0.01
