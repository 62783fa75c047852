"""MemoryData: the caller's arrays in batches, over and over."""

from __future__ import annotations

import numpy as np
import pytest
from data_support import batches
from engine_support import layer, net_of

from batchbrew.errors import UserError

SETTINGS = "memory_data_param {{ batch_size: {} channels: 4 height: 7 width: 11 }}"


def memory(batch=8, more=""):
    return net_of(layer("d", "MemoryData", "", "data label", SETTINGS.format(batch)) + more)


def arrays(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 4, 7, 11)).astype(np.float32), rng.integers(0, 3, count).astype(np.float32)


def test_caffes_twelve_batches():
    net = memory()
    data, labels = arrays(96)
    net.layers[0].set_arrays(data, labels)
    net.whole.reshape()
    for turn, (found, label) in enumerate(batches(net, 30, "data", "label")):
        rows = slice(8 * (turn % 12), 8 * (turn % 12) + 8)
        assert np.array_equal(found, data[rows])
        assert label.shape == (8, 1, 1, 1) and np.array_equal(label.ravel(), labels[rows])


def test_labels_have_four_axes_once_there_are_some():
    net = memory()
    assert net.blobs["label"].data.shape == (8,)
    net.layers[0].set_arrays(*arrays(8))
    net.whole.reshape()
    assert net.blobs["label"].data.shape == (8, 1, 1, 1)


def test_without_a_reshape_the_labels_keep_their_shape():
    net = memory()
    _ = net.blobs
    data, labels = arrays(8)
    net.layers[0].set_arrays(data, labels.reshape(8, 1, 1, 1))
    assert np.array_equal(batches(net, 1, "label")[0], labels)


def test_arrays_are_not_copied_before_they_are_read():
    net = memory()
    data, labels = arrays(16)
    net.layers[0].set_arrays(data, labels)
    net.forward()
    data[8:] = 5
    labels[8:] = 2
    assert [float(x.mean()) for x in batches(net, 1, "data", "label")[0]] == [5, 2]


def test_new_arrays_begin_with_their_first_sample():
    net = memory()
    net.layers[0].set_arrays(*arrays(16))
    net.forward()
    data, labels = arrays(24, seed=1)
    net.layers[0].set_arrays(data, labels)
    assert np.array_equal(batches(net, 1)[0], data[:8])


def test_the_batch_size_may_change():
    net = memory()
    data, labels = arrays(24)
    net.layers[0].set_arrays(data, labels)
    net.forward()
    net.layers[0].batch = 6
    net.layers[0].set_arrays(data, labels)
    net.whole.reshape()
    assert np.array_equal(np.concatenate(batches(net, 4)), data)
    net.layers[0].batch = 12  # goes on where it was
    net.whole.reshape()
    assert np.array_equal(np.concatenate(batches(net, 2)), data)


def test_a_loss_reads_the_labels():
    body = layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 3 }")
    net = memory(8, body + layer("loss", "SoftmaxWithLoss", "ip label", "loss"))
    net.layers[0].set_arrays(*arrays(8))
    net.whole.reshape()
    assert net.forward()["loss"] == pytest.approx(np.log(3))


AT = "layer 'd' (MemoryData): "


def test_mistakes():
    net = memory()
    with pytest.raises(UserError) as caught:
        net.forward()
    assert str(caught.value) == (
        f"{AT}MemoryDataLayer needs to be initialized: call set_input_arrays (Reset) before forward"
    )
    data, labels = arrays(16)
    for bad, text in (
        ((data[:, :3], labels), "data must have shape (n, 4, 7, 11), found (16, 3, 7, 11)"),
        ((data[0], labels), "data must have shape (n, 4, 7, 11), found (4, 7, 11)"),
        (
            (data, labels[:15]),
            "data and labels must have the same first dimension, found (16, 4, 7, 11), (15,)",
        ),
        (
            (data, np.zeros((16, 2))),
            "data and labels must have the same first dimension, found (16, 4, 7, 11), (16, 2)",
        ),
        ((data[:12], labels[:12]), "n must be a multiple of batch size: found 12 samples, batch_size 8"),
        ((data[:0], labels[:0]), "n must be a multiple of batch size: found 0 samples, batch_size 8"),
    ):
        with pytest.raises(UserError) as caught:
            net.layers[0].set_arrays(*bad)
        assert str(caught.value) == AT + text
