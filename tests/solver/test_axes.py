"""Layers to which an axis matters, on blobs of any number of axes: against NumPy in float64."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, inputs, layer, net_of

from batchbrew.protos import messages as pb

RNG = np.random.default_rng(11)
SHAPES = ((4,), (3, 4), (2, 3, 4), (2, 3, 4, 2), (2, 3, 2, 2, 3), (2, 2, 3, 1, 2, 2))
WITH_AXES = [(shape, axis) for shape in SHAPES for axis in range(-1, len(shape))]


@pytest.fixture(params=sorted({KERNEL_SETS[0], "reference"}))  # test_kernels_agree.py compares all of them
def kernels(request):
    return request.param


class Case:
    """A net of one layer `one` with these inputs, and its state after a forward pass."""

    def __init__(self, kernels, kind, rest, /, tops="y", phase=pb.TRAIN, **given):
        arrays = {name: np.asarray(values) for name, values in given.items()}
        source = inputs(**{name: values.shape for name, values in arrays.items()})
        source += layer("one", kind, " ".join(arrays), tops, rest) + "force_backward: true"
        self.net = net_of(source, phase, kernels=kernels)
        for name, values in arrays.items():
            self.net.blobs[name].data[...] = values
        self.net.forward()
        self.parameters = self.net.params.get("one", [])

    def __getitem__(self, name):
        return self.net.blobs[name].data

    def gradient(self, dy=None, name="x"):
        if dy is not None:
            self.net.blobs["y"].diff[...] = dy
        self.net.zero_sums()
        self.net.backward()
        return self.net.blobs[name].diff


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize(("shape", "axis"), WITH_AXES)
def test_softmax(shape, axis, kernels):
    x, dy = RNG.normal(size=shape), RNG.normal(size=shape)
    case = Case(kernels, "Softmax", f"softmax_param {{ axis: {axis} }}", x=x)
    y = softmax(x, axis)
    assert_close(case["y"], y, 1e-6)
    assert_close(case.gradient(dy), y * (dy - (y * dy).sum(axis=axis, keepdims=True)), 1e-6)


@pytest.mark.parametrize("normalization", ["FULL", "VALID", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize(("shape", "axis"), WITH_AXES)
def test_softmax_loss(shape, axis, normalization, kernels):
    x = RNG.normal(size=shape)
    label = RNG.integers(0, shape[axis], shape[: axis % len(shape)] + shape[axis % len(shape) + 1 :])
    rest = f"softmax_param {{ axis: {axis} }} loss_param {{ ignore_label: 1 normalization: {normalization} }}"
    case = Case(kernels, "SoftmaxWithLoss", rest + " loss_weight: 2 loss_weight: 0", tops="y prob", x=x, label=label)
    prob = softmax(x, axis)
    valid = label != 1
    outer = prod(shape[: axis % len(shape)])
    divisor = max(1, {"FULL": label.size, "VALID": valid.sum(), "BATCH_SIZE": outer, "NONE": 1}[normalization])
    truth = np.moveaxis(np.eye(shape[axis])[label], -1, axis)
    assert_close(case["prob"], prob, 1e-6)
    assert_close(case["y"], -np.log((prob * truth).sum(axis))[valid].sum() / divisor, 1e-5)
    wanted = (prob - truth) * np.expand_dims(valid, axis) * 2 / divisor
    assert_close(case.gradient(), wanted, 1e-6)


@pytest.mark.parametrize("ignored", [None, -1, 2])
@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize(("shape", "axis"), [((30, 4), 1), ((4,), 0), ((4, 30), 0), ((2, 4, 3, 5), 1), ((2, 3, 5, 4), -1),
                                             ((2, 3, 4, 5, 2), 2), ((2, 3, 2, 2, 4), 4), ((5, 4, 6), -2)])  # fmt: skip
def test_accuracy(shape, axis, top_k, ignored, kernels):
    """Scores are small integers, so that many are equal: those count against."""
    x = RNG.integers(0, 5, shape)
    label = RNG.integers(0, 4, shape[: axis % len(shape)] + shape[axis % len(shape) + 1 :])
    if ignored == -1:
        label = np.where(RNG.uniform(size=label.shape) < 0.2, -1, label)
    ignore = "" if ignored is None else f"ignore_label: {ignored}"
    rest = f"accuracy_param {{ axis: {axis} top_k: {top_k} {ignore} }}"
    case = Case(kernels, "Accuracy", rest, tops="y each", phase=pb.TEST, x=x, label=label)
    right, seen = np.zeros(4), np.zeros(4)
    for scores, truth in zip(np.moveaxis(x, axis, -1).reshape(-1, 4), label.ravel(), strict=True):
        if truth != ignored:
            seen[truth] += 1
            right[truth] += sum(score >= scores[truth] for i, score in enumerate(scores) if i != truth) < top_k
    assert_close(case["y"], right.sum() / max(1, seen.sum()), 1e-6)
    assert_close(case["each"], right / np.maximum(seen, 1), 1e-6)


def test_accuracy_of_nothing_is_zero(kernels):
    case = Case(kernels, "Accuracy", "accuracy_param { ignore_label: 1 }", tops="y each", x=[[1, 2]], label=[1])
    assert case["y"] == 0
    assert not case["each"].any()


def test_constant_scores_are_never_right(kernels):
    for top_k, wanted in ((1, 0), (2, 0), (3, 1)):
        rest = f"accuracy_param {{ top_k: {top_k} }}"
        assert Case(kernels, "Accuracy", rest, x=np.ones((5, 3)), label=[0, 1, 2, 0, 1])["y"] == wanted


def test_accuracy_with_ignored_items(kernels):
    """The denominator is the number of those that count."""
    x, label = RNG.normal(size=(100, 10)), RNG.integers(0, 10, 100)
    label[[2, 5, 32]] = -1
    case = Case(kernels, "Accuracy", "accuracy_param { ignore_label: -1 }", x=x, label=label)
    assert_close(case["y"] * 97, (x.argmax(1) == label).sum(), 1e-6)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (4, 3, 2, 3), (3, 3, 2, 1, 3), (2, 3, 2, 2, 1, 2)])
def test_batch_norm(shape, kernels):
    x, dy = RNG.normal(2, 3, shape), RNG.normal(size=shape)
    axes = tuple(d for d in range(len(shape)) if d != 1)
    wide = [3 if d == 1 else 1 for d in range(len(shape))]
    mean, var, count = x.mean(axes), x.var(axes), x.size / 3
    case = Case(kernels, "BatchNorm", "", x=x)
    deviation = np.sqrt(var + 1e-5).reshape(wide)
    y = (x - mean.reshape(wide)) / deviation
    assert_close(case["y"], y, 1e-5)
    dx = (dy - dy.mean(axes).reshape(wide) - (dy * y).mean(axes).reshape(wide) * y) / deviation
    assert_close(case.gradient(dy), dx, 1e-5)
    for parameter, wanted in zip(case.parameters, (mean, var * count / (count - 1), [1]), strict=True):
        assert_close(parameter.data, wanted, 1e-5)
    tested = Case(kernels, "BatchNorm", "", phase=pb.TEST, x=x)
    for parameter, values in zip(tested.parameters, (2 * mean, 2 * var, 2), strict=True):
        parameter.data[...] = values
    tested.net.forward()
    assert_close(tested["y"], y, 1e-5)
    assert_close(tested.gradient(dy), dy / deviation, 1e-5)


@pytest.mark.parametrize(("shape", "axis"), WITH_AXES)
def test_inner_product(shape, axis, kernels):
    x = RNG.normal(size=shape)
    first = axis % len(shape)
    case = Case(kernels, "InnerProduct", f"inner_product_param {{ num_output: 5 axis: {axis} "
                "weight_filler { type: 'gaussian' } bias_filler { type: 'uniform' } }", x=x)  # fmt: skip
    weights, bias = (parameter.data.astype(np.float64) for parameter in case.parameters)
    assert weights.shape == (5, prod(shape[first:]))
    dy = RNG.normal(size=(*shape[:first], 5))
    matrix, dmatrix = x.reshape(-1, weights.shape[1]), dy.reshape(-1, 5)
    assert_close(case["y"], (matrix @ weights.T + bias).reshape(dy.shape), 1e-5)
    assert_close(case.gradient(dy), (dmatrix @ weights).reshape(shape), 1e-5)
    assert_close(case.parameters[0].grad, dmatrix.T @ matrix, 1e-5)
    assert_close(case.parameters[1].grad, dmatrix.sum(0), 1e-5)


@pytest.mark.parametrize(("shape", "rest", "wanted"), [
    ((2, 3, 2, 2, 3), "", (2, 36)), ((2, 3, 2, 2, 3), "axis: 2 end_axis: 3", (2, 3, 4, 3)),
    ((2, 3, 2, 2, 3), "axis: 0 end_axis: 1", (6, 2, 2, 3)), ((2, 3, 4, 5), "axis: 0", (120,)),
    ((4,), "axis: 0", (4,)), ((2, 3, 4), "axis: -1", (2, 3, 4)), ((2, 3, 4, 1, 1, 2), "end_axis: -2", (2, 12, 2)),
])  # fmt: skip
def test_flatten(shape, rest, wanted, kernels):
    x, dy = RNG.normal(size=shape), RNG.normal(size=wanted)
    case = Case(kernels, "Flatten", f"flatten_param {{ {rest} }}", x=x)
    assert_close(case["y"], x.reshape(wanted), 1e-7)
    assert_close(case.gradient(dy), dy.reshape(shape), 1e-7)


@pytest.mark.parametrize(("shape", "other"), [((3,), (3,)), ((3, 4), (3, 2, 2)), ((3, 2, 2, 2), (3, 2, 2, 2)),
                                              ((3, 2, 1, 2, 2), (3, 2, 1, 2, 2)), ((3, 2, 2, 2), (3, 1, 2, 2, 2))])  # fmt: skip
def test_euclidean_loss(shape, other, kernels):
    """Divided by the first axis, whatever the others are."""
    x, z = RNG.normal(size=shape), RNG.normal(size=other)
    case = Case(kernels, "EuclideanLoss", "loss_weight: 2", x=x, z=z)
    assert_close(case["y"], ((x - z.reshape(shape)) ** 2).sum() / 6, 1e-6)
    assert_close(case.gradient(), (x - z.reshape(shape)) * 2 / 3, 1e-6)
    assert_close(case.gradient(name="z"), (z - x.reshape(other)) * 2 / 3, 1e-6)


@pytest.mark.parametrize("shape", [*SHAPES, ()])
def test_dropout_draws_by_sample_and_place(shape, kernels):
    """So the same for a blob of other axes with the same samples."""
    case = Case(kernels, "Dropout", "", x=np.ones(shape))
    flat = Case("reference", "Dropout", "", x=np.ones((shape[0], prod(shape[1:])) if shape else (1, 1)))
    assert set(np.unique(case["y"])) <= {0, 2}
    assert np.array_equal(case["y"].ravel(), flat["y"].ravel())
    assert np.array_equal(case.gradient(3), 3 * case["y"])


def test_dropout_of_nothing(kernels):
    case = Case(kernels, "Dropout", "dropout_param { dropout_ratio: 0 }", x=np.ones((20, 30)))
    assert (case["y"] == 1).all()
    assert (case.gradient(2) == 2).all()


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 2, 2, 3), (1,) * 31 + (2,)])
def test_sources_and_splits(shape, kernels):
    dims = " ".join(f"dim: {size}" for size in shape)
    source = layer("d", "DummyData", "", "d", f"dummy_data_param {{ shape {{ {dims} }} data_filler {{ value: 3 }} }}")
    source += inputs(x=shape) + layer("s", "Split", "x", "a b") + layer("sum", "Eltwise", "a b d", "y")
    net = net_of(source + "force_backward: true", kernels=kernels)
    net.blobs["x"].data[...] = 4
    net.forward()
    assert net.blobs["y"].shape == shape
    assert (net.blobs["y"].data == 11).all()
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert (net.blobs["x"].diff == 2).all()


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2, 2), (4, 3, 2, 1, 2)])
@pytest.mark.parametrize(("kind", "rest"), [
    ("BatchNorm", ""), ("Softmax", ""), ("Scale", "scale_param { bias_term: true }"), ("Bias", ""), ("PReLU", ""),
    ("Dropout", ""), ("Flatten", ""), ("InnerProduct", "inner_product_param { num_output: 2 }"), ("Power", ""),
])  # fmt: skip
def test_batches_without_samples(kind, rest, shape, kernels):
    """They leave no trace, in running sums least of all."""
    source = inputs(x=shape, s=(4,)) + layer("f", "Filter", "x s", "g") + layer("one", kind, "g", "y", rest)
    net = net_of(source + "force_backward: true", kernels=kernels)
    net.blobs["x"].data[...] = RNG.normal(size=shape)
    before = [parameter.data.copy() for parameter in net.flat.parameters]
    net.forward()
    net.backward()
    assert net.blobs["y"].shape[0] == 0
    for parameter, values in zip(net.flat.parameters, before, strict=True):
        assert np.array_equal(parameter.data, values)
        assert not parameter.grad.any()
    net.blobs["s"].data[:2] = 1
    net.forward()
    assert net.blobs["y"].shape[0] == 2


@pytest.mark.parametrize(("kind", "label"), [("SoftmaxWithLoss", (4,)), ("EuclideanLoss", (4, 3)), ("Accuracy", (4,))])
def test_the_loss_of_no_samples_is_zero(kind, label, kernels):
    source = inputs(x=(4, 3), t=label, s=(4,)) + layer("f", "Filter", "x t s", "g h") + layer("one", kind, "g h", "y")
    net = net_of(source + "force_backward: true", kernels=kernels)
    assert net.forward()["y"] == 0
    net.backward()
