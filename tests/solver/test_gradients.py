"""Gradients of every layer type against two-sided differences in float64."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from engine_support import inputs, layer, net_of, randomise

from batchbrew.solver.layer import LAYERS
from batchbrew.solver.layers.sources import SourceLayer

STEP = 1e-5
TOLERANCE = 1e-6
PROBES = 16  # elements tried of each array
LABELS = ("label",)  # inputs that hold class numbers

X = {"x": (2, 4, 5, 6)}
FIVE = {"x": (2, 3, 2, 1, 4)}
XY = {"x": (3, 4), "label": (3,)}


def ip(rest: str = "") -> str:
    return layer("ip", "InnerProduct", "x", "y", f"inner_product_param {{ num_output: 3 {rest} }}")


def one(kind: str, rest: str = "") -> str:
    return layer("one", kind, "x", "y", rest)


def loss(rest: str = "", tops: str = "loss") -> str:
    return layer("loss", "SoftmaxWithLoss", "x label", tops, rest)


NO_GRADIENT = {"Accuracy"}
SHARED = 'param { name: "w" } param { name: "b" }'
PICTURE_LOSS = {"x": (2, 3, 2, 3), "label": (2, 2, 3)}
CASES: dict[str, list[tuple[dict[str, tuple[int, ...]], str]]] = {
    "LRN": [
        (X, one("LRN", f"lrn_param {{ {rest} }}"))
        for rest in ("local_size: 3 alpha: 0.5 beta: 0.75", "local_size: 5 alpha: 2 beta: 0.5 k: 2",
                     "local_size: 9 alpha: 1",
                     "local_size: 3 alpha: 1 norm_region: WITHIN_CHANNEL",
                     "local_size: 5 alpha: 0.5 beta: 0.6 norm_region: WITHIN_CHANNEL")
    ],
    "BatchNorm": [
        *((shape, one("BatchNorm", rest)) for shape in (X, {"x": (5, 3)}, {"x": (3, 2, 4)})
          for rest in ("", "batch_norm_param { use_global_stats: true eps: 0.1 }")),
        *((shape, one("BatchNorm")) for shape in ({"x": (3, 2, 2, 1, 3)}, {"x": (2, 3, 2, 1, 2, 2)})),
        (X, layer("bn", "BatchNorm", "x", "y")
         + layer("in_place", "Scale", "y", "y", "scale_param { bias_term: true }")),
    ],
    "Scale": [
        *((X, one("Scale", f"scale_param {{ {rest} }}"))
          for rest in ("", "bias_term: true", "axis: 2 bias_term: true", "axis: 1 num_axes: 2", "num_axes: -1",
                       "num_axes: 0 bias_term: true", "axis: -1", "axis: 0 num_axes: 2 bias_term: true")),
        *(({"x": (2, 4, 5, 6), "z": shape},
           layer("scale", "Scale", "x z", "y", f"scale_param {{ axis: {axis} {bias} }}"))
          for shape, axis, bias in (((4,), 1, "bias_term: true"), ((2, 4, 5, 6), 0, ""), ((5, 6), 2, "bias_term: true"),
                                    ((2,), 0, ""), ((2, 4), 0, ""))),
        ({"x": (3, 4)}, layer("square", "Scale", "x x", "y", "scale_param { axis: 0 }")),
        *((shapes, one("Scale", f"scale_param {{ {rest} }}"))
          for shapes in ({"x": (2, 3, 2, 1, 2)}, {"x": (2, 3)}, {"x": (2, 3, 4)})
          for rest in ("bias_term: true", "axis: -1 bias_term: true", "num_axes: 0 bias_term: true", "axis: 0",
                       "axis: 0 num_axes: -1 bias_term: true", "axis: -2 num_axes: 2 bias_term: true")),
        *(({"x": (2, 3, 2, 4, 2), "z": shape},
           layer("scale", "Scale", "x z", "y", f"scale_param {{ axis: {axis} bias_term: true }}"))
          for shape, axis in (((3, 2), 1), ((2, 3, 2, 4), 0), ((3, 2, 4, 2), 1), ((), 1), ((2,), -1))),
        ({"x": (3,), "z": ()}, layer("scale", "Scale", "x z", "y")),
    ],
    "Softmax": [
        *((X, one("Softmax", f"softmax_param {{ axis: {axis} }}")) for axis in (1, 2, -1, 0)),
        ({"x": (3, 4)}, one("Softmax")),
        ({"x": (4,)}, one("Softmax", "softmax_param { axis: 0 }")),
        *((FIVE, one("Softmax", f"softmax_param {{ axis: {axis} }}")) for axis in (0, 1, 2, -1)),
    ],
    "InnerProduct": [
        (X, ip()),
        (X, ip("bias_term: false")),
        *((X, ip(f"axis: {axis}")) for axis in (2, 3, -1, 0)),
        (X, ip("transpose: true")),
        ({"x": (2, 3, 5)}, ip("axis: 2 transpose: true bias_term: false")),
        ({"x": (1, 1)}, ip()),
        *((FIVE, ip(f"axis: {axis}")) for axis in (0, 1, 3, -1)),
        ({"x": (4,)}, ip("axis: 0")),
        (
            {"x": (3, 4)},
            layer("a", "InnerProduct", "x", "y", f"{SHARED} inner_product_param {{ num_output: 4 }}")
            + layer("b", "InnerProduct", "y", "z", f"{SHARED} inner_product_param {{ num_output: 4 }}"),
        ),
    ],
    "ReLU": [(X, one("ReLU")), (X, one("ReLU", "relu_param { negative_slope: 0.1 }")),
             (X, one("ReLU", "relu_param { negative_slope: -0.5 }")), (FIVE, one("ReLU"))],
    "Sigmoid": [(X, one("Sigmoid")), ({"x": (3,)}, one("Sigmoid")), (FIVE, one("Sigmoid"))],
    "TanH": [(X, one("TanH")), ({"x": (2, 3, 4)}, one("TanH")), (FIVE, one("TanH")), ({"x": ()}, one("TanH"))],
    "Dropout": [(X, one("Dropout", "dropout_param { dropout_ratio: 0.4 }")),
                *((shapes, one("Dropout")) for shapes in (FIVE, {"x": (3, 4)}, {"x": (3,)}, {"x": (2, 3, 4)}, {"x": ()})),
                (FIVE, one("Dropout", "dropout_param { dropout_ratio: 0 }"))],
    "Flatten": [(X, one("Flatten", f"flatten_param {{ {rest} }}")) for rest in ("", "axis: 2", "axis: 1 end_axis: 2",
                                                                               "axis: 0", "axis: 0 end_axis: 1")]
    + [(FIVE, one("Flatten", f"flatten_param {{ {rest} }}")) for rest in ("", "axis: 2 end_axis: 3", "end_axis: 2",
                                                                          "axis: 0", "axis: 3")],
    "Split": [(X, layer("split", "Split", "x", "a b c") + layer("tanh", "TanH", "a", "d")),
              (X, layer("split", "Split", "x", "a b") + layer("here", "TanH", "a", "a")
               + layer("there", "Sigmoid", "b", "b")),
              (FIVE, layer("split", "Split", "x", "a b") + layer("there", "Sigmoid", "b", "b"))],
    "SoftmaxWithLoss": [
        (XY, loss()),
        (XY, loss("loss_weight: 2.5")),
        ({"x": (3, 4), "label": (3, 1, 1, 1)}, loss()),
        ({"x": (4, 3), "label": (3,)}, loss("softmax_param { axis: 0 }")),
        *((PICTURE_LOSS, loss(f"loss_param {{ normalization: {kind} ignore_label: 1 }}"))
          for kind in ("VALID", "FULL", "BATCH_SIZE", "NONE")),
        (PICTURE_LOSS, loss("loss_param { normalize: false }")),
        ({"x": (2, 3, 4, 2), "label": (2, 3, 2)}, loss("softmax_param { axis: 2 }")),
        (XY, loss("loss_weight: 1 loss_weight: 0", "loss prob")),
        ({"x": (4,), "label": ()}, loss("softmax_param { axis: 0 }")),
        *(({"x": (2, 3, 4, 3, 3), "label": label},
           loss(f"softmax_param {{ axis: {axis} }} loss_param {{ normalization: {kind} }}"))
          for axis, label, kind in ((1, (2, 4, 3, 3), "VALID"), (-1, (2, 3, 4, 3), "BATCH_SIZE"),
                                    (3, (2, 3, 4, 1, 3), "BATCH_SIZE"))),
        ({"x": (3, 2, 1, 2, 2), "label": (8,)}, loss("softmax_param { axis: 0 } loss_param { normalization: FULL }")),
    ],
    "EuclideanLoss": [
        ({"x": (3, 4), "z": (3, 4)}, layer("loss", "EuclideanLoss", "x z", "loss")),
        ({"x": (3, 4), "z": (3, 2, 1, 2)}, layer("loss", "EuclideanLoss", "x z", "loss", "loss_weight: 0.5")),
        ({"x": (3, 2, 2, 2), "z": (3, 8)}, layer("loss", "EuclideanLoss", "x z", "loss")),
        ({"x": (3, 2, 2, 2), "z": (3, 2, 2, 2)}, layer("loss", "EuclideanLoss", "x z", "loss")),
        ({"x": (3, 2, 2, 2, 1), "z": (3, 2, 2, 2, 1)}, layer("loss", "EuclideanLoss", "x z", "loss")),
        ({"x": (3, 2, 2, 2, 1), "z": (3, 2, 2, 2)}, layer("loss", "EuclideanLoss", "x z", "loss")),
        ({"x": (3,), "z": (3,)}, layer("loss", "EuclideanLoss", "x z", "loss")),
    ],
}  # fmt: skip

CONV = layer("conv", "Convolution", "x", "y", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }")
HEAD = layer("ip", "InnerProduct", "y", "z", "inner_product_param { num_output: 3 }")
CHAINS = {
    "relu, dropout": ["ReLU", "Dropout"],
    "sigmoid, relu": ["Sigmoid", "ReLU"],
    "relu, sigmoid": ["ReLU", "Sigmoid"],
    "tanh, sigmoid, tanh": ["TanH", "Sigmoid", "TanH"],
    "relu, batch norm, scale, relu": ["ReLU", "BatchNorm", "Scale", "ReLU"],
    "lrn, relu": ["LRN", "ReLU"],
    "elu, prelu, bnll": ["ELU", "PReLU", "BNLL"],
    "sigmoid, bias, exp, relu": ["Sigmoid", "Bias", "Exp", "ReLU"],
    "swish, power, dropout, bias": ["Swish", "Power", "Dropout", "Bias"],
    "dropout, sigmoid, dropout": ["Dropout", "Sigmoid", "Dropout"],
}


def spaced(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return values in random order that keep away from zero and from each other: no kink lies within a step."""
    count = int(np.prod(shape))
    values = np.linspace(-1.5, 1.5, count + count % 2) if count > 1 else np.array([0.7])
    return rng.permutation(values[:count]).reshape(shape)


