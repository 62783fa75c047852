"""What the tests of pycaffe share: a small net, files, and layers written in Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from batchbrew.solver import pycaffe as caffe

CLASSES = 7

NET = f"""
name: "small" force_backward: true
layer {{ name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {{ num: 5 num: 5 channels: 2 channels: 1 height: 3 height: 1 width: 4 width: 1
    data_filler {{ type: "gaussian" std: 1 }} data_filler {{ type: "constant" }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" param {{ decay_mult: 1 }} param {{ decay_mult: 0 }}
  convolution_param {{ num_output: 6 kernel_size: 2 pad: 3 weight_filler {{ type: "gaussian" std: 1 }}
                      bias_filler {{ type: "constant" value: 2 }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "conv" top: "ip_blob"
  inner_product_param {{ num_output: {CLASSES} weight_filler {{ type: "gaussian" std: 0.2 }}
                        bias_filler {{ type: "constant" value: -3 }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip_blob" bottom: "label" top: "loss" }}
"""


def net_of(source: str, folder: Path, phase: int = caffe.TRAIN, **options: object) -> caffe.Net:
    """Return the net of a prototxt, written to a file first."""
    path = folder / "net.prototxt"
    path.write_text(source)
    return caffe.Net(str(path), phase, **options)


def small(folder: Path) -> caffe.Net:
    """Return the small net with labels of all classes."""
    net = net_of(NET, folder)
    net.blobs["label"].data[...] = np.arange(5).reshape(5, 1, 1, 1)
    return net


def python(name: str, kind: str, bottoms: str, tops: str, *, rest: str = "", text: str = "") -> str:
    """Return a Python layer of this module; bottoms and tops are separated by spaces."""
    wires = "".join(f' bottom: "{b}"' for b in bottoms.split()) + "".join(f' top: "{t}"' for t in tops.split())
    setting = f'python_param {{ module: "pycaffe_support" layer: "{kind}" param_str: "{text}" }}'
    return f'layer {{ name: "{name}" type: "Python"{wires} {setting} {rest} }}\n'


@pytest.fixture
def python_layers() -> Iterator[None]:
    """Allow Python layers for one test."""
    caffe.allow_python_layers()
    yield
    caffe.allow_python_layers(False)


class Times(caffe.Layer):
    """Multiply by the number in param_str, 10 if there is none."""

    def setup(self, bottom, top):
        self.factor = float(self.param_str or 10)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = self.factor * top[0].diff


class Scaled(caffe.Layer):
    """Multiply by a learnable number."""

    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = 3

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data[0] * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] += np.sum(top[0].diff * bottom[0].data)
        bottom[0].diff[...] = self.blobs[0].data[0] * top[0].diff


class Squares(caffe.Layer):
    """Half the sum of the squared differences of two bottoms, over the rows: a loss."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("needs two bottoms")

    def reshape(self, bottom, top):
        self.gap = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.gap[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.gap**2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.gap / bottom[i].num * top[0].diff[0]


class Phase(caffe.Layer):
    """The phase, as a scalar."""

    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


class Counter(caffe.Layer):
    """The next four numbers; the top has its shape from setup."""

    def setup(self, bottom, top):
        top[0].reshape(4)
        self.next = 0

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        top[0].data[...] = np.arange(self.next, self.next + 4)
        self.next += 4


class Growing(caffe.Layer):
    """Ones, one row more each time, reshaped only in forward."""

    def setup(self, bottom, top):
        self.rows = 0
        for blob in top:
            blob.reshape(1, 2)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        self.rows += 1
        for blob in top:
            blob.reshape(self.rows, 2)
            blob.data[...] = self.rows


class Nothing(caffe.Layer):
    """Leave the blob as it is; for use in place."""

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass


class Broken(caffe.Layer):
    """Raise what param_str names, where it names."""

    def _maybe(self, where):
        if self.param_str == where:
            raise RuntimeError(f"broken in {where}")

    def setup(self, bottom, top):
        self._maybe("setup")

    def reshape(self, bottom, top):
        self._maybe("reshape")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self._maybe("forward")

    def backward(self, top, propagate_down, bottom):
        self._maybe("backward")


class Late(caffe.Layer):
    """Ask for a parameter too late."""

    def reshape(self, bottom, top):
        self.blobs.add_blob(1)


class Empty(caffe.Layer):
    """Implement nothing."""


class Foreign:
    """Derive from something else."""
