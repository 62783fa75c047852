"""Layers against numbers worked out by hand and those of Caffe's own test suite, on every kernel set."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, inputs, layer, net_of

from batchbrew.protos import messages as pb

MAGIC = np.array([
    [35, 1, 6, 26, 19, 24], [3, 32, 7, 21, 23, 25], [31, 9, 2, 22, 27, 20],
    [8, 28, 33, 17, 10, 15], [30, 5, 34, 12, 14, 16], [4, 36, 29, 13, 18, 11],
])  # fmt: skip


@pytest.fixture(params=KERNEL_SETS)
def kernels(request):
    return request.param


class Case:
    """A net of one layer `one` from x (and others) to y."""

    def __init__(self, kernels, kind, rest, given, *, tops="y", phase=pb.TRAIN):
        arrays = {name: np.asarray(values, np.float32) for name, values in given.items()}
        source = inputs(**{name: values.shape for name, values in arrays.items()})
        source += layer("one", kind, " ".join(arrays), tops, rest) + "force_backward: true"
        self.net = net_of(source, phase, kernels=kernels)
        for name, values in arrays.items():
            self.net.blobs[name].data[...] = values
        self.parameters = self.net.params.get("one", [])

    def forward(self, name="y"):
        self.net.forward()
        return self.net.blobs[name].data

    def gradient(self, dy, name="x"):
        self.net.blobs["y"].diff[...] = dy
        self.net.flat.grads[...] = 0
        self.net.backward()
        return self.net.blobs[name].diff


@pytest.mark.parametrize(("picture", "rest", "wanted", "places"), [
    ([[1, 2, 5, 2, 3], [9, 4, 1, 4, 8], [1, 2, 5, 2, 3]], "kernel_size: 2", [[9, 5, 5, 8], [9, 5, 5, 8]],
     [[5, 2, 2, 9], [5, 12, 12, 9]]),
    (MAGIC, "kernel_h: 3 kernel_w: 2",
     [[35, 32, 26, 27, 27], [32, 33, 33, 27, 27], [31, 34, 34, 27, 27], [36, 36, 34, 18, 18]],
     [[0, 7, 3, 16, 16], [7, 20, 20, 16, 16], [12, 26, 26, 16, 16], [31, 31, 26, 34, 34]]),
    (MAGIC, "kernel_h: 2 kernel_w: 3",
     [[35, 32, 26, 26], [32, 32, 27, 27], [33, 33, 33, 27], [34, 34, 34, 17], [36, 36, 34, 18]],
     [[0, 7, 3, 3], [7, 7, 16, 16], [20, 20, 20, 16], [26, 26, 26, 21], [31, 31, 26, 34]]),
    ([[1, 2, 4], [2, 3, 2], [4, 2, 1]], "kernel_size: 3 stride: 2 pad: 2", [[1, 4, 4], [4, 4, 4], [4, 4, 1]], None),
])  # fmt: skip
def test_max_pooling(kernels, picture, rest, wanted, places):
    picture = np.asarray(picture)
    case = Case(
        kernels, "Pooling", f"pooling_param {{ {rest} }}", {"x": np.broadcast_to(picture, (2, 2, *picture.shape))}
    )
    for plane in case.forward().reshape(4, *np.shape(wanted)):
        assert np.array_equal(plane, wanted)
    if places is not None:  # where the gradient goes, ties to the first
        dx = case.gradient(1)
        counts = np.bincount(np.ravel(places), minlength=picture.size).reshape(picture.shape)
        assert np.array_equal(dx[1, 1], counts)


@pytest.mark.parametrize(("picture", "rest", "wanted"), [
    (np.full((3, 3), 2.0), "kernel_size: 3 stride: 1 pad: 1",
     [[8 / 9, 4 / 3, 8 / 9], [4 / 3, 2, 4 / 3], [8 / 9, 4 / 3, 8 / 9]]),
    (np.arange(1, 17).reshape(4, 4), "kernel_size: 3 stride: 2", [[6, 7.5], [12, 13.5]]),
    (np.arange(1, 17).reshape(4, 4), "kernel_size: 3 stride: 2 pad: 1",
     [[1.5555556, 3.3333333, 2], [6.3333333, 11, 6], [4.5, 7.5, 4]]),
    (np.full((3, 3), 2.0), "kernel_size: 2 stride: 2 pad: 1", [[0.5, 1], [1, 2]]),
])  # fmt: skip
def test_average_pooling(kernels, picture, rest, wanted):
    case = Case(kernels, "Pooling", f"pooling_param {{ pool: AVE {rest} }}", {"x": picture[None, None]})
    assert_close(case.forward()[0, 0], wanted, 1e-6)


@pytest.mark.parametrize(("kind", "rest", "shape", "wanted"), [
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", (2, 3, 6, 5), (2, 3, 3, 2)),
    ("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", (2, 3, 6, 5), (2, 3, 4, 3)),
    ("Pooling", "pooling_param { global_pooling: true }", (2, 3, 6, 5), (2, 3, 1, 1)),
    ("Pooling", "pooling_param { kernel_size: 1 stride: 2 round_mode: FLOOR }", (1, 1, 4, 4), (1, 1, 2, 2)),
    ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 stride: 2 }", (2, 3, 6, 4), (2, 4, 2, 1)),
    ("Convolution", "convolution_param { num_output: 3 group: 3 kernel_size: 3 stride: 2 }",
     (2, 3, 6, 4), (2, 3, 2, 1)),
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 3 dilation: 3 stride: 2 }",
     (2, 3, 10, 11), (2, 1, 2, 3)),
    ("InnerProduct", "inner_product_param { num_output: 10 }", (2, 3, 4, 5), (2, 10)),
    ("InnerProduct", "inner_product_param { num_output: 10 axis: 2 }", (2, 3, 4, 5), (2, 3, 10)),
    ("InnerProduct", "inner_product_param { num_output: 10 axis: -1 }", (2, 3, 4, 5), (2, 3, 4, 10)),
    ("Flatten", "", (2, 3, 6, 5), (2, 90)),
    ("Flatten", "flatten_param { axis: 2 }", (2, 3, 6, 5), (2, 3, 30)),
    ("Flatten", "flatten_param { end_axis: -2 }", (2, 3, 6, 5), (2, 18, 5)),
    ("Flatten", "flatten_param { axis: 0 end_axis: -2 }", (2, 3, 6, 5), (36, 5)),
])  # fmt: skip
def test_shapes(kind, rest, shape, wanted):
    net = net_of(inputs(x=shape) + layer("one", kind, "x", "y", rest))
    assert net.blobs["y"].shape == wanted


def test_sobel_is_separable(kernels):
    x = np.random.default_rng(1).normal(size=(2, 3, 6, 5))
    full = Case(kernels, "Convolution", "convolution_param { num_output: 1 kernel_size: 3 bias_term: false }", {"x": x})
    full.parameters[0].data[...] = np.outer([1, 2, 1], [-1, 0, 1])
    column = "convolution_param { num_output: 1 kernel_h: 3 kernel_w: 1 bias_term: false }"
    down = Case(kernels, "Convolution", column, {"x": x})
    down.parameters[0].data[...] = np.reshape([1, 2, 1], (3, 1))
    row = "convolution_param { num_output: 1 kernel_h: 1 kernel_w: 3 bias_term: false }"
    across = Case(kernels, "Convolution", row, {"x": down.forward()})
    across.parameters[0].data[...] = [[-1, 0, 1]]
    assert_close(across.forward(), full.forward())


def test_inner_product_transposed(kernels):
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    plain = Case(
        kernels, "InnerProduct", "inner_product_param { num_output: 10 weight_filler { type: 'xavier' } }", {"x": x}
    )
    turned = Case(kernels, "InnerProduct", "inner_product_param { num_output: 10 transpose: true }", {"x": x})
    turned.parameters[0].data[...] = plain.parameters[0].data.T
    assert turned.parameters[0].shape == (60, 10)
    assert_close(turned.forward(), plain.forward(), 1e-6)


def test_lrn_across(kernels):
    x = np.arange(1.0, 6).reshape(1, 5, 1, 1)
    case = Case(kernels, "LRN", "lrn_param { local_size: 3 alpha: 1 beta: 0.75 }", {"x": x})
    assert_close(case.forward().ravel(), [0.4792073, 0.5445456, 0.5082761, 0.4641881, 0.6671468], 1e-6)
    assert_close(case.gradient(1).ravel(), [0.3413078, -0.0511771, -0.0856076, -0.1227789, -0.0459758], 1e-6)


def test_lrn_within_ignores_k(kernels):
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    rest = "lrn_param { local_size: 3 alpha: 1 beta: 0.75 k: 7 norm_region: WITHIN_CHANNEL }"
    wanted = [[0.2572823, 0.3286335, 0.5668845], [0.4454099, 0.3659244, 0.5313516], [0.7973320, 0.6073001, 0.8329051]]
    assert_close(Case(kernels, "LRN", rest, {"x": x}).forward()[0, 0], wanted, 1e-6)


def test_batch_norm(kernels):
    case = Case(kernels, "BatchNorm", "", {"x": np.arange(1.0, 5).reshape(4, 1)})
    assert_close(case.forward().ravel(), [-1.3416354, -0.4472118, 0.4472118, 1.3416354], 1e-6)
    assert_close(np.concatenate([p.data for p in case.parameters]), [2.5, 1.6666667, 1], 1e-6)
    assert_close(case.gradient([[1], [0], [0], [0]]).ravel(), [0.2683303, -0.3577684, -0.0894434, 0.1788816], 1e-6)
    case.forward()
    assert_close(np.concatenate([p.data for p in case.parameters]), [4.9975, 3.3316667, 1.999], 1e-6)


def test_batch_norm_in_test_uses_the_running_sums(kernels):
    case = Case(kernels, "BatchNorm", "batch_norm_param { eps: 0 }", {"x": np.array([[5.0], [7.0]])}, phase=pb.TEST)
    for parameter, value in zip(case.parameters, (6, 8, 2), strict=True):
        parameter.data[...] = value
    assert_close(case.forward().ravel(), [1, 2], 1e-6)
    assert_close(np.concatenate([p.data for p in case.parameters]), [6, 8, 2])


@pytest.mark.parametrize(("rest", "wanted"), [
    ("VALID", 0.5065347), ("FULL", 0.5065347), ("BATCH_SIZE", 0.5065347), ("NONE", 1.5196042),
    ("VALID ignore_label: 0", 0.2104959), ("FULL ignore_label: 0", 0.1403306),
    ("BATCH_SIZE ignore_label: 0", 0.1403306),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1, 1), (1, 3)])
def test_softmax_loss(kernels, rest, wanted, shape):
    given = {"x": [[1, 2, 3], [1, 1, 1], [0, 5, 0]], "label": np.reshape([2, 0, 1], shape)}
    case = Case(kernels, "SoftmaxWithLoss", f"loss_param {{ normalization: {rest} }}", given)
    assert_close(case.forward(), wanted, 1e-6)


def test_ignoring_each_label_in_turn_adds_up(kernels):
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=(10, 5, 2, 3)), "label": rng.integers(0, 5, (10, 1, 2, 3))}
    losses = [
        float(Case(kernels, "SoftmaxWithLoss", f"loss_param {{ normalize: false {rest} }}", given).forward())
        for rest in ("", *(f"ignore_label: {i}" for i in range(5)))
    ]
    assert sum(losses[1:]) == pytest.approx(4 * losses[0], rel=1e-4)


def test_euclidean_loss(kernels):
    case = Case(kernels, "EuclideanLoss", "", {"x": [[2, 2], [3, 5]], "z": [[1, 0], [0, 1]]})
    assert float(case.forward()) == 7.5
    case.net.backward()
    assert np.array_equal(case.net.blobs["z"].diff, [[-0.5, -1], [-1.5, -2]])


def test_accuracy(kernels):
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(100, 10)), rng.integers(0, 10, 100).astype(np.float32)
    rank = (x > x[np.arange(100), label.astype(int)][:, None]).sum(1)
    for k in (1, 3):
        case = Case(kernels, "Accuracy", f"accuracy_param {{ top_k: {k} }}", {"x": x, "label": label})
        assert float(case.forward()) == pytest.approx((rank < k).mean())
    label[[2, 5, 32]] = -1
    case = Case(kernels, "Accuracy", "accuracy_param { ignore_label: -1 }", {"x": x, "label": label}, tops="y each")
    assert float(case.forward()) == pytest.approx((rank[label >= 0] < 1).sum() / 97)
    each = case.net.blobs["each"].data
    assert each == pytest.approx([(rank[label == c] < 1).mean() for c in range(10)])


def test_ties_are_wrong(kernels):
    given = {"x": [[1, 1, 0], [2, 1, 0]], "label": [0, 0]}
    assert float(Case(kernels, "Accuracy", "", given).forward()) == 0.5


def test_dropout_keeps_the_mean(kernels):
    for ratio in (0.5, 0.75):
        rest = f"dropout_param {{ dropout_ratio: {ratio} }}"
        case = Case(kernels, "Dropout", rest, {"x": np.ones((50, 20, 3, 3))})
        y = case.forward()
        kept = y != 0
        assert np.allclose(y[kept], 1 / (1 - ratio))
        assert abs(kept.mean() - (1 - ratio)) < 4 * np.sqrt(ratio * (1 - ratio) / kept.size)
        assert len({row.tobytes() for row in np.ascontiguousarray(kept).reshape(50, -1)}) == 50  # each sample its own
        assert not np.array_equal(case.forward() != 0, kept)  # nor the same again
        assert np.array_equal(
            Case(kernels, "Dropout", rest, {"x": np.ones((5, 4))}, phase=pb.TEST).forward(), np.ones((5, 4))
        )
