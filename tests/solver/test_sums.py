"""Sums over samples: the same however the samples are cut into calls and chunks, and Caffe's means once divided."""

from __future__ import annotations

import re

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, data, inputs, layer, net_of, samples

from batchbrew.protos import messages as pb

BATCH = 16
PART = samples(40)
IP = "inner_product_param {{ num_output: {} weight_filler {{ type: 'gaussian' std: 0.3 }} }}"
BODY = (
    data(BATCH)
    + layer("conv", "Convolution", "data", "conv", "convolution_param { num_output: 5 kernel_size: 3 pad: 1 "
            "weight_filler { type: 'xavier' } bias_filler { type: 'uniform' } }")
    + layer("relu", "ReLU", "conv", "conv")
    + layer("pool", "Pooling", "conv", "pool", "pooling_param { kernel_size: 3 stride: 2 }")
    + layer("ip", "InnerProduct", "pool", "ip", IP.format(4))
)  # fmt: skip
LOSS = layer("loss", "SoftmaxWithLoss", "ip label", "loss")
ACCURACY = layer("acc", "Accuracy", "ip label", "acc")
TWO = (
    BODY
    + layer("other", "InnerProduct", "pool", "other", IP.format(1))
    + layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_weight: 0.5")
    + layer("square", "EuclideanLoss", "other label", "square", "loss_weight: 2")
)
POSITIONS = data(BATCH) + layer(
    "conv",
    "Convolution",
    "data",
    "conv",
    "convolution_param { num_output: 4 kernel_size: 6 weight_filler { type: 'xavier' } }",
)


def build(source=BODY + LOSS + ACCURACY, **options):
    return net_of(source, data=PART, seed=2, **options)


def results(net):
    return {"grads": net.flat.grads.copy(), "count": net.count, "mean": net.mean_loss} | {
        name: pair.copy() for name, pair in net.statistics.items()
    }


def assert_same(found, wanted):
    for name, values in wanted.items():
        assert_close(found[name], values, 1e-5, name)


@pytest.fixture(scope="module")
def whole():
    net = build(chunk=64, kernels="reference")
    net.zero_sums()
    net.accumulate(np.arange(23), 0)
    return results(net)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 16, 23, 64, None])
def test_chunks_do_not_matter(whole, chunk, kernels):
    net = build(chunk=chunk, kernels=kernels)
    net.zero_sums()
    net.accumulate(np.arange(23), 0)
    assert net.count == 23
    assert_same(results(net), whole)


@pytest.mark.parametrize("seed", range(8))
def test_calls_do_not_matter(whole, seed):
    """Any split into calls, in any order, with empty ones; small batches are compiled before large ones."""
    rng = np.random.default_rng(seed)
    net = build(chunk=int(rng.integers(1, 9)))
    for _ in range(2):  # again: zero_sums leaves nothing behind
        net.zero_sums()
        for piece in np.split(rng.permutation(23), np.sort(rng.integers(0, 24, 6))):
            net.accumulate(piece, 0)
        net.accumulate(np.arange(0), 0)
        assert_same(results(net), whole)


def test_a_growing_batch_leaves_earlier_views_alive():
    net = build(kernels=KERNEL_SETS[0], chunk=64)
    for count in (1, 3, 40, 2, 17):
        fresh = build(kernels="reference", chunk=64)
        for each in (net, fresh):
            each.zero_sums()
            each.accumulate(np.arange(count), 0)
        assert_same(results(net), results(fresh))


def test_views_stay_live_while_larger_batches_come_and_go():
    net, fresh = (build(kernels=KERNEL_SETS[0], chunk=64) for _ in range(2))
    views = {name: (blob.data, blob.diff) for name, blob in net.blobs.items()}
    for count in (40, 3):
        net.zero_sums()
        net.accumulate(np.arange(count), 0)
        for each in (net, fresh):
            each.forward()
            each.backward()
        for name, (values, diff) in views.items():
            assert np.array_equal(values, fresh.blobs[name].data), name
            assert np.array_equal(diff, fresh.blobs[name].diff), name


