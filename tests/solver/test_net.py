"""Nets as a whole: loss weights, shared parameters, two nets on one memory, and the nets that come along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, data, inputs, layer, net_of, randomise, samples

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver import load
from batchbrew.solver.data.part import Part

NETDEFS = Path(__file__).parents[2] / "netdefs"
BASE = inputs(data=(5, 4), label=(5,))


def ip(number: int, bottom: str, rest: str = "") -> str:
    name = f"innerproduct{number}"
    return layer(name, "InnerProduct", bottom, name, f"{rest} inner_product_param {{ num_output: 3 }}")


def chain(first: str = "", second: str = "", loss: str = "") -> str:
    end = layer("loss", "SoftmaxWithLoss", "innerproduct2 label", "loss", loss)
    return BASE + ip(1, "data", first) + ip(2, "innerproduct1", second) + end


def ran(source: str, **options):
    net = net_of(source, **options)
    randomise(net, 4)
    rng = np.random.default_rng(1)
    net.blobs["data"].data[...] = rng.normal(size=(5, 4))
    net.blobs["label"].data[...] = rng.integers(0, 3, 5)
    net.forward()
    net.zero_sums()
    net.backward()
    return net


@pytest.mark.parametrize("weight", [2, 0, 1, -1, -2.5, 3.7])
def test_loss_and_gradients_are_linear_in_the_loss_weight(weight):
    plain, weighted = ran(chain()), ran(chain(loss=f"loss_weight: {weight}"))
    assert weighted.total_loss == pytest.approx(weight * plain.total_loss, rel=1e-5)
    assert_close(weighted.flat.grads, weight * plain.flat.grads)
    assert_close(weighted.blobs["innerproduct1"].diff, weight * plain.blobs["innerproduct1"].diff)


@pytest.mark.parametrize("weight", [2, -1, 3.7])
def test_a_loss_weight_in_mid_net(weight):
    """The weight seeds the gradient of the layer's top; the other loss does not see it."""
    plain, both = ran(chain()), ran(chain(f"loss_weight: {weight}"))
    assert both.total_loss == pytest.approx(
        plain.total_loss + weight * plain.blobs["innerproduct1"].data.sum(), rel=1e-4)  # fmt: skip
    split = "innerproduct1_innerproduct1_0_split"
    assert (both.blobs[f"{split}_0"].diff == weight).all()
    assert_close(both.blobs[f"{split}_1"].diff, plain.blobs["innerproduct1"].diff)
    x = plain.blobs["data"].data
    assert_close(
        both.params["innerproduct1"][0].grad - plain.params["innerproduct1"][0].grad,
        np.tile(weight * x.sum(0), (3, 1)),
    )
    assert_close(both.params["innerproduct2"][0].grad, plain.params["innerproduct2"][0].grad)


@pytest.mark.parametrize("frozen", [(False, True, True, False), (True, False, False, True), (True, True, True, True)])
def test_lr_mult_0_takes_just_those_gradients_away(frozen):
    entries = [" ".join(f"param {{ lr_mult: {0 if off else 3} }}" for off in pair) for pair in (frozen[:2], frozen[2:])]
    plain, some = ran(chain()), ran(chain(*entries))
    pairs = zip(plain.flat.parameters, some.flat.parameters, frozen, strict=True)
    for a, b, off in pairs:
        assert np.array_equal(b.grad, np.zeros(b.shape) if off else a.grad), a.label


def test_shared_weights_are_one_parameter_with_added_gradients():
    def pair(name: str) -> str:
        ends = (("a", "data", "x", "w"), ("b", "x", "y", name))
        rest = 'param {{ name: "{}" }} inner_product_param {{ num_output: 4 }}'
        return "".join(layer(n, "InnerProduct", bottom, top, rest.format(shared)) for n, bottom, top, shared in ends)

    end = layer("loss", "SoftmaxWithLoss", "y label", "loss")
    shared, apart = (net_of(BASE + pair(name) + end) for name in ("w", "v"))
    assert (shared.parameters, apart.parameters) == (16 + 4 + 4, 16 + 4 + 16 + 4)
    assert shared.params["b"][0].owner is shared.params["a"][0]
    rng = np.random.default_rng(0)
    shared.params["a"][0].data[...] = rng.normal(size=(4, 4))
    assert np.array_equal(shared.params["b"][0].data, shared.params["a"][0].data)
    for net in (shared, apart):
        for name in ("a", "b"):
            net.params[name][0].data[...] = shared.params["a"][0].data
        net.blobs["data"].data[...] = np.linspace(-1, 1, 20).reshape(5, 4)
        net.forward()
        net.zero_sums()
        net.backward()
    assert_close(shared.params["a"][0].grad, apart.params["a"][0].grad + apart.params["b"][0].grad)


