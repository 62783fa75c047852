"""Whole passes as Caffe runs them: ranges of layers, blobs that are resized, layers in place on what users write."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, data, inputs, layer, net_of, randomise, samples

from batchbrew.errors import UserError
from batchbrew.solver.layer import LAYERS, Layer

IP = "inner_product_param { num_output: 3 }"
CHAIN = (
    inputs(x=(2, 3, 6, 5))
    + layer("conv", "Convolution", "x", "c", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }")
    + layer("relu", "ReLU", "c", "c")
    + layer("pool", "Pooling", "c", "p", "pooling_param { kernel_size: 2 stride: 2 }")
    + layer("tanh", "TanH", "p", "t")
)


def filled(source: str, **options):
    net = net_of(source, **options)
    randomise(net, 2)
    for name in ("x", "z"):
        if name in net.blobs:
            net.blobs[name].data[...] = np.random.default_rng(1).normal(size=net.blobs[name].shape)
    return net


@pytest.mark.parametrize("cut", range(1, 5))
def test_ranges_compose(cut):
    whole, parts = filled(CHAIN), filled(CHAIN)
    whole.forward()
    parts.whole.forward(0, cut - 1)
    parts.whole.forward(cut)
    assert np.array_equal(parts.blobs["t"].data, whole.blobs["t"].data)
    for net in (whole, parts):
        net.blobs["t"].diff[...] = np.random.default_rng(3).normal(size=net.blobs["t"].shape)
    source = CHAIN + "force_backward: true"
    whole, parts = filled(source), filled(source)
    for net in (whole, parts):
        net.forward()
        net.blobs["t"].diff[...] = 1
    whole.backward()
    parts.whole.backward(None, cut)
    parts.whole.backward(cut - 1)
    assert np.array_equal(parts.blobs["x"].diff, whole.blobs["x"].diff)
    assert whole.blobs["x"].diff.any()


def test_a_range_runs_its_own_layers_only():
    net = filled(CHAIN)
    net.forward()
    net.blobs["p"].data[...] = 0.5
    net.whole.forward(4, 4)
    assert_close(net.blobs["t"].data, np.full(net.blobs["t"].shape, np.tanh(0.5)))
    assert net.whole.forward(4, 3) is None  # nothing


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_there_and_back_to_another_size(kernels):
    net = filled(CHAIN, kernels=kernels)
    first = net.blobs["x"].data.copy()
    net.forward()
    wanted = net.blobs["t"].data.copy()
    other = np.random.default_rng(5).normal(size=(4, 3, 9, 11)).astype(np.float32)
    net.whole.resize("x", other.shape)[...] = other
    assert net.whole.shape("x") == other.shape
    net.forward()
    alone = net_of(CHAIN.replace("dim: 2 dim: 3 dim: 6 dim: 5", "dim: 4 dim: 3 dim: 9 dim: 11"), kernels=kernels)
    for mine, theirs in zip(alone.flat.parameters, net.flat.parameters, strict=True):
        mine.data[...] = theirs.data
    alone.blobs["x"].data[...] = other
    alone.forward()
    assert net.blobs["t"].shape == (4, 4, 5, 6)
    assert np.array_equal(net.blobs["t"].data, alone.blobs["t"].data)
    net.whole.resize("x", first.shape)[...] = first
    net.forward()
    assert np.array_equal(net.blobs["t"].data, wanted)


def test_resizing_gives_the_new_array_before_the_others_follow():
    net = net_of(inputs(x=(2, 3), z=(2, 3)) + layer("e", "EuclideanLoss", "x z", "e"))
    net.whole.resize("x", (5, 3))  # for a moment the two do not fit each other
    assert net.whole.blob("x").data.shape == (5, 3)
    net.whole.resize("z", (5, 3))[...] = 2
    assert net.forward()["e"] == pytest.approx(0.5 * 3 * 4)
    assert net.whole.resize("e", (7,)).shape == ()  # what a layer makes is not for the caller to size


def test_a_size_that_does_not_fit_is_refused_at_the_next_pass():
    net = net_of(inputs(x=(2, 3)) + layer("ip", "InnerProduct", "x", "y", IP))
    net.whole.resize("x", (2, 4))
    with pytest.raises(UserError, match=r"layer 'ip' \(InnerProduct\): was set up for 3 inputs, found 4"):
        net.forward()
    net.whole.resize("x", (3, 3))
    assert net.forward()["y"].shape == (3, 3)


@pytest.mark.parametrize("kind", ["ReLU", "Sigmoid", "Softmax", "BatchNorm"])
def test_layers_in_place_on_what_the_user_writes(kind):
    """Caffe's one blob: the output stands where the input was written, and so does the gradient of the input."""
    apart = filled(inputs(x=(4, 3)) + layer("one", kind, "x", "y") + "force_backward: true")
    here = filled(inputs(x=(4, 3)) + layer("one", kind, "x", "x") + "force_backward: true")
    top_diff = np.random.default_rng(3).normal(size=(4, 3))
    apart.forward()
    apart.blobs["y"].diff[...] = top_diff
    apart.backward()
    assert list(here.forward()) == ["x"]
    assert_close(here.blobs["x"].data, apart.blobs["y"].data, 1e-6)
    here.blobs["x"].diff[...] = top_diff
    here.backward()
    assert_close(here.blobs["x"].diff, apart.blobs["x"].diff, 1e-6)
    again = here.blobs["x"].data.copy()
    twice = filled(inputs(x=(4, 3)) + layer("one", kind, "x", "y"))
    twice.blobs["x"].data[...] = again
    here.forward()  # without new input: the layer works on its own output
    twice.forward()
    assert_close(here.blobs["x"].data, twice.blobs["y"].data, 1e-6)


