"""Pooling where windows, places and numbers are special, on every kernel set; the plain cases are in test_layer_numbers."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, inputs, layer, net_of

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb

LOWEST = float(np.finfo(np.float32).min)


@pytest.fixture(params=KERNEL_SETS)
def kernels(request):
    return request.param


def pooled(kernels, picture, rest, *, tops="y", phase=pb.TRAIN):
    """Return the net of one Pooling layer after its forward pass; one plane may stand for several channels."""
    x = np.asarray(picture, np.float32)
    x = np.broadcast_to(x, (2, 3, *x.shape)) if x.ndim == 2 else x
    source = (
        inputs(x=x.shape) + layer("p", "Pooling", "x", tops, f"pooling_param {{ {rest} }}") + "force_backward: true"
    )
    net = net_of(source, phase, kernels=kernels)
    net.blobs["x"].data[...] = x
    net.forward()
    return net


SQUARE = [[1, 2, 5, 2, 3], [9, 4, 1, 4, 8], [1, 2, 5, 2, 3]]
MAGIC = [
    [35, 1, 6, 26, 19, 24], [3, 32, 7, 21, 23, 25], [31, 9, 2, 22, 27, 20],
    [8, 28, 33, 17, 10, 15], [30, 5, 34, 12, 14, 16], [4, 36, 29, 13, 18, 11],
]  # fmt: skip


@pytest.mark.parametrize(("picture", "rest", "places"), [
    (SQUARE, "kernel_size: 2", [[5, 2, 2, 9], [5, 12, 12, 9]]),
    (MAGIC, "kernel_h: 3 kernel_w: 2",
     [[0, 7, 3, 16, 16], [7, 20, 20, 16, 16], [12, 26, 26, 16, 16], [31, 31, 26, 34, 34]]),
    (MAGIC, "kernel_h: 2 kernel_w: 3",
     [[0, 7, 3, 3], [7, 7, 16, 16], [20, 20, 20, 16], [26, 26, 26, 21], [31, 31, 26, 34]]),
    (np.ones((3, 3)), "kernel_size: 2 stride: 2", [[0, 2], [6, 8]]),
    ([[1, 2, 4], [2, 3, 2], [4, 2, 1]], "kernel_size: 3 stride: 2 pad: 2", [[0, 2, 2], [6, 2, 2], [6, 6, 8]]),
    (MAGIC, "global_pooling: true", [[31]]),
])  # fmt: skip
def test_places(kernels, picture, rest, places):
    """h W + w of the first maximum in row order, as numbers; what they receive goes nowhere."""
    net = pooled(kernels, picture, rest, tops="y places")
    assert net.blobs["places"].data.dtype == np.float32
    for plane in net.blobs["places"].data.reshape(6, *np.shape(places)):
        assert np.array_equal(plane, places)
    assert np.array_equal(net.blobs["y"].data[1, 2], np.take(picture, places))
    net.blobs["y"].diff[...], net.blobs["places"].diff[...] = 1, 100
    net.backward()
    counts = np.bincount(np.ravel(places), minlength=np.size(picture)).reshape(np.shape(picture))
    assert np.array_equal(net.blobs["x"].diff[1, 2], counts)


def test_places_of_what_is_no_number(kernels):
    """NaN is never greater; what does not exceed -FLT_MAX is no maximum and receives nothing."""
    inf, nan = np.inf, np.nan
    picture = [
        [nan, 1, -inf, -inf, nan, nan, inf, 1, LOWEST, nan],
        [2, -inf, -inf, -inf, nan, nan, inf, nan, nan, LOWEST],
    ]
    net = pooled(kernels, picture, "kernel_size: 2 stride: 2", tops="y m")
    assert np.array_equal(net.blobs["y"].data[0, 1, 0], [2, LOWEST, LOWEST, inf, LOWEST])
    assert np.array_equal(net.blobs["m"].data[0, 1, 0], [10, -1, -1, 6, -1])
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert np.array_equal(net.blobs["x"].diff[1, 0].ravel().nonzero()[0], [6, 10])


@pytest.mark.parametrize(("size", "rest", "wanted"), [
    (4, "kernel_size: 3 stride: 2", 2),  # ceil(1/2) + 1
    (4, "kernel_size: 3 stride: 2 round_mode: FLOOR", 1),
    (5, "kernel_size: 3 stride: 2", 2),
    (32, "kernel_size: 3 stride: 2", 16),
    (4, "kernel_size: 2 stride: 3 pad: 1", 2),  # ceil(4/3) + 1 = 3, 6 is not less than 4 + 1
    (6, "kernel_size: 2 stride: 3 pad: 1", 3),  # ceil(6/3) + 1, the last at 6 < 6 + 1
    (4, "kernel_size: 2 stride: 3 pad: 1 round_mode: FLOOR", 2),
    (4, "kernel_size: 1 stride: 2", 3),  # no padding: not dropped
    (4, "kernel_size: 1 stride: 2 round_mode: FLOOR", 2),
    (4, "kernel_size: 5 stride: 2", 1),  # ceil(-1/2) + 1
])  # fmt: skip
def test_sizes(size, rest, wanted):
    net = net_of(inputs(x=(1, 1, size, size)) + layer("p", "Pooling", "x", "y", f"pooling_param {{ {rest} }}"))
    assert net.blobs["y"].shape == (1, 1, wanted, wanted)


def test_one_padded_axis_makes_both_drop_windows():
    rest = "kernel_h: 1 kernel_w: 2 stride_h: 2 stride_w: 2 pad_h: 0 pad_w: 1"
    net = net_of(inputs(x=(1, 1, 4, 4)) + layer("p", "Pooling", "x", "y", f"pooling_param {{ {rest} }}"))
    assert net.blobs["y"].shape == (1, 1, 2, 3)


def test_windows_behind_the_picture(kernels):
    """As Caffe has them, without padding: nothing found, and 0/0."""
    net = pooled(kernels, np.ones((4, 4)), "kernel_size: 1 stride: 2", tops="y m")
    assert np.array_equal(net.blobs["y"].data[0, 0], [[1, 1, LOWEST], [1, 1, LOWEST], [LOWEST] * 3])
    assert np.array_equal(net.blobs["m"].data[0, 0], [[0, 2, -1], [8, 10, -1], [-1, -1, -1]])
    average = pooled(kernels, np.ones((4, 4)), "pool: AVE kernel_size: 1 stride: 2").blobs["y"].data[0, 0]
    assert np.array_equal(average, [[1, 1, np.nan], [1, 1, np.nan], [np.nan] * 3], equal_nan=True)


def test_a_kernel_larger_than_the_picture(kernels):
    picture = np.arange(16.0).reshape(4, 4)
    assert pooled(kernels, picture, "kernel_size: 5 stride: 2").blobs["y"].data[1, 1] == 15
    # the window ends with the picture, and so does what is divided by
    assert pooled(kernels, picture, "pool: AVE kernel_size: 5 stride: 2").blobs["y"].data[1, 1] == 7.5
    assert_close(
        pooled(kernels, picture, "pool: AVE kernel_size: 7 stride: 2 pad: 1").blobs["y"].data[1, 1], [[120 / 36]], 1e-6
    )


def test_global_pooling_follows_the_picture(kernels):
    for method, wanted in (("MAX", [[5, 11]]), ("AVE", [[2.5, 8.5]])):
        net = pooled(kernels, np.zeros((1, 1, 5, 2)), f"pool: {method} global_pooling: true")
        for shape in ((1, 2, 2, 3), (1, 1, 5, 2), (1, 2, 3, 2)):
            net.whole.resize("x", shape)
            net.blobs["x"].data[...] = np.arange(np.prod(shape)).reshape(shape)
            net.forward()
            assert net.blobs["y"].shape == (*shape[:2], 1, 1)
        assert np.array_equal(net.blobs["y"].data[..., 0, 0], wanted)


def test_stochastic_pooling_in_the_test_phase(kernels):
    """The mean of a window with its own values as weights; 0 where their sum is not positive."""
    picture = [[1, 3, 0, 0, -1], [0, 4, 0, 0, 2]]
    net = pooled(kernels, picture, "pool: STOCHASTIC kernel_size: 2 stride: 2", phase=pb.TEST)
    assert_close(net.blobs["y"].data[1, 2], [[26 / 8, 0, 5]], 1e-6)
    with pytest.raises(UserError, match=r"layer 'p' \(Pooling\): pool: STOCHASTIC has no gradient in the TEST phase$"):
        net.backward()
    with pytest.raises(UserError, match=r"layer 'p' \(Pooling\): pool: STOCHASTIC takes no padding$"):
        pooled(kernels, picture, "pool: STOCHASTIC kernel_size: 2 pad: 1", phase=pb.TEST)