def test_two_nets_on_one_memory():
    body = data(8) + layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 4 }")
    train = net_of(body + layer("loss", "SoftmaxWithLoss", "ip label", "loss"), data=samples(20), seed=1)
    more = layer(
        "extra", "InnerProduct", "ip", "extra", "inner_product_param { num_output: 4 bias_filler { value: 1 } }"
    )
    tester = net_of(body + layer("acc", "Accuracy", "ip label", "acc"), pb.TEST, data=samples(20), share=train, seed=9)
    wider = net_of(body + more + layer("acc", "Accuracy", "extra label", "acc"), pb.TEST, data=samples(20), share=train)
    assert tester.flat is train.flat
    assert np.shares_memory(wider.params["ip"][0].data, train.flat.values)
    assert (wider.params["extra"][1].data == 1).all()
    train.params["ip"][0].data[...] = np.random.default_rng(0).normal(size=train.params["ip"][0].shape)
    for net in (tester, wider):
        net.forward()
        assert_close(net.params["ip"][0].data, train.params["ip"][0].data, 0)
    train.forward()
    assert_close(tester.blobs["ip"].data, train.blobs["ip"].data, 1e-6)


def test_an_in_place_layer_behind_a_written_split_leaves_the_other_readers_alone():
    source = (
        inputs(x=(2, 3))
        + layer("s", "Split", "x", "a b")
        + layer("relu", "ReLU", "a", "a")
        + layer("t", "TanH", "b", "c")
    )
    net = net_of(source)
    net.blobs["x"].data[...] = -1
    net.forward()
    assert (net.blobs["a"].data == 0).all()
    assert np.allclose(net.blobs["c"].data, np.tanh(-1))


def test_in_place_layers_share_memory_where_they_may():
    source = inputs(x=(2, 3)) + layer("ip", "InnerProduct", "x", "y", "inner_product_param { num_output: 2 }")
    net = net_of(source + layer("relu", "ReLU", "y", "y") + layer("s", "Sigmoid", "y", "y"))
    tensors = [tops[0] for tops in net.wiring.tops[1:]]
    assert tensors[0].data is tensors[1].data  # ReLU overwrites what InnerProduct made
    assert tensors[1].data is not tensors[2].data  # Sigmoid must not: ReLU reads the sign of its top going backward


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_readers_with_different_borders_see_one_picture(kernels):
    """A blob read with padding 2 and by InnerProduct and as labels: each takes its own view of the bordered memory."""
    source = inputs(x=(3, 1, 4, 1), s=(3, 4, 5, 1)) + layer(
        "c", "Convolution", "x", "c", "convolution_param { num_output: 2 kernel_size: 5 pad: 2 }"
    ) + layer("ip", "InnerProduct", "x", "ip", "inner_product_param { num_output: 2 }") + layer(
        "l", "SoftmaxWithLoss", "s x", "l", "softmax_param { axis: 2 }") + layer("f", "Flatten", "x", "f")  # fmt: skip
    found = {}
    for each in (kernels, "reference"):
        net = net_of(source, kernels=each, seed=1)
        randomise(net)
        net.blobs["x"].data[...] = np.arange(12).reshape(3, 1, 4, 1) % 5
        net.blobs["s"].data[...] = np.random.default_rng(0).normal(size=(3, 4, 5, 1))
        net.forward()
        found[each] = {name: net.blobs[name].data.copy() for name in ("c", "ip", "l", "f")}
    for name, values in found["reference"].items():
        assert_close(found[kernels][name], values, what=name)
    assert np.array_equal(found[kernels]["f"][0], np.arange(4))