def test_a_chain_in_place_shows_the_gradient_of_its_input():
    chain = layer("ip", "InnerProduct", "x", "y", IP) + "".join(
        layer(kind, kind, "y", "y") for kind in ("BatchNorm", "Scale", "ReLU")
    )
    net = filled(inputs(x=(4, 3)) + chain + "force_backward: true")
    net.forward()
    net.blobs["y"].diff[...] = 1
    net.whole.backward(None, 2)  # down to BatchNorm
    found = net.blobs["y"].diff.copy()
    net.whole.backward(1, 1)
    weights = net.params["ip"][0].data
    assert_close(net.blobs["x"].diff, found @ weights, 1e-5)


def test_sources_of_one_net_go_on_each_by_itself():
    source = data(4) + layer("more", "Data", "", "z", "data_param { batch_size: 3 }") + layer("n", "Silence", "z", "")
    if "Silence" not in LAYERS:
        pytest.skip("Silence is not there yet")
    part = samples(10)
    net = net_of(source, data=part)
    for batch in range(4):
        net.forward()
        assert np.array_equal(net.blobs["data"].data, part.images[np.arange(4 * batch, 4 * batch + 4) % 10])
        assert np.array_equal(net.blobs["z"].data, part.images[np.arange(3 * batch, 3 * batch + 3) % 10])


class Rows(Layer):
    """Pass on the rows whose first element is positive."""

    dynamic = True
    cuttable = False  # type: ignore[assignment]

    def reshape(self, bottoms):
        return [bottoms[0]]

    def reshape_live(self, bottom):
        return [(int((bottom[0].data[:, 0] > 0).sum()), *bottom[0].shape[1:])]

    def forward(self, build, bottom, top):
        def pick(x, y):
            y[...] = x[x[:, 0] > 0]

        build.call(pick, bottom[0].data, top[0].data)

    def backward(self, build, bottom, top, needed):
        pass


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_shapes_that_depend_on_what_a_layer_reads(kernels, monkeypatch):
    monkeypatch.setitem(LAYERS._entries, "Rows", Rows)
    net = filled(inputs(x=(4, 3)) + layer("rows", "Rows", "x", "y") + layer("tanh", "TanH", "y", "t"), kernels=kernels)
    for keep in ([0, 2], [0, 1, 2, 3], [], [3]):
        net.blobs["x"].data[...] = -1
        net.blobs["x"].data[keep] = np.arange(1, len(keep) + 1)[:, None]
        net.forward()
        assert_close(net.blobs["t"].data, np.tanh(np.repeat(np.arange(1, len(keep) + 1)[:, None], 3, 1)))
