"""Compiled kernels against the NumPy reference: drawn geometries, guarded memory, and numbers that are no numbers."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from engine_support import COMPILED, KERNEL_SETS, assert_close, inputs, layer, net_of, randomise

from batchbrew.solver import blob, parameter
from batchbrew.solver import layer as layer_module
from batchbrew.solver.kernels import compile_program
from batchbrew.solver.kernels.reference import KERNELS
from batchbrew.solver.layers import convolution, inner_product
from batchbrew.solver.solvers import base

CHANNELS = (1, 3, 5, 17, 20, 33, 50, 64, 100)
ELEMENTWISE = ("ReLU", "Sigmoid", "TanH", "Dropout", "ELU", "BNLL", "Swish", "PReLU", "Bias")
NEURONS = {  # types and some of their settings
    "ReLU": ("", "negative_slope: 0.1", "negative_slope: -0.5"),
    "Sigmoid": (),
    "TanH": (),
    "Dropout": ("", "dropout_ratio: 0.2", "dropout_ratio: 0"),
    "AbsVal": (),
    "BNLL": (),
    "Clip": ("min: -0.5 max: 0.7", "min: 1 max: -1"),
    "ELU": ("", "alpha: 0.3", "alpha: -1"),
    "Swish": ("", "beta: 3", "beta: -0.5", "beta: 0"),
    "Threshold": ("", "threshold: 0.4"),
    "Exp": ("", "base: 2 scale: 1.5 shift: 0.3", "base: 0.1 scale: -1", "base: 1", "scale: 0 shift: 2"),
    "Log": ("shift: 8", "base: 10 scale: 2 shift: 15", "base: 0.5 scale: -1 shift: 9", "scale: -1 shift: -20"),
    "Power": ("", "power: 2 scale: 0.5 shift: 3", "power: 0.37 scale: 0.8 shift: 9", "power: 3", "power: -1 scale: 2",
              "power: 2.5", "scale: 3 shift: -1", "power: 0 shift: 5", "scale: 0 shift: 2 power: 3",
              "scale: 0 power: -1", "scale: 0 shift: -2 power: 0.5"),
    "PReLU": ("", "channel_shared: true"),
    "Split": (),
}  # fmt: skip
COUNTS = {"conv": 40, "pool": 24, "norm": 36, "dense": 24, "head": 36, "net": 24, "neuron": 60, "several": 36}
DRAWS = [(kind, seed) for kind, count in COUNTS.items() for seed in range(count)]


def draw(kind: str, seed: int) -> tuple[dict[str, tuple[int, ...]], str]:
    """Return a drawn net: the shapes of its inputs and its layers."""
    rng = np.random.default_rng([seed, len(kind), ord(kind[0])])

    def pick(*of):
        return of[rng.integers(len(of))]

    n, c, h, w = pick(1, 1, 2, 7), pick(*CHANNELS), pick(1, 4, 5, 7, 9), pick(1, 3, 6, 8, 11)
    if kind == "conv":
        group = pick(1, 1, 1, 2, c) if c <= 20 else 1
        c = c * 2 if group == 2 else c
        k = [pick(1, 2, 3, 5), pick(1, 2, 3, 4)]
        pad = [max(pick(0, 1, 3), k[0] - h if k[0] > h else 0), max(pick(0, 1, 2), k[1] - w if k[1] > w else 0)]
        dilation = [pick(1, 2) if h + 2 * pad[0] > 2 * k[0] else 1, pick(1, 2) if w + 2 * pad[1] > 2 * k[1] else 1]
        out = group * pick(1, 2, 5) if group > 1 else pick(*CHANNELS)
        return {"x": (n, c, h, w)}, layer("conv", "Convolution", "x", "y", (
            f"convolution_param {{ num_output: {out} kernel_h: {k[0]} kernel_w: {k[1]} pad_h: {pad[0]} pad_w: {pad[1]} "
            f"stride_h: {pick(1, 1, 2, 3)} stride_w: {pick(1, 1, 2, 3)} "
            f"dilation: {dilation[0]} dilation: {dilation[1]} "
            f"group: {group} bias_term: {pick('true', 'false')} }}"))  # fmt: skip
    if kind == "pool":
        k = [min(pick(1, 2, 3, 4), h), min(pick(2, 3), w)]
        return {"x": (n, c, h, w)}, layer("pool", "Pooling", "x", "y", (
            f"pooling_param {{ pool: {pick('MAX', 'AVE')} kernel_h: {k[0]} kernel_w: {k[1]} stride_h: {pick(1, 2, 3)} "
            f"stride_w: {pick(1, 2)} pad_h: {k[0] // 2} pad_w: {k[1] // 2} round_mode: FLOOR }}"))  # fmt: skip
    if kind == "norm":
        rest = {
            "LRN": pick(
                "local_size: 3 alpha: 0.5", "local_size: 5 alpha: 2 beta: 0.6 k: 2", "norm_region: WITHIN_CHANNEL"
            ),
            "BatchNorm": pick("", "use_global_stats: true"),
            "Scale": pick("", "bias_term: true", "axis: 2 bias_term: true", "axis: 0 num_axes: 2", "num_axes: 0"),
        }
        one = list(rest)[seed % 3]
        field = {"LRN": "lrn_param", "BatchNorm": "batch_norm_param", "Scale": "scale_param"}[one]
        others = ((n + 1, c, h), (n + 1, c, 2, h, 3), (n + 1, c, h, 1, 1, 2), (n + 1, c, 2, 2, 2))
        shape = (n + 1, c, h, w) if one == "LRN" or seed % 2 else pick(*others)
        return {"x": shape}, layer("one", one, "x", "y", f"{field} {{ {rest[one]} }}")
    if kind == "neuron":
        one = list(NEURONS)[seed % len(NEURONS)]
        least = 2 if one == "PReLU" else 0
        shape = (n, c, h, w, 2, 2)[: pick(*range(least, 7))]
        settings = f"{one.lower()}_param {{ {pick(*NEURONS[one])} }}" if NEURONS[one] else ""
        return {"x": shape}, layer("one", one, "x", "y", settings)
    if kind == "several":
        shape = (n, c, h, w, 2)[: pick(*range(6))]
        names = ("x", "z", "u", "v")[: pick(2, 3, 4)]
        operation = pick("SUM", "PROD", "MAX", "PROD stable_prod_grad: false",
                         "SUM " + " ".join(f"coeff: {i - 1.5}" for i in range(len(names))))  # fmt: skip
        net = layer("one", "Eltwise", " ".join(names), "y", f"eltwise_param {{ operation: {operation} }}")
        axis = int(rng.integers(0, max(1, len(shape))))
        span = int(rng.integers(0, len(shape) - axis + 1))
        meeting, field = pick(("Scale", "scale_param"), ("Bias", "bias_param"))
        net += layer("two", meeting, "y w", "t", f"{field} {{ axis: {axis} }}")
        return {**dict.fromkeys(names, shape), "w": shape[axis : axis + span]}, net
    if kind == "dense":
        axis, turned, out = pick(1, 2, 3), pick("true", "false"), pick(*CHANNELS)
        settings = f"axis: {axis} transpose: {turned} num_output: {out} bias_term: {pick('true', 'false')}"
        x = pick((n, c, h, w), (n, c, h, w), (n, c, h, 2, 3))
        return {"x": x}, layer("ip", "InnerProduct", "x", "y", f"inner_product_param {{ {settings} }}")
    if kind == "head":
        k = c + 1
        others = (((n, k), 1), ((n, k, h), 2), ((k,), 0), ((n, 2, k, 2, 2), 2), ((n, k, h, 2, 2), 1))
        x, axis = ((n, c + 1, h, w), pick(0, 1, 2, 3)) if seed % 2 else pick(*others)
        label = tuple(size for d, size in enumerate(x) if d != axis)
        ignore = pick("", "ignore_label: 0")
        norm = pick("FULL", "VALID", "BATCH_SIZE", "NONE")
        net = layer("loss", "SoftmaxWithLoss", "x label", "loss prob",
                    f"softmax_param {{ axis: {axis} }} loss_param {{ normalization: {norm} {ignore} }} "
                    f"loss_weight: 1.5 loss_weight: 0")  # fmt: skip
        net += layer("acc", "Accuracy", "x label", "acc each", f"accuracy_param {{ axis: {axis} top_k: 1 {ignore} }}")
        if seed % 3 == 0:
            return {"x": x}, layer("s", "Softmax", "x", "y", f"softmax_param {{ axis: {axis} }}")
        return {"x": x, "label": label, "t": x}, net + layer("e", "EuclideanLoss", "x t", "e")
    chain = "".join(layer(f"l{i}", pick(*ELEMENTWISE), "y", "y") for i in range(3))
    out = pick(4, 17)
    return {"x": (n, c, 8, 7)}, (
        layer("c1", "Convolution", "x", "y", f"convolution_param {{ num_output: {out} kernel_size: 3 pad: 1 }}")
        + chain
        + layer("p", "Pooling", "y", "a", "pooling_param { kernel_size: 3 stride: 2 }")
        + layer("c4", "Convolution", "a", "b", f"convolution_param {{ num_output: {out} kernel_size: 3 pad: 1 }}")
        + layer("join", "Eltwise", "a b", "p", f"eltwise_param {{ operation: {pick('SUM', 'PROD', 'MAX')} }}")
        + layer("c2", "Convolution", "p", "q", "convolution_param { num_output: 6 kernel_size: 5 pad: 2 stride: 2 }")
        + layer("c3", "Convolution", "p", "r", "convolution_param { num_output: 3 kernel_size: 2 pad: 1 }")
        + layer("f", "Flatten", "r", "f")
        + layer("s", "Softmax", "f", "s")
    )


def compute(kind: str, seed: int, kernels: str, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Return all outputs and gradients of a drawn net with drawn numbers."""
    shapes, source = draw(kind, seed)
    net = net_of(inputs(**shapes) + source + "force_backward: true", kernels=kernels, dtype=dtype, seed=5)
    randomise(net, seed, 0.2)
    rng = np.random.default_rng(seed)
    for name, shape in shapes.items():
        values = rng.normal(size=shape).astype(np.float32)
        if name == "label":
            values = np.minimum(rng.integers(0, 3, shape), shapes["x"][_class_axis(source)] - 1)
        net.blobs[name].data[...] = values
    for name in net.outputs:
        if "loss" not in source:
            net.blobs[name].diff[...] = rng.normal(size=net.blobs[name].shape).astype(np.float32)
    net.forward()
    net.zero_sums()
    net.backward()
    found = {f"{name}.data": b.data.copy() for name, b in net.blobs.items()}
    found |= {f"{name}.diff": net.blobs[name].diff.copy() for name in shapes}
    return found | {f"{p.label}.grad": p.grad.copy() for p in net.flat.parameters}


