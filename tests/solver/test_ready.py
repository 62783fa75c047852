"""What is said to be complete while a net goes backward: all of it, once, in one order, and nothing too early."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import COMPILED, data, inputs, layer, net_of, samples

from batchbrew.protos import messages as pb
from batchbrew.solver.kernels import available

PART = samples(40)
IP = "inner_product_param {{ num_output: {} weight_filler {{ type: 'gaussian' std: 0.3 }} }} {}"
CONV = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } }"
LOSS = layer("loss", "SoftmaxWithLoss", "c label", "loss") + layer("acc", "Accuracy", "c label", "acc")
HEAD = data(16) + layer("conv", "Convolution", "data", "conv", CONV) + layer("relu", "ReLU", "conv", "conv")
NETS = {
    "chain": HEAD + layer("a", "InnerProduct", "conv", "a", IP.format(7, ""))
    + layer("c", "InnerProduct", "a", "c", IP.format(4, "")) + LOSS,
    "shared": HEAD + layer("in", "InnerProduct", "conv", "in", IP.format(5, ""))
    + layer("a", "InnerProduct", "in", "a", IP.format(5, "param { name: 'w' } param { name: 'b' }"))
    + layer("mid", "InnerProduct", "a", "mid", IP.format(5, ""))
    + layer("b", "InnerProduct", "mid", "b", IP.format(5, "param { name: 'w' } param { name: 'b' }"))
    + layer("c", "InnerProduct", "b", "c", IP.format(4, "")) + LOSS,
    "shared in another order": HEAD
    + layer("a", "Convolution", "conv", "a", CONV + "param { name: 'w' }")
    + layer("b", "Convolution", "a", "b", CONV)
    + layer("d", "InnerProduct", "b", "d", IP.format(1, "param { name: 'w' share_mode: PERMISSIVE }"))
    + layer("c", "InnerProduct", "d", "c", IP.format(4, "")) + LOSS,
    "first layers frozen": data(16)
    + layer("conv", "Convolution", "data", "conv", CONV + "param { lr_mult: 0 } param { lr_mult: 0 }")
    + layer("a", "InnerProduct", "conv", "a", IP.format(7, "param { lr_mult: 0 } param { lr_mult: 0 }"))
    + layer("b", "InnerProduct", "a", "b", IP.format(6, ""))
    + layer("c", "InnerProduct", "b", "c", IP.format(4, "")) + LOSS,
    "middle layer frozen": HEAD
    + layer("a", "InnerProduct", "conv", "a", IP.format(7, "param { lr_mult: 0 } param { lr_mult: 0 }"))
    + layer("c", "InnerProduct", "a", "c", IP.format(4, "")) + LOSS,
    "whole batch": HEAD + layer("norm", "BatchNorm", "conv", "norm") + layer("scale", "Scale", "norm", "scale")
    + layer("c", "InnerProduct", "scale", "c", IP.format(4, "")) + LOSS,
}  # fmt: skip


def told(net, count: int):
    """Return what ``ready`` was told with ``count`` samples, asserting that it was true."""
    seen = []

    def ready(start: int, stop: int) -> None:
        seen.append((start, stop, net.flat.grads[start:stop].copy(), net.sums.copy()))

    net.zero_sums()
    net.accumulate(np.arange(5), 0)
    net.accumulate(np.arange(5, 5 + count), 0, ready)
    for start, stop, grads, sums in seen:
        np.testing.assert_array_equal(grads, net.flat.grads[start:stop], f"{start}:{stop}")
        np.testing.assert_array_equal(sums, net.sums)
    return [(start, stop) for start, stop, *_ in seen]


@pytest.mark.parametrize("kernels", available())
@pytest.mark.parametrize("name", NETS)
def test_each_range_is_complete_when_told_and_told_once(name, kernels):
    net = net_of(NETS[name], data=PART, seed=3, chunk=4, kernels=kernels)
    ranges = [(start, stop) for _, start, stop in net.ready_ranges]
    assert len(ranges) > 1
    assert (ranges[0][1], ranges[-1][0]) == (net.flat.size, 0)
    assert all(start < stop for start, stop in ranges)
    assert [start for start, _ in ranges[:-1]] == [stop for _, stop in ranges[1:]]
    for count in (0, 1, 4, 11):
        assert told(net, count) == ranges


@pytest.mark.parametrize("name", NETS)
def test_nothing_is_told_late(name):
    """Every range but the last still lets a layer with parameters run behind it."""
    net = net_of(NETS[name], data=PART)
    layers = [layer for layer, _, _ in net.ready_ranges]
    assert layers == sorted(set(layers), reverse=True)
    assert all(net.layers[i].parameters for i in layers)


def test_shared_parameters_wait_for_the_last_layer_that_adds_to_them():
    net = net_of(NETS["shared"], data=PART)
    names = [layer.name for layer in net.layers]
    by_layer = {names[layer]: (start, stop) for layer, start, stop in net.ready_ranges}
    w, mid = net.params["a"][0], net.params["mid"][0]
    assert list(by_layer) == ["c", "mid", "a", "in", "conv"]
    assert by_layer["a"] == (w.start, mid.start)


def test_frozen_layers_are_complete_with_the_last_that_learns():
    net = net_of(NETS["first layers frozen"], data=PART)
    assert [net.layers[layer].name for layer, _, _ in net.ready_ranges] == ["c", "b"]


@pytest.mark.parametrize("kernels", [COMPILED[0] if COMPILED else "reference", "reference"])
def test_being_told_changes_no_bit(kernels):
    plain, telling = (net_of(NETS["chain"], data=PART, seed=3, chunk=4, kernels=kernels) for _ in range(2))
    plain.accumulate(np.arange(11), 0)
    telling.accumulate(np.arange(11), 0, lambda start, stop: None)
    np.testing.assert_array_equal(plain.flat.grads, telling.flat.grads)
    np.testing.assert_array_equal(plain.sums, telling.sums)


def test_a_net_that_cannot_be_cut_tells_all_at_the_end():
    mixing = layer("mix", "Reduction", "c", "mix", "loss_weight: 1")
    net = net_of(NETS["chain"].replace(LOSS, "") + mixing, data=PART)
    assert net.uncut
    assert told(net, 6) == [(start, stop) for _, start, stop in net.ready_ranges]


def test_a_net_without_parameters_has_no_ranges():
    net = net_of(inputs(a=(2, 3), b=(2, 3)) + layer("loss", "EuclideanLoss", "a b", "loss"), pb.TEST)
    assert net.ready_ranges == []