@pytest.mark.parametrize("source", [
    BODY + LOSS,
    BODY + layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_weight: 3"),
    TWO,
    BODY + layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_param { ignore_label: 1 }"),
    BODY + layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_param { ignore_label: 1 normalization: FULL }"),
    BODY + layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_param { normalization: BATCH_SIZE }"),
    BODY + layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_param { normalization: NONE }"),
    POSITIONS + layer("loss", "SoftmaxWithLoss", "conv label", "loss", "loss_param { normalization: FULL }"),
])  # fmt: skip
def test_divided_sums_are_caffes_means(source):
    caffe, net = build(source), build(source, chunk=5)
    caffe.zero_sums()
    caffe.forward()
    caffe.backward()
    net.zero_sums()
    net.accumulate(np.arange(BATCH), 0)
    assert caffe.flat.grads.any()
    assert_close(net.flat.grads / max(net.count, 1.0), caffe.flat.grads, 1e-5)
    assert net.mean_loss == pytest.approx(caffe.total_loss, rel=1e-5)


def test_counts():
    """With ignore_label VALID the divisor is what was not ignored; with NONE there is none; else the samples."""
    ignoring = build(BODY + layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_param { ignore_label: 1 }"))
    none = build(BODY + layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_param { normalization: NONE }"))
    two = build(TWO)
    for net in (ignoring, none, two):
        net.zero_sums()
        net.accumulate(np.arange(20), 0)
    assert ignoring.count == (PART.labels[:20] != 1).sum()
    assert none.count == 0
    assert two.count == 20
    assert two.statistics["square"][1] == 20


def test_accuracy_is_counted():
    net = build(phase=pb.TEST, chunk=7)
    net.zero_sums()
    for piece in (np.arange(10), np.arange(0), np.arange(10, 40)):
        net.evaluate(piece)
    right, count = net.statistics["acc"]
    batches = []
    for _ in range(5):
        net.forward()
        batches.append((net.blobs["ip"].data.argmax(1) == net.blobs["label"].data).sum())
    assert count == 40
    assert right == sum(batches[:2]) + (net_predictions(range(32, 40)) == PART.labels[32:]).sum()
    assert not net.flat.grads.any()


def net_predictions(indices):
    net = build(BODY.replace(f"batch_size: {BATCH}", f"batch_size: {len(indices)}") + LOSS, phase=pb.TEST)
    net.whole.rewind(indices[0])
    net.forward()
    return net.blobs["ip"].data.argmax(1)


DROP = BODY.replace('name: "ip"', 'name: "drop" type: "Dropout" bottom: "pool" top: "pool" } layer { name: "ip"') + LOSS


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_dropout_belongs_to_the_sample(kernels):
    wanted = build(DROP, chunk=64, kernels="reference")
    wanted.zero_sums()
    wanted.accumulate(np.arange(23), 4)
    for chunk, calls in ((1, [23]), (4, [3, 0, 20]), (64, [22, 1])):
        net = build(DROP, chunk=chunk, kernels=kernels)
        net.zero_sums()
        for piece in np.split(np.arange(23), np.cumsum(calls)[:-1]):
            net.accumulate(piece, 4)
        assert_same(results(net), results(wanted))
    other = build(DROP, chunk=64, kernels=kernels)
    other.zero_sums()
    other.accumulate(np.arange(23), 5)
    assert abs(other.flat.grads - wanted.flat.grads).max() > 1e-3  # another epoch, other draws


def test_shares_of_two_ranks_add_up(whole):
    """What one Allreduce does: messages [gradients | tail] summed, then unpacked."""
    nets = [build(chunk=4), build(chunk=6)]
    for net, part in zip(nets, (np.arange(9), np.arange(9, 23)), strict=True):
        net.zero_sums()
        net.accumulate(part, 0)
        net.pack_tail()
    assert nets[0].flat.message.shape == (nets[0].flat.size + nets[0].flat.tail,)
    nets[0].flat.message += nets[1].flat.message
    nets[0].unpack_tail()
    assert_same(results(nets[0]), whole)


BN = BODY.replace('name: "relu" type: "ReLU"', 'name: "bn" type: "BatchNorm"') + LOSS


def test_layers_that_need_the_whole_batch_are_named():
    assert build(BN).whole_batch == ["bn"]
    assert build(BN, phase=pb.TEST).whole_batch == []
    assert build().whole_batch == []


@pytest.mark.parametrize(("kind", "rest", "cut"), [
    ("Softmax", "softmax_param { axis: 0 }", False),
    ("Softmax", "softmax_param { axis: -1 }", True),
    ("Flatten", "flatten_param { axis: -2 }", False),
    ("Flatten", "flatten_param { axis: 0 end_axis: 0 }", True),
    ("InnerProduct", "inner_product_param { axis: 0 num_output: 2 }", False),
    ("Scale", "scale_param { axis: 0 num_axes: 1 }", False),
    ("Scale", "scale_param { axis: 0 num_axes: 0 bias_term: true }", True),
    ("Bias", "bias_param { axis: 0 num_axes: -1 }", False),
    ("Bias", "", True),
    ("BatchNorm", "", True),
    ("PReLU", "", True),
])  # fmt: skip
def test_layers_that_mix_the_samples_are_not_cut(kind, rest, cut):
    wanted = [] if cut else [f"layer 'one' ({kind}) sees the whole batch"]
    assert build(BODY + LOSS + layer("one", kind, "ip", "y", rest)).uncut == wanted


@pytest.mark.parametrize(("kind", "shapes", "axis", "cut"), [
    ("Scale", ((4, 3), (4,)), 0, True),
    ("Scale", ((4, 3), (3,)), 1, False),
    ("Bias", ((4, 3), (4, 3)), 0, True),
    ("Bias", ((4, 3), ()), 0, False),
])  # fmt: skip
def test_a_second_bottom_has_rows_where_the_samples_are(kind, shapes, axis, cut):
    source = inputs(x=shapes[0], z=shapes[1])
    net = net_of(source + layer("one", kind, "x z", "y", f"{kind.lower()}_param {{ axis: {axis} }}"))
    assert net.layers[-1].cuttable == cut


def test_a_loss_whose_classes_are_the_samples_is_not_cut():
    source = inputs(x=(4, 3), z=(3,)) + layer("loss", "SoftmaxWithLoss", "x z", "loss", "softmax_param { axis: 0 }")
    net = net_of(source + layer("acc", "Accuracy", "x z", "acc", "accuracy_param { axis: 0 }"))
    assert [each.cuttable for each in net.layers if each.type in ("SoftmaxWithLoss", "Accuracy")] == [False, False]


def test_batch_norm_sees_what_one_call_gives_it():
    caffe, net = build(BN, chunk=3), build(BN, chunk=3)
    for each in (caffe, net):
        each.zero_sums()
    caffe.forward()
    caffe.backward()
    net.accumulate(np.arange(BATCH), 0)
    assert_close(net.flat.grads / net.count, caffe.flat.grads, 1e-5)
    for a, b in zip(net.params["bn"], caffe.params["bn"], strict=True):
        assert_close(a.data, b.data, 1e-6)


def test_rank_local_statistics_are_averaged():
    net = build(BN)
    net.accumulate(np.arange(BATCH), 0)
    kept = [p.data.copy() for p in net.params["bn"]]
    weights = net.params["conv"][0].data.copy()
    net.sync_local(lambda values: np.multiply(values, 0.5, out=values))
    for parameter, values in zip(net.params["bn"], kept, strict=True):
        assert np.array_equal(parameter.data, values * 0.5)
    assert np.array_equal(net.params["conv"][0].data, weights)
    build().sync_local(lambda values: pytest.fail("nothing is local here"))


def test_nets_that_cannot_be_cut_run_whole_passes():
    none = TWO.replace("loss_weight: 0.5", "loss_weight: 0.5 loss_param { normalization: NONE }")
    assert re.fullmatch("loss '.*' has normalization NONE or ignore_label beside other losses", build(none).uncut[0])
    softmax = BODY + LOSS + layer("m", "Softmax", "ip", "m", "loss_weight: 1")
    assert build(softmax).uncut == ["top 'm' of layer 'm' (Softmax) has a loss_weight but is no mean"]
    passes, whole = build(none), build(none)
    passes.zero_sums()
    passes.accumulate(np.arange(BATCH), 0)
    passes.accumulate(np.arange(5), 0)
    whole.forward()
    first = whole.total_loss
    whole.backward()
    whole.whole.forward(indices=np.arange(5))
    whole.whole.backward()
    assert passes.count == 2
    assert passes.mean_loss == pytest.approx((first + whole.total_loss) / 2)
    assert_close(passes.flat.grads, whole.flat.grads, 1e-12)