def _class_axis(source: str) -> int:
    return int(source.split("softmax_param { axis: ")[1][0]) if "softmax_param { axis" in source else 1


@cache
def reference(kind: str, seed: int) -> dict[str, np.ndarray]:
    return compute(kind, seed, "reference")


@pytest.fixture(autouse=True)
def guarded_memory(monkeypatch):
    """Surround every buffer with NaNs: what is read from there must not matter, and none may be written."""
    made = []

    def aligned(count, dtype):
        itemsize = np.dtype(dtype).itemsize
        size = (count + blob.SLACK) * itemsize
        raw = np.full(size + 64 + 512, 0xFF, np.uint8)
        start = 256 + -(raw.ctypes.data + 256) % 64
        raw[start : start + count * itemsize] = 0
        made.append((raw, start, start + count * itemsize))
        return raw[start : start + size].view(dtype)[:count]

    for module in (blob, parameter, layer_module, convolution, inner_product, base):
        monkeypatch.setattr(module, "aligned_zeros", aligned)
    yield
    for raw, start, stop in made:
        assert (raw[:start] == 0xFF).all(), "written before a buffer"
        assert (raw[stop:] == 0xFF).all(), "written behind a buffer"


def test_every_compiled_kernel_has_a_reference():
    compiled = pytest.importorskip("batchbrew.solver.kernels._compiled", reason="no compiled kernels here")
    assert set(compiled.kernel_names()) <= set(KERNELS)
    assert compiled.supported() == COMPILED