def check(shapes: dict[str, tuple[int, ...]], source: str, seed: int = 1) -> None:
    """Compare the gradients of all inputs and parameters with two-sided differences of the objective."""
    rng = np.random.default_rng(seed)
    net = net_of(inputs(**shapes) + source + "force_backward: true", dtype=np.float64, seed=3)
    randomise(net, seed)
    for name, shape in shapes.items():
        net.blobs[name].data[...] = rng.integers(0, 3, shape) if name in LABELS else spaced(shape, rng)
    weights = {name: rng.normal(size=net.blobs[name].shape) for name in net.outputs}
    has_loss = any(type_.loss for type_ in (type(each) for each in net.layers))

    def objective() -> float:
        net.whole.rewind()  # equal draws of Dropout
        net.forward()
        return net.total_loss if has_loss else float(sum((net.blobs[n].data * w).sum() for n, w in weights.items()))

    objective()
    if not has_loss:
        for name, weight in weights.items():
            net.blobs[name].diff[...] = weight
    net.zero_sums()
    net.backward()
    tried = [(n, net.blobs[n].data, net.blobs[n].diff.copy()) for n in shapes if n not in LABELS]
    tried += [(p.label, p.data, p.grad.copy()) for p in net.flat.parameters if not p.local]
    for name, values, gradient in tried:
        for at in rng.permutation(values.size)[:PROBES]:
            place = np.unravel_index(at, values.shape)
            kept = values[place]
            values[place] = kept + STEP
            above = objective()
            values[place] = kept - STEP
            numeric = (above - objective()) / (2 * STEP)
            values[place] = kept
            error = abs(numeric - gradient[place]) / max(1.0, abs(numeric), abs(gradient[place]))
            assert error < TOLERANCE, f"{name}{list(map(int, place))}: {gradient[place]:.8g}, differences {numeric:.8g}"


