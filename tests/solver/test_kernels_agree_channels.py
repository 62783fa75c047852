"""Kernels that work on vectors of channels against the NumPy reference, called directly: pooling, and sums and numbers of
each channel, with channels that do not fill vectors, borders, ties, and numbers that are no numbers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from engine_support import COMPILED, KERNEL_SETS, assert_close

from batchbrew.solver.blob import Storage
from batchbrew.solver.kernels import compile_program
from batchbrew.solver.kernels.reference import KERNELS
from batchbrew.solver.layers.grid import spread

CHANNELS = (1, 3, 5, 17, 20, 33, 48, 64, 100)
GEOMETRIES = (  # height, width, kernel h w, stride h w, pad h w, rounded up
    (6, 8, 2, 2, 2, 2, 0, 0, True),
    (7, 5, 2, 2, 2, 2, 0, 0, True),
    (8, 8, 3, 3, 2, 2, 0, 0, True),
    (7, 9, 3, 3, 2, 2, 0, 0, False),
    (8, 7, 3, 3, 2, 2, 1, 1, False),
    (6, 7, 3, 3, 1, 1, 1, 1, False),
    (5, 6, 3, 3, 1, 1, 0, 0, False),
    (6, 6, 1, 1, 2, 2, 0, 0, False),  # every second pixel
    (7, 7, 2, 2, 3, 3, 0, 0, False),  # pixels in no window
    (7, 7, 2, 3, 3, 1, 1, 2, False),
    (6, 9, 5, 4, 2, 3, 2, 1, False),
    (5, 5, 5, 5, 1, 1, 0, 0, False),  # all of it
    (4, 4, 5, 5, 2, 2, 0, 0, True),  # more than all of it
    (4, 4, 1, 1, 2, 2, 0, 0, True),  # windows behind the picture
)
BORDERS = ((0, 0), (2, 1))


def picture(shape, border, rng, values=None):
    """Return a picture as blobs hold it, filled with few different numbers: windows have ties."""
    array = Storage(np.float32, border).view(shape)
    array[...] = rng.integers(-3, 4, shape) if values is None else rng.choice(values, shape)
    return array


def rows_of(size, kernel, stride, pad, up):
    room = size + 2 * pad - kernel
    return (-(-room // stride) if up else room // stride) + 1


def run_both(kernels, name, theirs, mine, geometry):
    """Run the reference of a kernel, and the kernel, on their own arrays."""
    KERNELS[name](*theirs, *geometry)
    compile_program([(name, (*mine, *geometry))], kernels).run()


@pytest.mark.parametrize(("kernels", "case"), list(product(COMPILED, GEOMETRIES)))
def test_pooling(kernels, case):
    height, width, kh, kw, sh, sw, ph, pw, up = case
    geometry = (kh, kw, sh, sw, ph, pw)
    rows, cols = rows_of(height, kh, sh, ph, up), rows_of(width, kw, sw, pw, up)
    special = np.array([np.nan, -np.inf, np.inf, -3.402823466e38, 0, -0.0, 1, 1, 2], np.float32)
    for channels, border, values in product(CHANNELS, BORDERS, (None, special)):
        rng = np.random.default_rng(channels)
        x = picture((2, channels, height, width), border, rng, values)
        storage = Storage(np.float32, border)
        y, mine = picture((2, channels, rows, cols), border, rng), storage.view((2, channels, rows, cols))
        mask, places = (np.zeros((2, rows, cols, channels), np.int32).transpose(0, 3, 1, 2) for _ in range(2))
        run_both(kernels, "pool_max_forward", (x, y, mask), (x, mine, places), geometry)
        assert np.array_equal(mine, y)
        assert np.array_equal(places, mask)
        dy = picture((2, channels, rows, cols), border, rng)
        dx, found = (picture(x.shape, border, rng) for _ in range(2))
        run_both(kernels, "pool_max_backward", (dx, dy, mask), (found, dy, mask), geometry)
        assert np.array_equal(found, dx)
        if values is None and (rows - 1) * sh - ph < height and (cols - 1) * sw - pw < width:
            run_both(kernels, "pool_ave_forward", (x, y), (x, mine), geometry)
            assert_close(mine, y, 1e-6)
            run_both(kernels, "pool_ave_backward", (dx, dy), (found, dy), geometry)
            assert_close(found, dx, 1e-6)
        mine[...] = 0
        assert not storage._buffer.any(), "written outside the picture"


SHAPES = [(3, c, h, w) for c in CHANNELS for h, w in ((1, 1), (5, 7), (9, 70))] + [(4, c) for c in CHANNELS]


def drawn(shape, border=(0, 0), seed=0, mean=0.0):
    """Return gaussian numbers as blobs hold them."""
    array = Storage(np.float32, border).view(shape)
    array[...] = np.random.default_rng(seed).normal(mean, 1, shape)
    return array


def agree(kernels, name, arrays, written, *numbers, tolerance=1e-6):
    """Compare what a kernel and its reference write into the arrays `written`, given by number."""
    first = [None if a is None else a.copy(order="K") for a in arrays]
    for k in written:
        if arrays[k] is not None and 0 in arrays[k].strides:  # broadcast: copy what is there, not what is seen
            first[k] = spread(arrays[k][(0,) + (slice(None),) + (0,) * (arrays[k].ndim - 2)].copy(), 1, arrays[k].shape)
    KERNELS[name](*first, *numbers)
    compile_program([(name, (*arrays, *numbers))], kernels).run()
    for k in written:
        if arrays[k] is not None:
            assert_close(arrays[k], first[k], tolerance, f"{name} {arrays[0].shape}")


@pytest.mark.parametrize(("kernels", "border"), list(product(COMPILED, BORDERS)))
def test_scale_and_bias(kernels, border):
    for shape in SHAPES:
        x, y, dy = (drawn(shape, border if i else (0, 0), seed=i) for i in range(3))
        factor, bias = (spread(drawn(shape[1:2], seed=i), 1, shape) for i in (4, 5))
        for each in ((factor, bias), (factor, None), (None, bias)):
            agree(kernels, "scale_forward", (x, y, *each), [1])
            sums = [None if a is None else spread(np.ones(shape[1]), 1, shape) for a in each]
            agree(kernels, "scale_backward_parameters", (dy, x, *sums), [2, 3])
        agree(kernels, "scale_backward_data", (dy, y, factor), [1])
        agree(kernels, "bias_backward", (dy, np.ones(shape[1])), [1])


@pytest.mark.parametrize(("kernels", "border"), list(product(COMPILED, BORDERS)))
def test_batch_norm(kernels, border):
    for shape in [*SHAPES, (3, 6, 5)]:
        channels, pixels = (shape[1], int(np.prod(shape[2:]))) if len(shape) != 3 else (shape[2], shape[1])
        x, y, dy = (drawn(shape, border if i else (0, 0), seed=i, mean=3) for i in range(3))
        sums = np.zeros((shape[0], 2, channels))
        agree(kernels, "batch_norm_statistics", (x, sums), [1])
        numbers = [np.full(channels, 0.5, np.float32) for _ in range(4)] + [np.ones(1, np.float32)]
        agree(kernels, "batch_norm_moments", (sums, *numbers), [1, 2, 3, 4, 5], pixels, 1e-5, 0.9)
        mean, inv = (drawn((channels,), seed=i) for i in (4, 5))
        agree(kernels, "batch_norm_forward", (x, y, mean, inv), [1])
        agree(kernels, "batch_norm_sums", (x, dy, sums), [2])
        means = np.zeros((2, channels), np.float32)
        agree(kernels, "batch_norm_means", (sums, means), [1], pixels)
        agree(kernels, "batch_norm_backward", (x, dy, y, inv, means), [2], tolerance=2e-6)
        agree(kernels, "batch_norm_running", (mean, inv, *(abs(a) for a in numbers[2:])), [0, 1], 1e-5)


@pytest.mark.parametrize(("kernels", "region"), list(product(COMPILED, ("across", "within"))))
def test_normalisation_of_neighbours(kernels, region):
    for shape, size, beta in product([s for s in SHAPES if len(s) == 4], (1, 3, 5), (0.75, 0.6)):
        x, y, scale, dy, dx, ratio = (drawn(shape, (1, 2) if i % 2 else (0, 0), seed=i) for i in range(6))
        k = (2.0,) if region == "across" else ()
        agree(kernels, f"lrn_{region}_forward", (x, y, scale), [1, 2], size, 0.5, beta, *k)
        agree(kernels, f"lrn_{region}_backward", (x, y, scale, dy, dx, ratio), [4], size, 0.5, beta, tolerance=2e-6)


@pytest.mark.parametrize("kernels", COMPILED)
def test_channels_that_are_not_side_by_side(kernels):
    """As BatchNorm sees blobs of 3 or 5 axes."""
    x, y, dy = (np.random.default_rng(i).normal(2, 1, (3, 6, 5)).astype(np.float32).swapaxes(1, 2) for i in range(3))
    sums, mean = np.zeros((3, 2, 6)), np.ones(6, np.float32)
    agree(kernels, "batch_norm_statistics", (x, sums), [1])
    agree(kernels, "batch_norm_forward", (x, y, mean, mean), [1])
    agree(kernels, "batch_norm_sums", (x, dy, sums), [2])
    agree(kernels, "batch_norm_backward", (x, dy, y, mean, np.ones((2, 6), np.float32)), [2])


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_statistics_far_from_zero(kernels):
    """Means that are large beside the deviation, and a first row unlike the others, cost no accuracy."""
    for shift, first in ((1000.0, 0.0), (-3e4, 0.0), (0.0, 1e4), (1000.0, -1000.0)):
        x = drawn((2, 20, 16, 16))
        x += shift
        x[:, :, 0] += first
        exact = x.astype(np.float64)
        sums = np.zeros((2, 2, 20))
        compile_program([("batch_norm_statistics", (x, sums))], kernels).run()
        assert (abs(sums[:, 0] - exact.mean(axis=(2, 3))) < 1e-6 * exact.std(axis=(2, 3))).all()
        np.testing.assert_allclose(sums[:, 1], exact.var(axis=(2, 3)) * 256, 1e-6)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_what_diverged_shows(kernels):
    x, sums = drawn((2, 5, 4, 4)), np.zeros((2, 2, 5))
    x[0, 1, 2, 3], x[1, 2, 0, 0] = np.nan, np.inf
    compile_program([("batch_norm_statistics", (x, sums))], kernels).run()
    bad = ~np.isfinite(sums[:, 1])
    assert np.array_equal(np.argwhere(bad), [[0, 1], [1, 2]])


@pytest.mark.parametrize("kernels", COMPILED)
def test_a_picture_adds_the_same_bits_in_any_company(kernels):
    """Its sums start from zero, so they are those of a batch of one."""
    x, dy = drawn((5, 20, 9, 11), (1, 1)), drawn((5, 20, 9, 11), seed=1)
    together, alone = (np.zeros((5, 2, 20)) for _ in range(2))
    compile_program([("batch_norm_sums", (x, dy, together))], kernels).run()
    total, added = np.zeros(20), np.zeros(20)
    compile_program([("bias_backward", (dy, total))], kernels).run()
    for n in range(5):
        one, each = slice(n, n + 1), np.zeros((2, 20))
        compile_program([("batch_norm_sums", (x[one], dy[one], alone[one]))], kernels).run()
        operands = [spread(a, 1, (1, 20, 9, 11)) for a in each]
        compile_program([("scale_backward_parameters", (dy[one], x[one], *operands))], kernels).run()
        assert np.array_equal(each, alone[n, ::-1])
        each[...] = 0
        compile_program([("bias_backward", (dy[one], each[0]))], kernels).run()
        added += each[0]
    assert np.array_equal(together, alone)
    assert np.array_equal(total, added)
