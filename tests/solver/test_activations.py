"""Element-wise layers, Eltwise, Bias, Parameter and Silence against closed forms, compiled and in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, data, inputs, layer, net_of, samples
from numpy import exp, log

from batchbrew.errors import UserError

RNG = np.random.default_rng(7)
SHAPES = ((2, 3, 4, 5), (7,), (), (2, 3, 2, 2, 3))


@pytest.fixture(params=sorted({KERNEL_SETS[0], "reference"}))  # test_kernels_agree.py compares all of them
def kernels(request):
    return request.param


def one(kind, rest="", bottoms="x", tops="y"):
    return layer("one", kind, bottoms, tops, rest)


def run(source, given, kernels="reference", dy=None, force="force_backward: true"):
    """Return a net after a pass forward and, with the gradient dy of y, backward."""
    arrays = {name: np.asarray(values, np.float64) for name, values in given.items()}
    net = net_of(inputs(**{name: a.shape for name, a in arrays.items()}) + source + force, kernels=kernels)
    for name, values in arrays.items():
        net.blobs[name].data[...] = values
    net.forward()
    if dy is not None:
        net.blobs["y"].diff[...] = dy
        net.zero_sums()
        net.backward()
    return net


def logistic(x):
    return 1 / (1 + exp(-x))


FORMULAS = [  # type, settings, y, dy/dx
    ("AbsVal", "", np.abs, np.sign),
    ("BNLL", "", lambda x: log(1 + exp(x)), logistic),
    ("Clip", "min: -1 max: 2", lambda x: np.minimum(np.maximum(x, -1), 2), lambda x: (x >= -1) & (x <= 2)),
    ("ELU", "", lambda x: np.where(x > 0, x, exp(x) - 1), lambda x: np.where(x > 0, 1, exp(x))),
    ("ELU", "alpha: 0.5", lambda x: np.where(x > 0, x, 0.5 * (exp(x) - 1)), lambda x: np.where(x > 0, 1, 0.5 * exp(x))),
    ("ELU", "alpha: -2", lambda x: np.where(x > 0, x, -2 * (exp(x) - 1)), lambda x: np.where(x > 0, 1, -2 * exp(x))),
    ("Swish", "", lambda x: x * logistic(x), lambda x: logistic(x) + x * logistic(x) * (1 - logistic(x))),
    ("Swish", "beta: 0", lambda x: x / 2, lambda x: 0.5 + 0 * x),
    ("Swish", "beta: 0.5", lambda x: x * logistic(x / 2),
     lambda x: logistic(x / 2) + x / 2 * logistic(x / 2) * (1 - logistic(x / 2))),
    ("Exp", "", exp, exp),
    ("Exp", "base: 2", lambda x: 2.0**x, lambda x: 2.0**x * log(2)),
    ("Exp", "shift: 1", lambda x: exp(1 + x), lambda x: exp(1 + x)),
    ("Exp", "scale: 3", lambda x: exp(3 * x), lambda x: 3 * exp(3 * x)),
    ("Exp", "base: 2 shift: 1 scale: 3", lambda x: 2.0 ** (1 + 3 * x), lambda x: 3 * log(2) * 2.0 ** (1 + 3 * x)),
    ("Exp", "base: 1 shift: 5", np.ones_like, np.zeros_like),
    ("Log", "", log, lambda x: 1 / x),
    ("Log", "base: 2", np.log2, lambda x: 1 / x / log(2)),
    ("Log", "shift: 1", lambda x: log(1 + x), lambda x: 1 / (1 + x)),
    ("Log", "scale: 3", lambda x: log(3 * x), lambda x: 1 / x),
    ("Log", "base: 2 shift: 1 scale: 3", lambda x: np.log2(1 + 3 * x), lambda x: 3 / (1 + 3 * x) / log(2)),
    ("Log", "base: 0.1", lambda x: -np.log10(x), lambda x: -1 / x / log(10)),
    ("Power", "", lambda x: x, np.ones_like),
    ("Power", "power: 0.37 scale: 0.83 shift: -2.4", lambda x: (0.83 * x - 2.4) ** 0.37,
     lambda x: 0.37 * 0.83 * (0.83 * x - 2.4) ** -0.63),
    ("Power", "power: 0.37", lambda x: x**0.37, lambda x: 0.37 * x**-0.63),
    ("Power", "scale: 0.83", lambda x: 0.83 * x, lambda x: 0.83 + 0 * x),
    ("Power", "shift: -2.4", lambda x: x - 2.4, np.ones_like),
    ("Power", "power: 2", lambda x: x**2, lambda x: 2 * x),
    ("Power", "power: 2 scale: 0.83 shift: -2.4", lambda x: (0.83 * x - 2.4) ** 2, lambda x: 1.66 * (0.83 * x - 2.4)),
    ("Power", "power: -3", lambda x: x**-3, lambda x: -3 * x**-4),
    ("Power", "power: 0", np.ones_like, np.zeros_like),
    ("Power", "power: 0 shift: -3", np.ones_like, np.zeros_like),
    ("Power", "scale: 0 shift: 3 power: 2", lambda x: 9 + 0 * x, np.zeros_like),
    ("Power", "scale: 0 power: -1", lambda x: np.inf + 0 * x, np.zeros_like),
    ("Power", "scale: 0 shift: -2 power: 0.5", lambda x: np.nan + 0 * x, np.zeros_like),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "rest", "y", "slope"), FORMULAS)
def test_formula(kind, rest, y, slope, kernels):
    x = np.array([-3.2, -1.7, -1, -0.4, 0.01, 0.3, 1, 2, 2.5, 4.1, 3.3, -0.9, 1.6, 0.7, -2.1, 0.6, -0.05]).astype("f4")
    dy = RNG.normal(size=x.shape).astype(np.float32)
    net = run(one(kind, f"{kind.lower()}_param {{ {rest} }}" if rest else ""), {"x": x}, kernels, dy)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        np.testing.assert_allclose(net.blobs["y"].data, y(wide), 1e-5, 1e-6)
        np.testing.assert_allclose(net.blobs["x"].diff, dy * slope(wide), 1e-4, 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [*{kind: 0 for kind, *_ in FORMULAS}, "ReLU", "Sigmoid", "TanH", "Threshold"])
def test_any_number_of_axes(kind, shape, kernels):
    """Element by element: the same as for one axis."""
    x, dy = RNG.uniform(0.1, 3, shape), RNG.normal(size=shape)
    source = one(kind, "clip_param { min: 1 max: 2 }" if kind == "Clip" else "")
    net, flat = run(source, {"x": x}, kernels, dy), run(source, {"x": x.ravel()}, "reference", dy.ravel())
    assert_close(net.blobs["y"].data.ravel(), flat.blobs["y"].data, 1e-6)
    assert_close(net.blobs["x"].diff.ravel(), flat.blobs["x"].diff, 1e-6)


@pytest.mark.parametrize("kind", ["BNLL", "Clip", "ELU", "Exp", "Log", "Power", "PReLU", "Swish", "Bias", "Scale"])
def test_in_place_is_the_same(kind, kernels):
    """Also between layers that read the same memory again."""
    x = RNG.normal(size=(2, 3, 4, 5))
    rest = {"Clip": "clip_param { min: 0.2 max: 0.6 }", "Power": "power_param { power: 3 shift: 1 }"}.get(kind, "")
    dy = RNG.normal(size=(2, 3, 4, 5))
    apart = layer("s", "Sigmoid", "x", "a") + one(kind, rest, "a", "b") + layer("r", "ReLU", "b", "y")
    within = layer("s", "Sigmoid", "x", "y") + one(kind, rest, "y", "y") + layer("r", "ReLU", "y", "y")
    wanted, found = (run(source, {"x": x}, kernels, dy) for source in (apart, within))
    assert_close(found.blobs["y"].data, wanted.blobs["y"].data, 1e-6)
    assert_close(found.blobs["x"].diff, wanted.blobs["x"].diff, 1e-6)
    for mine, theirs in zip(found.params.get("one", []), wanted.params.get("one", []), strict=True):
        assert_close(mine.grad, theirs.grad, 1e-6)


def test_threshold(kernels):
    x = np.array([-1, 0, 0.2, 0.5, 0.51, 3], np.float32)
    assert np.array_equal(run(one("Threshold"), {"x": x}, kernels).blobs["y"].data, [0, 0, 1, 1, 1, 1])
    source = one("Threshold", "threshold_param { threshold: 0.5 }")
    assert np.array_equal(run(source, {"x": x}, kernels).blobs["y"].data, [0, 0, 0, 0, 1, 1])


def test_threshold_has_no_gradient():
    net = run(layer("b", "Bias", "x", "h") + one("Threshold", "loss_weight: 1", "h"), {"x": [[1, 2]]}, force="")
    with pytest.raises(UserError, match=r"^layer 'one' \(Threshold\): has no gradient for its bottom$"):
        net.backward()
    run(one("Threshold"), {"x": [1, 2]}, dy=1)  # force_backward does not ask for it


def test_prelu(kernels):
    x, dy = RNG.normal(size=(2, 3, 4, 5)), RNG.normal(size=(2, 3, 4, 5))
    prelu, relu = run(one("PReLU"), {"x": x}, kernels, dy), run(one("ReLU", "relu_param { negative_slope: 0.25 }"),
                                                                  {"x": x}, kernels, dy)  # fmt: skip
    assert_close(prelu.blobs["y"].data, relu.blobs["y"].data, 1e-7)
    assert_close(prelu.blobs["x"].diff, relu.blobs["x"].diff, 1e-7)
    assert_close(prelu.params["one"][0].grad, np.where(x <= 0, dy * x, 0).sum((0, 2, 3)), 1e-5)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 2, 3)])
@pytest.mark.parametrize("shared", [False, True])
def test_prelu_slopes(shape, shared, kernels):
    x, dy = RNG.normal(size=shape), RNG.normal(size=shape)
    net = net_of(inputs(x=shape) + one("PReLU", f"prelu_param {{ channel_shared: {str(shared).lower()} }}")
                 + "force_backward: true", kernels=kernels)  # fmt: skip
    (slopes,) = net.params["one"]
    assert (slopes.data == 0.25).all()
    values = np.array(-0.3) if shared else np.array([0.1, -0.2, 1.5])
    slopes.data[...] = values
    wide = values if shared else values.reshape(1, 3, *[1] * (len(shape) - 2))
    net.blobs["x"].data[...], net.blobs["y"].diff[...] = x, dy
    net.forward()
    net.backward()
    assert_close(net.blobs["y"].data, np.where(x > 0, x, wide * x), 1e-6)
    assert_close(net.blobs["x"].diff, dy * np.where(x > 0, 1, wide), 1e-6)
    below = np.where(x <= 0, dy * x, 0)
    axes = tuple(range(len(shape))) if shared else tuple(d for d in range(len(shape)) if d != 1)
    assert_close(slopes.grad, below.sum(axes), 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_eltwise(shape, kernels):
    a, b, c, dy = (RNG.normal(size=shape) for _ in range(4))
    given = {"a": a, "b": b, "c": c}
    largest = np.argmax([a, b, c], axis=0)
    for rest, y, gradients in (
        ("", a + b + c, (dy, dy, dy)),
        ("coeff: 1 coeff: -0.5 coeff: 2", a - 0.5 * b + 2 * c, (dy, -0.5 * dy, 2 * dy)),
        ("operation: PROD", a * b * c, (dy * b * c, dy * a * c, dy * a * b)),
        ("operation: PROD stable_prod_grad: false", a * b * c, (dy * b * c, dy * a * c, dy * a * b)),
        ("operation: MAX", np.maximum(np.maximum(a, b), c), [np.where(largest == i, dy, 0) for i in range(3)]),
        ("operation: MAX coeff: 1 coeff: 2 coeff: 3", np.maximum(np.maximum(a, b), c),
         [np.where(largest == i, dy, 0) for i in range(3)]),
    ):  # fmt: skip
        net = run(one("Eltwise", f"eltwise_param {{ {rest} }}", "a b c"), given, kernels, dy)
        assert_close(net.blobs["y"].data, y, 1e-5, rest)
        for name, wanted in zip("abc", gradients, strict=True):
            assert_close(net.blobs[name].diff, wanted, 1e-5, f"{rest} {name}")


def test_eltwise_of_equal_numbers(kernels):
    """Of the first two the second wins ties, later ones lose them."""
    given = {"a": [1, 2, 1, 3, 5], "b": [1, 1, 1, 3, 4], "c": [1, 2, 0, 4, 5], "d": [0, 2, 1, 4, 5]}
    net = run(one("Eltwise", "eltwise_param { operation: MAX }", "a b c d"), given, kernels, [1, 2, 3, 4, 5])
    assert np.array_equal(net.blobs["y"].data, [1, 2, 1, 4, 5])
    for name, wanted in (("a", [0, 2, 0, 0, 5]), ("b", [1, 0, 3, 0, 0]), ("c", [0, 0, 0, 4, 0]), ("d", [0] * 5)):
        assert np.array_equal(net.blobs[name].diff, wanted)


def test_eltwise_product_with_a_zero(kernels):
    """The stable gradient multiplies the others; the other one divides, as in Caffe."""
    given = {"a": [0, 2], "b": [3, 4]}
    for stable, wanted in (("true", [3, 4]), ("false", [np.nan, 4])):
        net = run(one("Eltwise", f"eltwise_param {{ operation: PROD stable_prod_grad: {stable} }}", "a b"), given,
                  kernels, 1)  # fmt: skip
        assert np.array_equal(net.blobs["a"].diff, wanted, equal_nan=True)


def aligned(operand, axis, ndim):
    """Return an operand whose axes start at ``axis``, ready to be broadcast by NumPy."""
    operand = np.asarray(operand)
    return operand.reshape([1] * axis + list(operand.shape) + [1] * (ndim - axis - operand.ndim))


ALIGNED = [  # shape of x, axis, num_axes
    ((2, 3, 4, 5), 1, 1), ((2, 3, 4, 5), -3, 1), ((2, 3, 4, 5), 1, 2), ((2, 3, 4, 5), 0, -1), ((2, 3, 4, 5), 1, -1),
    ((2, 3, 4, 5), 3, 1), ((2, 3, 4, 5), 0, 1), ((2, 3, 4, 5), 2, 0), ((2, 3), 1, 1), ((2, 3), 0, 1), ((5,), 0, 1),
    ((5,), 0, 0), ((2, 3, 4), 1, 1), ((2, 3, 2, 2, 3), 1, 1), ((2, 3, 2, 2, 3), 1, 3), ((2, 3, 2, 2, 3), 0, 4),
    ((2, 3, 2, 2, 3), -1, 1), ((2, 3, 2, 2, 3), 2, 0),
]  # fmt: skip


@pytest.mark.parametrize("bottoms", [1, 2])
@pytest.mark.parametrize("case", ALIGNED)
@pytest.mark.parametrize("kind", ["Scale", "Bias"])
def test_scale_and_bias(kind, case, bottoms, kernels):
    shape, axis, count = case
    first = axis % len(shape)
    end = len(shape) if count == -1 else first + count
    x, dy, operand = RNG.normal(size=shape), RNG.normal(size=shape), RNG.normal(size=shape[first:end])
    wide = aligned(operand, first, len(shape))
    others = tuple(d for d in range(len(shape)) if not first <= d < end)
    given = {"x": x, "w": operand}
    source = inputs(**{name: np.shape(given[name]) for name in "xw"[:bottoms]}) + one(
        kind,
        f"{kind.lower()}_param {{ axis: {axis} num_axes: {count} {'bias_term: true' if kind == 'Scale' else ''} }}",
        " ".join("xw"[:bottoms]),
    )
    net = net_of(source + "force_backward: true", kernels=kernels)
    if bottoms == 1:
        assert net.params["one"][0].shape == operand.shape
        assert (net.params["one"][0].data == (1 if kind == "Scale" else 0)).all()
        net.params["one"][0].data[...] = operand
    else:
        net.blobs["w"].data[...] = operand
    if kind == "Scale":
        bias = RNG.normal(size=operand.shape)
        net.params["one"][-1].data[...] = bias
    net.blobs["x"].data[...], net.blobs["y"].diff[...] = x, dy
    net.forward()
    net.backward()
    y = x * wide + aligned(bias, first, len(shape)) if kind == "Scale" else x + wide
    assert_close(net.blobs["y"].data, y, 1e-6)
    assert_close(net.blobs["x"].diff, dy * wide if kind == "Scale" else dy, 1e-6)
    gradient = net.params["one"][0].grad if bottoms == 1 else net.blobs["w"].diff
    assert_close(gradient, (dy * x if kind == "Scale" else dy).sum(others), 1e-5)
    if kind == "Scale":
        assert_close(net.params["one"][-1].grad, dy.sum(others), 1e-5)


def test_a_second_bottom_of_no_axes_fits_anywhere(kernels):
    """As in Caffe, where the axis is then not looked at."""
    net = run(one("Scale", "", "x w"), {"x": [1, 2], "w": 3}, kernels, [1, 10])
    assert np.array_equal(net.blobs["y"].data, [3, 6])
    assert net.blobs["w"].diff == 21


def test_silence(kernels):
    source = layer("t", "TanH", "x", "h") + one("Silence", "", "h z", "") + layer("p", "Power", "x", "y")
    net = run(source, {"x": [1, 2], "z": [3, 4]}, kernels)
    assert net.outputs == ["y"]
    net.blobs["h"].diff[...] = net.blobs["z"].diff[...] = 5
    net.blobs["y"].diff[...] = [6, 7]
    net.backward()
    assert not net.blobs["z"].diff.any()
    assert np.array_equal(net.blobs["x"].diff, [6, 7])


PARAMETER = layer("w", "Parameter", "", "w", "parameter_param { shape { dim: 3 dim: 2 } }")


def test_parameter(kernels):
    net = net_of(inputs(x=(3, 2)) + PARAMETER + one("Eltwise", "eltwise_param { operation: PROD }", "x w")
                 + "force_backward: true", kernels=kernels)  # fmt: skip
    (weights,) = net.params["w"]
    assert weights.shape == (3, 2)
    assert not weights.data.any()
    x, w, dy = (RNG.normal(size=(3, 2)) for _ in range(3))
    net.blobs["x"].data[...], weights.data[...], net.blobs["y"].diff[...] = x, w, dy
    net.forward()
    assert_close(net.blobs["w"].data, w, 1e-6)
    assert_close(net.blobs["y"].data, x * w, 1e-6)
    net.backward()
    net.backward()
    assert_close(weights.grad, 2 * x * dy, 1e-5)


RESIDUAL = (
    data(16)
    + layer("c1", "Convolution", "data", "a", "convolution_param { num_output: 2 kernel_size: 3 pad: 1 "
            "weight_filler { type: 'xavier' } }")
    + layer("p1", "PReLU", "a", "a")
    + layer("sum", "Eltwise", "data a", "b", "eltwise_param { coeff: 1 coeff: -0.5 }")
    + layer("elu", "ELU", "b", "b") + layer("bias", "Bias", "b", "b")
    + layer("ip", "InnerProduct", "b", "ip", "inner_product_param { num_output: 4 weight_filler { type: 'xavier' } }")
    + layer("max", "Eltwise", "ip ip", "top", "eltwise_param { operation: MAX }")
    + layer("loss", "SoftmaxWithLoss", "top label", "loss")
)  # fmt: skip


def test_chunks_do_not_matter(kernels):
    found = []
    for chunk in (3, 64):
        net = net_of(RESIDUAL, data=samples(16), seed=2, kernels=kernels, chunk=chunk)
        assert net.uncut == []
        net.zero_sums()
        net.accumulate(np.arange(16), 0)
        found.append(net.flat.grads / net.count)
    assert np.abs(found[0]).max() > 0.01
    assert_close(found[0], found[1], 1e-6)
    net.zero_sums()
    net.forward()
    net.backward()
    assert_close(net.flat.grads, found[1], 1e-5)


def test_a_parameter_trains_in_whole_passes():
    """Even one before the layer that reads samples, whose batch is the net's."""
    before, tail = RESIDUAL.split('layer { name: "max"')
    scaled = layer("scale", "Scale", "ip w", "scaled") + 'layer { name: "max"' + tail.replace('"ip"', '"scaled"', 1)
    vector = layer("w", "Parameter", "", "w", "parameter_param { shape { dim: 4 } }")
    net = net_of(vector + before + scaled, data=samples(20), seed=2)
    assert net.batch == 16
    assert net.uncut == [
        "layer 'w' (Parameter) sees the whole batch", "layer 'scale' (Scale) sees the whole batch"
    ]  # fmt: skip
    net.zero_sums()
    net.accumulate(np.arange(16), 0)
    assert net.params["w"][0].grad.any()


def test_prelu_keeps_its_channels():
    prelu = net_of(inputs(x=(2, 3, 4)) + one("PReLU")).layers[-1]
    assert prelu.reshape([(5, 3, 1)]) == [(5, 3, 1)]
    with pytest.raises(UserError, match=r"was set up for 3 channels, found a bottom \(2, 4, 4\)"):
        prelu.reshape([(2, 4, 4)])