for path in sorted(Path(__file__).parent.glob("gradients_*.py")):  # the layers of one family each
    CASES |= getattr(importlib.import_module(path.stem), "CASES", {})
    NO_GRADIENT |= getattr(importlib.import_module(path.stem), "NO_GRADIENT", set())


@pytest.mark.parametrize(("kind", "number"), [(kind, i) for kind, cases in CASES.items() for i in range(len(cases))])
def test_gradient(kind, number):
    shapes, source = CASES[kind][number]
    check(shapes, source)


def test_every_type_with_a_gradient_is_tried():
    own = {kind for kind in LAYERS if LAYERS.get(kind).__module__.startswith("batchbrew.")}
    without = {kind for kind in own if issubclass(LAYERS.get(kind), SourceLayer)} | NO_GRADIENT
    assert own - without == set(CASES)


@pytest.mark.parametrize("name", CHAINS)
def test_gradient_of_layers_in_place(name):
    chain = "".join(layer(f"layer{i}", kind, "y", "y") for i, kind in enumerate(CHAINS[name]))
    check({"x": (2, 3, 4, 4)}, CONV + chain + HEAD)


def test_layers_of_one_name_do_not_mix_their_working_memory():
    same = "inner_product_param { num_output: 12 }"
    reshaped = layer("twin", "InnerProduct", "y", "z", same) + layer("flat", "Flatten", "z", "f")
    twice = CONV.replace("num_output: 4", "num_output: 3") + reshaped + layer("twin", "InnerProduct", "x", "u", same)
    check({"x": (2, 3, 4, 4)}, twice)


def test_gradient_of_two_losses_behind_one_layer():
    body = (
        CONV
        + layer("relu", "ReLU", "y", "y")
        + layer("ip", "InnerProduct", "y", "a", "inner_product_param { num_output: 3 }")
    )
    heads = layer("l1", "SoftmaxWithLoss", "a label", "l1", "loss_weight: 0.3") + layer(
        "l2", "EuclideanLoss", "a t", "l2"
    )
    check({"x": (2, 3, 4, 4), "label": (2,), "t": (2, 3)}, body + heads)