@pytest.mark.parametrize(("kind", "seed"), DRAWS)
def test_drawn_net(kind, seed):
    wanted = reference(kind, seed)
    exact = compute(kind, seed, "reference", np.float64)
    for name, values in wanted.items():
        assert_close(values, exact[name], what=f"float32 reference {name}")
    for kernels in COMPILED:
        found = compute(kind, seed, kernels)
        for name, values in wanted.items():
            assert_close(found[name], values, what=f"{kernels} {name}")


BAD = np.array([np.nan, np.inf, -np.inf, 1e-42, -1e-42, 0.0, -0.0, 3e38, -3e38, 200.0, -200.0, 1.0], np.float32)


SPECIAL = {  # what the numbers above become, in float64
    "ReLU": lambda x: np.where(x > 0, x, 0 * x),  # 0 * -inf is NaN, as Caffe has it
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "TanH": np.tanh,
    "AbsVal": np.abs,
    "BNLL": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "Clip": lambda x: np.clip(x, -0.5, 2),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "Exp": np.exp,
    "Log": np.log,
    "Power": lambda x: x**0.37,
    "PReLU": lambda x: np.where(x > 0, x, 0.25 * x),
    "Swish": lambda x: x / (1 + np.exp(-x)),  # NaN for -inf, as Caffe has it
    "Threshold": lambda x: (x > 0) * 1.0,
}
SETTINGS = {"Clip": "clip_param { min: -0.5 max: 2 }", "Power": "power_param { power: 0.37 }"}


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("kind", SPECIAL)
def test_special_numbers_pass_as_in_the_reference(kind, kernels):
    """NaN must come out as NaN, or a diverged net would look well; denormals count."""
    source = inputs(x=(1, 24)) + layer("one", kind, "x", "y", SETTINGS.get(kind, "")) + "force_backward: true"
    net = net_of(source, kernels=kernels)
    net.blobs["x"].data[0] = np.concatenate([BAD, BAD])
    found = net.forward()["y"][0, :12]
    with np.errstate(all="ignore"):
        wanted = SPECIAL[kind](BAD.astype(np.float64)).astype(np.float32)
    if kind in ("ReLU", "AbsVal", "Clip", "Threshold"):
        assert np.array_equal(found, wanted, equal_nan=True)
    np.testing.assert_allclose(found, wanted, 1e-6, 1e-6)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_max_pooling_of_special_numbers(kernels):
    """As Caffe compares: NaN is never greater, and what does not exceed -FLT_MAX is no maximum."""
    net = net_of(
        inputs(x=(1, 1, 2, 8)) + layer("p", "Pooling", "x", "y", "pooling_param { kernel_size: 2 stride: 2 }")
        + "force_backward: true", kernels=kernels)  # fmt: skip
    inf, nan = np.inf, np.nan
    net.blobs["x"].data[0, 0] = [[nan, 1, -inf, -inf, nan, nan, inf, 1], [2, -inf, -inf, -inf, nan, nan, inf, nan]]
    lowest = -np.finfo(np.float32).max
    assert np.array_equal(net.forward()["y"][0, 0, 0], np.array([2, lowest, lowest, inf], np.float32))
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert np.array_equal(net.blobs["x"].diff[0, 0], [[0, 0, 0, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_losses_and_accuracy_of_special_numbers(kernels):
    source = inputs(x=(2, 3), label=(2,)) + layer("l", "SoftmaxWithLoss", "x label", "loss")
    net = net_of(source + layer("a", "Accuracy", "x label", "acc"), kernels=kernels)
    net.blobs["label"].data[...] = [1, 2]
    for row, loss, accuracy in (([np.nan, 1, 2], np.nan, 0.5), ([0, np.nan, 2], np.nan, 0.5), ([0, 500, 0], 0.0, 1.0),
                                ([500, 0, 0], 87.3365 / 2, 0.5)):  # fmt: skip
        net.blobs["x"].data[...] = [row, [0, 0, 500]]
        out = net.forward()
        assert float(out["loss"]) == pytest.approx(loss, abs=1e-4, nan_ok=True)
        assert float(out["acc"]) == accuracy
    net.blobs["label"].data[...] = [3, 2]  # no such class
    assert np.isnan(net.forward()["loss"])


UPDATES = {"sgd": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 1, "adadelta": 2, "adam": 2}  # and their histories


@pytest.mark.parametrize(("kernels", "l1"), list(product(KERNEL_SETS, (0.0, 1.0))))
def test_updates_agree(kernels, l1):
    rng = np.random.default_rng(3)
    numbers = np.array([0.1, 0.25, 0.9, 0.01, l1, 0.95, 1e-3])
    for name, size, leave in product(UPDATES, (1, 7, 16, 33, 100), (0, 1)):
        w, g, *h = (rng.normal(size=size).astype(np.float32) for _ in range(2 + UPDATES[name]))
        w[0] = 0  # sign(0) = 0
        theirs = [w, g.astype(np.float64), *(h if name in {"sgd", "nesterov"} else map(np.abs, h))]
        mine = [blob.aligned_zeros(size, array.dtype) for array in theirs]
        for to, source in zip(mine, theirs, strict=True):
            to[...] = source
        KERNELS[f"{name}_update"](*theirs, numbers, 2.0, 0.5, leave)
        compile_program([(f"{name}_update", (*mine, numbers, 2.0, 0.5, leave))], kernels).run()
        for to, wanted in zip(mine, theirs, strict=True):
            assert_close(to, wanted, 1e-6, name)
    total = np.zeros(1)
    compile_program([("sum_squares", (mine[1], total))], kernels).run()
    assert total[0] == pytest.approx(float((mine[1] ** 2).sum()))


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_empty_batches(kernels):
    empty, one = np.zeros((0, 5, 4, 3), np.float32), np.zeros((2, 5, 1, 1), np.float32)
    x, dw = empty.transpose(0, 3, 1, 2), np.zeros((4, 3, 2, 2))
    y = np.zeros((0, 4, 3, 4), np.float32).transpose(0, 3, 1, 2)
    compile_program([
        ("conv_forward", (x, dw, None, y, 1, 1, 0, 0, 1, 1, 1)),
        ("conv_backward_weight", (x, y, dw, 1, 1, 0, 0, 1, 1, 1)),
        ("relu_forward", (x, x, 0.0)),
        ("copy", (empty, empty)),
        ("fill", (one, 2.0)),
    ], kernels).run()  # fmt: skip
    assert not dw.any()
    assert (one == 2).all()
