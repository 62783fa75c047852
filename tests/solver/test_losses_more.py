"""The losses that read labels: tables worked out by hand, closed forms, sums against means, and what is no label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_support import COMPILED, KERNEL_SETS, assert_close, data, inputs, layer, net_of, samples

from batchbrew.errors import UserError
from batchbrew.protos import binary

NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE")


def loss(kind, rest="", bottoms="x label", tops="loss"):
    return layer("loss", kind, bottoms, tops, rest)


def run(source, /, given, kernels="reference", dtype=np.float64, force="force_backward: true"):
    """Return a net after one pass forward and backward with these inputs."""
    arrays = {name: np.asarray(values, np.float64) for name, values in given.items()}
    net = net_of(inputs(**{name: a.shape for name, a in arrays.items()}) + source + force, kernels=kernels, dtype=dtype)
    for name, values in arrays.items():
        net.blobs[name].data[...] = values
    net.forward()
    net.backward()
    return net


X5, T5 = [[-2, -0.5, 0, 0.5, 2]], [[0, 1, 0.5, 1, 0]]
TERMS5 = [0.1269280, 0.9740770, 0.6931472, 0.4740770, 2.1269280]
ROWS3 = {"x": [[1, 2, 3], [1, 1, 1], [0, 5, 0]], "label": [2, 0, 1]}
SCORES = {"x": [[0.5, -0.2, 1.5]], "label": [0]}
PAIR = {"x": [[0, 0]], "z": [[0.3, 0.4]]}


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize(("source", "given", "wanted"), [
    (loss("SigmoidCrossEntropyLoss"), {"x": X5, "label": T5}, sum(TERMS5)),
    *((loss("SigmoidCrossEntropyLoss", f"loss_param {{ normalization: {kind} ignore_label: 1 }}"),
       {"x": X5, "label": T5}, (TERMS5[0] + TERMS5[2] + TERMS5[4]) / divisor)
      for kind, divisor in zip(NORMALIZATIONS, (5, 3, 1, 1), strict=True)),
    (loss("SigmoidCrossEntropyLoss", "loss_param { normalize: true ignore_label: 0 }"), {"x": X5, "label": T5},
     (TERMS5[1] + TERMS5[3]) / 2),  # 0.5 is cut to 0
    *((loss("SoftmaxWithLoss", f"loss_param {{ {rest} }}"), ROWS3, wanted) for rest, wanted in (
        ("", 0.5065347), ("normalization: NONE", 1.5196042), ("ignore_label: 0", 0.2104959),
        ("ignore_label: 0 normalization: FULL", 0.1403306), ("ignore_label: 0 normalization: BATCH_SIZE", 0.1403306),
        ("ignore_label: 0 normalize: false", 0.1403306))),
    (loss("HingeLoss"), SCORES, 3.8),
    (loss("HingeLoss", "hinge_loss_param { norm: L2 }"), SCORES, 7.14),
    (loss("MultinomialLogisticLoss"), {"x": [[0.2, 0.8], [0, 1]], "label": [0, 0]}, (-np.log(0.2) + 46.0517019) / 2),
    *((loss("ContrastiveLoss", f"contrastive_loss_param {{ {rest} }}", "x z label"), {**PAIR, "label": [label]}, wanted)
      for rest, label, wanted in (("", 1, 0.125), ("", 0, 0.125), ("legacy_version: true", 0, 0.375), ("", -3, 0.125),
                                  ("", 0.9, 0.125), ("margin: 0.4", 0, 0), ("margin: 2", 0, 1.125))),
    (loss("EuclideanLoss"), {"x": [[1, 2], [3, 4]], "label": [[0, 0], [0, 0]]}, 7.5),
])  # fmt: skip
def test_losses_by_hand(source, given, wanted, kernels):
    net = run(source, given, kernels, np.float32, force="")
    assert float(net.blobs["loss"].data) == pytest.approx(wanted, rel=1e-6, abs=1e-7)


def test_gradients_by_hand():
    apart = loss("ContrastiveLoss", bottoms="x z label")
    net = run(apart, {**PAIR, "label": [0]})
    assert_close(net.blobs["x"].diff, [[0.2999400, 0.3999200]], 1e-7)
    assert_close(net.blobs["z"].diff, [[-0.2999400, -0.3999200]], 1e-7)
    same = run(apart, {"x": [[1, 2]], "z": [[1, 2]], "label": [0]})
    assert not same.blobs["x"].diff.any()
    hinge = run(loss("HingeLoss"), {"x": [[0.5, -0.2, -1, -2]], "label": [0]})
    assert_close(hinge.blobs["x"].diff, [[-1, 1, 0, 0]])
    probability = run(loss("MultinomialLogisticLoss"), {"x": [[0.2, 0.8], [0.5, 0.5]], "label": [0, 1]})
    assert_close(probability.blobs["x"].diff, [[-2.5, 0], [0, -1]])
    sigmoid = run(loss("SigmoidCrossEntropyLoss", "loss_param { ignore_label: -1 }"),
                  {"x": [[0, 2], [0, 0]], "label": [[1, -1], [0.25, 0]]})  # fmt: skip
    assert_close(sigmoid.blobs["x"].diff, [[-0.25, 0], [0.125, 0.25]])


@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_infogain_is_what_it_says(kind, axis):
    """Against the formula, with two tops; labels 1 are ignored."""
    rng = np.random.default_rng(3)
    shape = (4, 3, 5, 2)
    x, h = rng.normal(size=shape), rng.uniform(size=(shape[axis],) * 2)
    label = rng.integers(0, min(shape[axis], 3), tuple(np.delete(shape, axis)))
    net = run(
        loss("InfogainLoss", f"loss_param {{ normalization: {kind} ignore_label: 1 }} loss_weight: 1 loss_weight: 0 "
             f"infogain_loss_param {{ axis: {axis} }}", "x label h", "loss prob"),
        {"x": x, "label": label, "h": h})  # fmt: skip
    p = np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)
    assert_close(net.blobs["prob"].data, p, 1e-12)
    outer = int(np.prod(shape[: axis % 4]))
    divisor = {"FULL": label.size, "VALID": (label != 1).sum(), "BATCH_SIZE": outer, "NONE": 1}[kind]
    total = -(h[label] * np.log(np.moveaxis(p, axis, -1)))[label != 1].sum()
    assert float(net.blobs["loss"].data) == pytest.approx(total / divisor, rel=1e-9)
    assert not np.moveaxis(net.blobs["x"].diff, axis, -1)[label == 1].any()
    assert not net.blobs["h"].diff.any()


def test_infogain_reads_its_matrix_from_a_file(tmp_path):
    h = np.random.default_rng(0).uniform(size=(3, 3)).astype(np.float32)
    binary.write(tmp_path / "h.binaryproto", binary.array_to_blob(h.reshape(1, 1, 3, 3)))
    from_file = run(loss("InfogainLoss", f"infogain_loss_param {{ source: '{tmp_path}/h.binaryproto' }}"), ROWS3)
    from_bottom = run(loss("InfogainLoss", bottoms="x label h"), {**ROWS3, "h": h})
    assert float(from_file.blobs["loss"].data) == pytest.approx(float(from_bottom.blobs["loss"].data), rel=1e-9)
    assert_close(from_file.blobs["x"].diff, from_bottom.blobs["x"].diff, 1e-12)
    identity = run(loss("InfogainLoss", bottoms="x label h"), {**ROWS3, "h": np.eye(3)})
    softmax = run(loss("SoftmaxWithLoss"), ROWS3)
    assert float(identity.blobs["loss"].data) == pytest.approx(float(softmax.blobs["loss"].data), rel=1e-9)
    assert_close(identity.blobs["x"].diff, softmax.blobs["x"].diff, 1e-12)


SHAPES = [
    ((3, 4), (3, 4)),
    ((2, 3, 4, 5), (2, 3, 4, 5)),
    ((2, 3, 4, 5), (2, 60)),
    ((2, 3, 1, 2, 2), (2, 12)),
    ((5,), (5,)),
]


@pytest.mark.parametrize("kernels", COMPILED)
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("rest", ["", "ignore_label: 1", "ignore_label: 0 normalization: VALID", "normalization: FULL"])
def test_compiled_sigmoid_loss_agrees(kernels, shapes, rest):
    rng = np.random.default_rng(1)
    given = {"x": rng.normal(0, 4, shapes[0]), "label": rng.integers(0, 2, shapes[1])}
    source = loss("SigmoidCrossEntropyLoss", f"loss_param {{ {rest} }} loss_weight: 1.5")
    exact, fast = run(source, given), run(source, given, kernels, np.float32)
    assert_close(fast.blobs["loss"].data, exact.blobs["loss"].data, 1e-5)
    assert_close(fast.blobs["x"].diff, exact.blobs["x"].diff, 1e-6)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_sigmoid_loss_of_special_numbers(kernels):
    source = loss("SigmoidCrossEntropyLoss")
    extreme = run(source, {"x": [[1000, -1000, 90, -90]], "label": [[1, 0, 0, 1]]}, kernels, np.float32)
    assert float(extreme.blobs["loss"].data) == pytest.approx(180, rel=1e-6)
    assert_close(extreme.blobs["x"].diff, [[0, 0, 1, -1]], 1e-6)
    diverged = run(source, {"x": [[np.nan, 0]], "label": [[1, 0]]}, kernels, np.float32)
    assert np.isnan(diverged.blobs["loss"].data)
    assert np.isnan(diverged.blobs["x"].diff[0, 0])


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("label", [[5, 1], [-1, 1], [np.nan, 1], [1e30, 1]])
@pytest.mark.parametrize("kind", ["HingeLoss", "MultinomialLogisticLoss", "InfogainLoss", "SoftmaxWithLoss"])
def test_a_label_beyond_the_classes_makes_the_loss_nan(kind, label, kernels):
    given = {"x": [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]], "label": label}
    if kind == "InfogainLoss":
        given["h"] = np.ones((3, 3))
    net = run(loss(kind, bottoms=" ".join(given)), given, kernels, np.float32)
    assert np.isnan(net.blobs["loss"].data)
    assert np.isfinite(net.blobs["x"].diff).all()


def test_values_that_are_no_numbers_make_the_loss_nan():
    for kind in ("HingeLoss", "MultinomialLogisticLoss"):
        assert np.isnan(run(loss(kind), {"x": [[0.5, np.nan, 1]], "label": [1]}).blobs["loss"].data)
    pair = {"x": [[np.nan]], "z": [[1]], "label": [0]}
    assert np.isnan(run(loss("ContrastiveLoss", bottoms="x z label"), pair).blobs["loss"].data)


@pytest.mark.parametrize("kind", ["SigmoidCrossEntropyLoss", "HingeLoss", "MultinomialLogisticLoss", "InfogainLoss",
                                  "ContrastiveLoss"])  # fmt: skip
def test_labels_have_no_gradient(kind):
    bottoms = {"InfogainLoss": "x label h", "ContrastiveLoss": "x z label"}.get(kind, "x label")
    shapes = {name: (3,) if name == "label" else (3, 3) for name in bottoms.split()}
    shapes |= {"label": (3, 3)} if kind.startswith("Sigmoid") else {}
    net_of(inputs(**shapes) + loss(kind, bottoms=bottoms) + "force_backward: true").backward()
    flags = " ".join(f"propagate_down: {str(name == 'label').lower()}" for name in bottoms.split())
    with pytest.raises(UserError, match=rf"layer 'loss' \({kind}\): cannot propagate a gradient to its labels"):
        net_of(inputs(**shapes) + loss(kind, flags, bottoms)).backward()


# --- sums, for studies ----------------------------------------------------------------------------------------------

BATCH = 16
PART = samples(40)
IP = "inner_product_param {{ num_output: {} weight_filler {{ type: 'gaussian' std: 0.2 }} }}"
SCORED = data(BATCH) + layer("ip", "InnerProduct", "data", "x", IP.format(4))
ONE = data(BATCH) + layer("ip", "InnerProduct", "data", "x", IP.format(1))
EACH = data(BATCH) + layer("conv", "Convolution", "data", "x", "convolution_param { num_output: 4 kernel_size: 6 "
                           "weight_filler { type: 'xavier' } }")  # fmt: skip
PAIRS = SCORED + layer("other", "InnerProduct", "data", "z", IP.format(4))
MATRIX = "infogain_loss_param { source: 'h.binaryproto' }"
NETS = [
    *(ONE + loss("SigmoidCrossEntropyLoss", f"loss_param {{ {rest} }}")
      for rest in ("", *(f"normalization: {kind} ignore_label: 1" for kind in NORMALIZATIONS))),
    SCORED + loss("HingeLoss"),
    SCORED + loss("HingeLoss", "hinge_loss_param { norm: L2 } loss_weight: 0.5"),
    SCORED + layer("s", "Softmax", "x", "p") + loss("MultinomialLogisticLoss", bottoms="p label"),
    *(each + loss("InfogainLoss", f"{MATRIX} loss_param {{ {rest} }}") for each in (SCORED, EACH)
      for rest in ("", *(f"normalization: {kind} ignore_label: 1" for kind in NORMALIZATIONS))),
    PAIRS + loss("ContrastiveLoss", "contrastive_loss_param { margin: 3 }", "x z label"),
    PAIRS + loss("ContrastiveLoss", "contrastive_loss_param { margin: 3 legacy_version: true }", "x z label"),
    SCORED + loss("HingeLoss", "loss_weight: 0.5") + layer("more", "InfogainLoss", "x label", "more", MATRIX)
    + layer("ip1", "InnerProduct", "data", "one", IP.format(1))
    + layer("ce", "SigmoidCrossEntropyLoss", "one label", "ce", "loss_weight: 2"),
    SCORED + loss("HingeLoss") + layer("wide", "InnerProduct", "data", "wide", IP.format(72))
    + layer("ce", "SigmoidCrossEntropyLoss", "wide data", "ce", "loss_param { normalization: FULL }"),
]  # fmt: skip


@pytest.mark.parametrize("kernels", KERNEL_SETS[:1] + KERNEL_SETS[-1:])
@pytest.mark.parametrize("source", NETS)
def test_divided_sums_are_caffes_means(source, kernels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matrix = np.random.default_rng(2).uniform(size=(4, 4)).astype(np.float32)
    binary.write(Path("h.binaryproto"), binary.array_to_blob(matrix))
    caffe, net = (net_of(source, data=PART, seed=2, kernels=kernels, chunk=5) for _ in range(2))
    caffe.zero_sums()
    caffe.forward()
    caffe.backward()
    net.zero_sums()
    net.accumulate(np.arange(11), 0)
    net.accumulate(np.arange(11, BATCH), 0)
    assert caffe.flat.grads.any()
    assert_close(net.flat.grads / max(net.count, 1.0), caffe.flat.grads, 1e-5)
    assert net.mean_loss == pytest.approx(caffe.total_loss, rel=1e-5)
