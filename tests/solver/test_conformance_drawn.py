"""What Caffe's shared memory makes visible, on drawn numbers against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, data, inputs, layer, net_of, randomise, samples, solver_of

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.solvers import make_solver
from batchbrew.solver.weights import load_weights, save_caffemodel

FORCE = "force_backward: true\n"
W = 'param { name: "w" }'
ANY = 'param { name: "w" share_mode: PERMISSIVE }'


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def ip(name, wires, outputs, rest="", param=""):
    """Return an InnerProduct without bias."""
    settings = f"inner_product_param {{ num_output: {outputs} bias_term: false {rest} }}"
    return layer(name, "InnerProduct", *wires.split(), f"{param} {settings}")


def drawn(net, rng, **fixed):
    """Write drawn numbers to inputs and gradients of outputs; return both by name."""
    for name in net.wiring.tensors:
        net.blobs[name].data[...] = fixed.get(name, rng.normal(size=net.blobs[name].shape))
    for name in sorted(set(net.outputs) - set(net.loss_weights)):
        net.blobs[name].diff[...] = rng.normal(size=net.blobs[name].shape)
    return {name: np.array(net.blobs[name].diff, np.float64) for name in net.outputs}


# --- parameters whose layers want them in different orders ------------------------------------------------------------

AUTOENCODER = FORCE + inputs(x=(3, 5)) + ip("e", "x h", 4, param=W) + ip("d", "h y", 5, "transpose: true", W)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_an_autoencoder_with_tied_weights(kernels, rng):
    net = net_of(AUTOENCODER, kernels=kernels)
    w = rng.normal(size=(4, 5))
    net.params["e"][0].data[...] = w
    dy = drawn(net, rng)["y"]
    x = np.array(net.blobs["x"].data, np.float64)
    for passes in (1, 2):  # gradients add up
        net.forward()
        net.backward()
        assert_close(net.blobs["y"].data, x @ w.T @ w, what="y")
        dh = dy @ w.T
        wanted = passes * (dh.T @ x + (x @ w.T).T @ dy)
        for name in "ed":
            assert_close(net.params[name][0].data, w, what=f"values of {name}")
            assert_close(net.params[name][0].grad, wanted, what=f"gradient of {name}")
        assert_close(net.blobs["x"].diff, dh @ w, what="gradient of x")
    net.params["d"][0].data[...] = 2 * w
    net.forward()
    assert_close(net.blobs["h"].data, 2 * x @ w.T, what="h after the other layer's values were written")


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_a_table_that_is_also_the_output_layer(kernels, rng):
    table = layer("t", "Embed", "i", "h", f"{W} embed_param {{ input_dim: 6 num_output: 3 bias_term: false }}")
    squares = layer("s", "Reduction", "y", "loss", "loss_weight: 1 reduction_param { operation: SUMSQ }")
    net = net_of(inputs(i=(4,)) + table + ip("o", "h y", 6, param=W) + squares, kernels=kernels)
    w, index = rng.normal(size=(6, 3)), [5, 0, 0, 3]
    net.params["o"][0].data[...] = w
    net.blobs["i"].data[...] = index
    net.forward()
    net.backward()
    dy = 2 * w[index] @ w.T
    wanted = dy.T @ w[index]
    np.add.at(wanted, index, dy @ w)
    assert_close(net.params["t"][0].grad, wanted, what="gradient")


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_permissive_sharing_goes_by_place_in_c_order(kernels, rng):
    source = FORCE + inputs(x=(2, 3), z=(2, 4)) + ip("a", "x y", 4, param=ANY) + ip("b", "z u", 3, param=ANY)
    net = net_of(source, kernels=kernels)
    w = rng.normal(size=(4, 3))
    net.params["a"][0].data[...] = w
    diffs = drawn(net, rng)
    net.forward()
    net.backward()
    x, z = (np.array(net.blobs[name].data, np.float64) for name in "xz")
    assert_close(net.blobs["u"].data, z @ w.reshape(3, 4).T, what="u")
    gradient = diffs["y"].T @ x + (diffs["u"].T @ z).reshape(4, 3)
    assert_close(net.params["a"][0].grad, gradient, what="gradient")
    assert_close(net.params["b"][0].grad, gradient.reshape(3, 4), what="gradient in the other shape")


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_tied_weights_in_sums_updates_files_and_other_nets(kernels, rng, tmp_path):
    body = ip("e", "data h", 4, param=W) + ip("d", "h y", 72, "transpose: true", W)
    source = data(6) + body + layer("f", "Flatten", "data", "t") + layer("l", "EuclideanLoss", "y t", "loss")
    net = net_of(source.replace("data label", "data"), data=samples(6), kernels=kernels, chunk=4)
    randomise(net, scale=0.1)
    w = np.array(net.params["e"][0].data, np.float64)
    solver = make_solver(solver_of('base_lr: 0.5 lr_policy: "fixed"'), net)
    net.zero_sums()
    net.accumulate(np.arange(6), 0)
    solver.apply(solver.rate(0))
    net.forward()
    x = np.array(net.blobs["t"].data, np.float64)
    dy = (x @ w.T @ w - x) / 6
    wanted = w - 0.5 * ((dy @ w.T).T @ x + (x @ w.T).T @ dy)
    assert_close(net.params["d"][0].data, wanted, what="values after an update")
    save_caffemodel(net, tmp_path / "tied.caffemodel")
    other = net_of(AUTOENCODER.replace("dim: 5", "dim: 72").replace("num_output: 5", "num_output: 72"))
    load_weights(other, tmp_path / "tied.caffemodel")
    assert_close(other.params["e"][0].data, wanted, what="values from the file")
    sharer = net_of(source.replace("data label", "data"), data=samples(6), kernels=kernels, share=net)
    alone = net_of(FORCE + inputs(h=(2, 4)) + ip("d", "h y", 72, "transpose: true"), kernels=kernels, share=net)
    alone.blobs["h"].data[...] = rng.normal(size=(2, 4))
    for _ in range(2):
        assert_close(sharer.forward()["loss"], net.forward()["loss"], what="loss of a net that shares")
        alone.forward()
        assert_close(alone.blobs["y"].data, alone.blobs["h"].data @ net.params["d"][0].data, what="one layer alone")
        net.params["e"][0].data[...] *= 0.5


def test_what_another_net_holds_in_another_order_cannot_be_shared_in_another_shape():
    first = inputs(x=(2, 3)) + ip("a", "x y", 4, param=ANY)
    both = inputs(x=(2, 3), z=(2, 4)) + ip("a", "x y", 4, param=ANY) + ip("b", "z u", 3, param=ANY)
    with pytest.raises(UserError, match=r"parameter b\[0\] \(3, 4\) cannot be that of a\[0\] \(4, 3\), whose values"):
        net_of(both, share=net_of(first))


@pytest.mark.parametrize(("first", "second"), [("lr_mult: 0", ""), ("", "lr_mult: 0")])
def test_layers_that_share_go_by_their_own_lr_mult_for_gradients_and_by_the_stated_one_for_updates(first, second, rng):
    def shared(mult):
        return f'param {{ name: "w" {mult} }}'

    body = ip("a", "x h", 4, param=shared(first)) + ip("b", "h y", 4, param=shared(second))
    net = net_of(inputs(x=(3, 4), t=(3, 4)) + body + layer("l", "EuclideanLoss", "y t", "loss"))
    w = rng.normal(size=(4, 4))
    net.params["a"][0].data[...] = w
    drawn(net, rng)
    net.forward()
    net.backward()
    x, t = (np.array(net.blobs[name].data, np.float64) for name in "xt")
    dy = (x @ w.T @ w.T - t) / 3
    assert_close(net.params["a"][0].grad, dy.T @ (x @ w.T) if first else (dy @ w).T @ x, what="gradient")
    make_solver(solver_of('base_lr: 0.5 lr_policy: "fixed"'), net).apply_passes(0.5, 1)
    assert_close(net.params["a"][0].data, w, what="values")


# --- blobs that are one memory in Caffe -------------------------------------------------------------------------------

CONV = layer("c", "Convolution", "x", "h", "convolution_param { num_output: 3 kernel_size: 2 }")
PRODUCERS = {
    "Convolution": CONV,
    "TanH": CONV + layer("p", "TanH", "h", "h"),
    "BatchNorm": layer("p", "BatchNorm", "x", "h"),
}
SHAPERS = {
    "Flatten": layer("f", "Flatten", "h", "v"),
    "Reshape": layer("f", "Reshape", "h", "v", "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 1 } }"),
    "Concat": layer("f", "Concat", "h", "v"),
    "Slice": layer("f", "Slice", "h", "v"),
}


@pytest.mark.parametrize("shaper", SHAPERS)
@pytest.mark.parametrize("producer", PRODUCERS)
def test_a_layer_in_place_behind_another_shape_shows_in_both_blobs(producer, shaper, rng):
    source = FORCE + inputs(x=(2, 2, 4, 5)) + PRODUCERS[producer] + SHAPERS[shaper]
    after = layer("r", "ReLU", "v", "v") + layer("s", "Scale", "v", "v", "scale_param { bias_term: true }")
    split = after.replace('"v"', '"u"').replace('bottom: "u"', 'bottom: "v"', 1)  # first ReLU to a blob of its own
    net, apart = (net_of(source + tail) for tail in (after, split))
    for each in (net, apart):
        randomise(each)
        drawn(each, np.random.default_rng(1))
    for _ in range(2):
        for each in (net, apart):
            each.forward()
            blob = each.blobs[each.outputs[0]]
            blob.diff[...] = np.arange(blob.data.size).reshape(blob.shape)
            each.backward()
        net.forward()
        values = np.array(apart.blobs["u"].data)
        assert_close(net.blobs["v"].data, values, what="the blob in place")
        assert_close(net.blobs["h"].data, values.reshape(net.blobs["h"].shape), what="the blob before it")
        assert_close(net.blobs["x"].diff, apart.blobs["x"].diff, what="gradient of x")
        assert_close(net.blobs["x"].data, apart.blobs["x"].data, what="x")


def test_a_gradient_given_to_a_blob_in_place_stays_where_nothing_passes_it_on(rng):
    bias = layer("b", "Bias", "v", "v")
    source = inputs(x=(2, 3)) + layer("m", "Eltwise", "x x", "v", "eltwise_param { operation: MAX }") + bias
    net = net_of(source + layer("s", "Reduction", "v", "loss", "loss_weight: 2 reduction_param { axis: 0 }"))
    drawn(net, rng)
    net.forward()
    net.backward()
    assert_close(net.blobs["v"].diff, np.full((2, 3), 2.0), what="gradient of v")
    assert_close(net.params["b"][0].grad, np.full(3, 4.0), what="gradient of the bias")


@pytest.mark.parametrize("reader", [layer("r", "Silence", "loss", ""), layer("r", "Power", "loss", "more")])
def test_a_loss_that_another_layer_reads_trains_nothing_unless_its_weight_is_stated(reader, rng):
    source = inputs(x=(2, 3), t=(2, 4)) + ip("i", "x y", 4) + layer("l", "EuclideanLoss", "y t", "loss", "WEIGHT")
    for weight, wanted in (("", 0.0), ("loss_weight: 1", 1.0)):
        net = net_of(source.replace("WEIGHT", weight) + reader)
        drawn(net, rng)
        net.forward()
        net.backward()
        x, y, t = (np.array(net.blobs[name].data, np.float64) for name in "xyt")
        assert_close(net.params["i"][0].grad, wanted * ((y - t) / 2).T @ x, what=f"gradient with '{weight}'")


# --- statistics that are parameters -----------------------------------------------------------------------------------


def test_statistics_of_batch_norm_decay_into_the_history_but_do_not_move(rng):
    body = data(6) + layer("b", "BatchNorm", "data", "n") + ip("i", "n y", 4)
    net = net_of(body + layer("l", "SoftmaxWithLoss", "y label", "loss"), pb.TRAIN, data=samples(6))
    rule = 'type: "AdaGrad" base_lr: 0.1 lr_policy: "fixed" weight_decay: 0.5'
    solver = make_solver(solver_of(rule), net)
    net.forward()
    net.backward()
    before = np.array(net.params["b"][1].data, np.float64)
    solver.apply_passes(0.1, 1)
    variance = net.flat.parameters[1]
    assert_close(net.params["b"][1].data, before, what="running variance")
    history = solver.history[0][variance.start : variance.start + variance.count]
    assert_close(history, (0.5 * before) ** 2, what="its history")
