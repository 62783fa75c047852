"""Blobs that share memory in programs that nobody looks into: fewer pages, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import KERNEL_SETS, data, layer, net_of, samples

from batchbrew.solver import compiled
from batchbrew.solver.blob import Storage
from batchbrew.solver.lending import lend

PART = samples(24)
CONV = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } }"
SOURCE = (
    data(8)
    + layer("c1", "Convolution", "data", "c1", CONV)
    + layer("p1", "Pooling", "c1", "p1", "pooling_param { kernel_size: 3 stride: 2 }")
    + layer("c2", "Convolution", "p1", "c2", CONV)
    + layer("r2", "ReLU", "c2", "c2")
    + layer("c3", "Convolution", "c2", "c3", CONV)
    + layer("sum", "Eltwise", "c2 c3", "sum")
    + layer("ip", "InnerProduct", "sum", "ip", "inner_product_param { num_output: 4 weight_filler { type: 'xavier' } }")
    + layer("loss", "SoftmaxWithLoss", "ip label", "loss")
)


def storages(count, shape=(2, 3)):
    made = [Storage(np.float32) for _ in range(count)]
    return made, [(storage, shape, storage.view(shape)) for storage in made]


def test_memory_goes_on_to_the_next():
    """0 is used by operations 0 and 1, 1 by 1 and 2, 2 by 2 and 3: the last takes over from the first."""
    made, blobs = storages(3)
    views = [view for _, _, view in blobs]
    calls = [
        ("copy", (views[0],)),
        ("copy", (views[0], views[1])),
        ("copy", (views[1], views[2])),
        ("fill", (views[2],)),
    ]
    assert lend(calls, blobs) == {id(made[2]): made[0]}


def test_no_other_shape_and_no_function():
    made, blobs = storages(2)
    other = Storage(np.float32)
    blobs[1] = (other, (2, 4), other.view((2, 4)))
    calls = [("fill", (blobs[0][2],)), ("fill", (blobs[1][2],))]
    assert lend(calls, blobs) == {}
    made, blobs = storages(2)
    calls = [("fill", (blobs[0][2],)), ("fill", (blobs[1][2],))]
    assert lend(calls, blobs) == {id(made[1]): made[0]}
    assert lend([*calls, (print, ())], blobs) == {}


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_the_numbers_are_the_same(monkeypatch, kernels):
    found = []

    def spy(calls, blobs):
        found.append(lend(calls, blobs))
        return found[-1]

    def gradients():
        net = net_of(SOURCE, data=PART, seed=3, chunk=5, kernels=kernels)
        net.zero_sums()
        net.accumulate(np.arange(24), 0)
        return net.flat.grads.copy(), net.mean_loss

    monkeypatch.setattr(compiled, "lend", spy)
    shared, loss = gradients()
    lent = [len(each) for each in found]
    monkeypatch.setattr(compiled, "lend", lambda calls, blobs: {})
    alone, alone_loss = gradients()
    assert min(lent) >= 3
    assert loss == alone_loss
    np.testing.assert_array_equal(shared, alone)
