"""Models written here, read and run by another program: OpenCV's importer of Caffe's files gives the same outputs."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import assert_close, inputs, layer, net_of, randomise

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver import snapshot
from batchbrew.solver.layer import LAYERS

cv2 = pytest.importorskip("cv2")

PICTURES = (2, 4, 11, 9)


def conv(name, bottom, top, settings):
    return layer(name, "Convolution", bottom, top, f"convolution_param {{ {settings} }}")


def pool(bottom, top, settings):
    return layer(top, "Pooling", bottom, top, f"pooling_param {{ {settings} }}")


def ip(name, bottom, top, out):
    return layer(name, "InnerProduct", bottom, top, f"inner_product_param {{ num_output: {out} }}")


HEAD = ip("score", "y", "score", 5) + layer("prob", "Softmax", "score", "prob")
BODIES = {
    "conv": conv("c", "x", "y", "num_output: 6 kernel_size: 3 pad: 1"),
    "conv_without_bias": conv("c", "x", "y", "num_output: 3 kernel_size: 2 bias_term: false"),
    "conv_stride": conv("c", "x", "y", "num_output: 5 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 2 pad_w: 1"),
    "conv_group": conv("c", "x", "y", "num_output: 6 kernel_size: 3 group: 2"),
    "conv_depthwise": conv("c", "x", "y", "num_output: 4 kernel_size: 3 group: 4 pad: 1"),
    "conv_dilation": conv("c", "x", "y", "num_output: 3 kernel_size: 3 dilation: 2 pad: 2"),
    "relu_in_place": conv("c", "x", "y", "num_output: 6 kernel_size: 3") + layer("r", "ReLU", "y", "y"),
    "relu_slope": layer("r", "ReLU", "x", "y", "relu_param { negative_slope: 0.1 }"),
    "tanh_sigmoid": layer("t", "TanH", "x", "t") + layer("s", "Sigmoid", "t", "y"),
    "pool_max": pool("x", "y", "pool: MAX kernel_size: 3 stride: 2"),
    "pool_max_pad": pool("x", "y", "pool: MAX kernel_size: 3 stride: 2 pad: 1"),
    "pool_ave": pool("x", "y", "pool: AVE kernel_size: 2 stride: 2"),
    "pool_ave_pad": pool("x", "y", "pool: AVE kernel_size: 3 stride: 2 pad: 1"),
    "pool_global": pool("x", "y", "pool: AVE global_pooling: true"),
    "lrn_across": layer("n", "LRN", "x", "y", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 }"),  # OpenCV does not read k
    "lrn_within": layer("n", "LRN", "x", "y", "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }"),
    "batch_norm_scale": layer("bn", "BatchNorm", "x", "n", "batch_norm_param { eps: 1e-4 }")
    + layer("sc", "Scale", "n", "y", "scale_param { bias_term: true }"),
    "two_branches": conv("a", "x", "a", "num_output: 4 kernel_size: 1")
    + conv("deep/b", "x", "b", "num_output: 4 kernel_size: 3 pad: 1")
    + layer("y", "Eltwise", "a b", "y", "eltwise_param { operation: SUM coeff: 0.5 coeff: 2 }"),
    "eltwise_max": conv("a", "x", "a", "num_output: 4 kernel_size: 1")
    + layer("y", "Eltwise", "a x", "y", "eltwise_param { operation: MAX }"),
    "concat": conv("a", "x", "a", "num_output: 3 kernel_size: 1") + layer("y", "Concat", "a x", "y"),
    "flatten": layer("f", "Flatten", "x", "y"),
    "deep": conv("c", "x", "c", "num_output: 8 kernel_size: 3 pad: 1")
    + layer("r", "ReLU", "c", "c")
    + pool("c", "p", "pool: MAX kernel_size: 3 stride: 2")
    + layer("n", "LRN", "p", "n", "lrn_param { local_size: 5 alpha: 1e-1 }")
    + conv("d", "n", "d", "num_output: 6 kernel_size: 3 pad: 1 group: 2")
    + layer("bn", "BatchNorm", "d", "d")
    + layer("sc", "Scale", "d", "d", "scale_param { bias_term: true }")
    + pool("d", "y", "pool: AVE kernel_size: 2 stride: 2"),
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_outputs_agree(body, tmp_path):
    source = 'name: "net"\n' + inputs(x=PICTURES) + BODIES[body] + HEAD
    missing = {entry.type for entry in text.parse(source, pb.NetParameter).layer} - set(LAYERS)
    if missing:
        pytest.skip(f"no layer type {', '.join(sorted(missing))}")
    net = net_of(source, pb.TEST)
    randomise(net)
    for parameter in net.flat.parameters:
        if parameter.local and parameter.index == 2:
            parameter.data[...] = 2  # the count that BatchNorm's sums are divided by
    x = np.random.default_rng(0).normal(size=PICTURES).astype(np.float32)
    net.blobs["x"].data[...] = x
    net.forward()
    snapshot.save_caffemodel(net, tmp_path / "m.caffemodel")
    (tmp_path / "m.prototxt").write_text(source)
    other = cv2.dnn.readNetFromCaffe(str(tmp_path / "m.prototxt"), str(tmp_path / "m.caffemodel"))
    other.setInput(x, "x")
    for name, found in zip(("score", "prob"), other.forward(["score", "prob"]), strict=True):
        assert net.blobs[name].data.std() > 1e-3
        assert_close(found, net.blobs[name].data, what=f"{body}: {name}")