def test_losses_without_a_named_top():
    source = BASE + ip(1, "data")
    source += "".join(layer(f"l{i}", "SoftmaxWithLoss", "innerproduct1 label", "") for i in range(2))
    net = ran(source)
    assert net.outputs == ["(automatic)", "(automatic) 2"]
    assert len(net.statistics) == 2
    assert net.total_loss > 0


def test_outputs_are_in_alphabetical_order():
    source = chain() + layer("z", "Accuracy", "innerproduct2 label", "accuracy") + layer("s", "Softmax", "data", "best")
    assert list(net_of(source).forward()) == ["accuracy", "best", "loss"]


# --- the nets that come along ---------------------------------------------------------------------------------------

PARAMETERS = {"cifar10_quick": 145578, "cifar10_full": 89578, "cifar10_sigmoid_bn": 89709, "lenet": 431080}


def described(path: Path, phase: int):
    solver = load.read_solver(path)
    file = load.solver_net(solver, path, phase)
    shape = (1, 28, 28) if path.name.startswith(("lenet", "mlp")) else (3, 32, 32)
    rng = np.random.default_rng(0)
    part = Part(
        rng.integers(0, 256, (4, *shape), dtype=np.uint8), np.arange(4, dtype=np.int32), np.zeros(shape, np.float32)
    )
    return file.build(phase, data=part), solver


@pytest.mark.parametrize("name", ("cifar10_full", "cifar10_quick", "cifar10_sigmoid_bn", "lenet", "mlp", "quick_start"))
def test_netdefs_build_and_compute(name):
    for phase in (pb.TRAIN, pb.TEST):
        net, _ = described(NETDEFS / f"{name}_solver.prototxt", phase)
        net.zero_sums()
        (net.accumulate if phase == pb.TRAIN else net.evaluate)(*(np.arange(4), 0)[: 2 - phase])
        assert all(np.isfinite(pair).all() for pair in net.statistics.values())
        assert ("accuracy" in net.statistics) == (phase == pb.TEST)
        assert phase == pb.TEST or net.flat.grads.any()


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name):
    net, _ = described(NETDEFS / f"{name}_solver.prototxt", pb.TRAIN)
    assert net.parameters == PARAMETERS[name]
    assert net.parameters == sum(row.parameters for row in net.table())


def test_cost_of_cifar10_quick_and_lenet():
    """Multiply-adds by hand: outputs times inputs each; three passes, two where no gradient of the data is wanted."""
    quick, _ = described(NETDEFS / "cifar10_quick_solver.prototxt", pb.TRAIN)
    passes = {"conv1": (32 * 32 * 32 * 75, 2), "conv2": (16 * 16 * 32 * 800, 3), "conv3": (8 * 8 * 64 * 800, 3),
              "ip1": (1024 * 64, 3), "ip2": (640, 3)}  # fmt: skip
    rows = {row.name: row.mflop for row in quick.table()}
    assert {name: value for name, value in rows.items() if value} == pytest.approx(
        {name: 2e-6 * macs * times for name, (macs, times) in passes.items()})  # fmt: skip
    assert quick.flops_per_sample == pytest.approx(69209856)
    lenet, _ = described(NETDEFS / "lenet_solver.prototxt", pb.TRAIN)
    assert lenet.flops_per_sample == pytest.approx(2 * (2 * 24 * 24 * 20 * 25 + 3 * (8 * 8 * 50 * 500 + 400000 + 5000)))
    assert quick.batch == 100


def test_the_solvers_states_choose_stages(tmp_path):
    """Levels and stages of train_state and test_state are merged into the net's own state."""
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } } '
        'layer { name: "a" type: "ReLU" bottom: "x" top: "a" include { stage: "small" } } '
        'layer { name: "b" type: "TanH" bottom: "x" top: "b" include { phase: TEST stage: "deep" } }'
    )
    solver = text.parse(
        f'net: "{net}" train_state {{ stage: "small" }} test_state {{ stage: "deep" stage: "small" }}',
        pb.SolverParameter,
    )
    for phase, names in ((pb.TRAIN, ["x", "a"]), (pb.TEST, ["x", "a", "b"])):
        built = load.solver_net(solver, "solver.prototxt", phase).build(phase)
        assert [layer.name for layer in built.layers if layer.type != "Split"] == names
