"""The mistakes that convolution, its transpose and pooling report."""

from __future__ import annotations

from engine_support import layer

X = {"x": (2, 3, 4, 5)}
XL = {"x": (2, 3), "label": (2,)}


def conv(rest, message, shapes=X, kind="Convolution"):
    return shapes, layer("c", kind, "x", "y", f"convolution_param {{ {rest} }}"), f"AT layer 'c' ({kind}): {message}"


def pool(rest, message, shapes=X, tops="y"):
    return shapes, layer("p", "Pooling", "x", tops, f"pooling_param {{ {rest} }}"), f"AT layer 'p' (Pooling): {message}"


ROWS = [
    conv("num_output: 2", "kernel_size must be at least 1 (found 0 x 0)"),
    conv("num_output: 2 kernel_size: 1 stride: 0", "stride must be at least 1 (found 0 x 0)"),
    conv("num_output: 2 kernel_size: 1 dilation: 1 dilation: 0", "dilation must be at least 1 (found 1 x 0)"),
    conv("num_output: 2 kernel_h: 2", "kernel_size must be at least 1 (found 2 x 0)"),
    conv("kernel_size: 1", "num_output must be at least 1"),
    conv("kernel_size: 1 num_output: 4 group: 2", "group 2 must divide the 3 channels and num_output 4"),
    conv("kernel_size: 1 num_output: 4 group: 3", "group 3 must divide the 3 channels and num_output 4"),
    conv("kernel_size: 1 num_output: 4 group: 0", "group 0 must divide the 3 channels and num_output 4"),
    conv("kernel_size: 1 num_output: 4 kernel_h: 2", "give either kernel_size or kernel_h and kernel_w, not both"),
    conv("kernel_size: 1 num_output: 4 pad: 1 pad: 2 pad: 3", "pad is given 3 times, for 2 spatial axes"),
    conv("kernel_size: 1 kernel_size: 2 num_output: 4", "kernel_size is given 2 times, for 1 spatial axes", {"x": (2, 3, 4)}),
    conv("kernel_size: 1 num_output: 4 stride_h: 2 stride_w: 2",
         "stride_h and stride_w are for 2 spatial axes, here are 3: give stride", {"x": (2, 3, 4, 5, 6)}),
    conv("kernel_size: 1 num_output: 4 axis: 4", "axis 4 is out of range for a blob of 4 axes (2, 3, 4, 5)"),
    conv("kernel_size: 7 num_output: 4 pad: 1",
         "kernel 7 x 7 with dilation 1 x 1 is larger than the padded input (4 x 5, pad 1 x 1)"),
    conv("kernel_size: 3 num_output: 4 stride: 2 dilation: 4",
         "kernel 3 x 3 with dilation 4 x 4 is larger than the padded input (4 x 5, pad 0 x 0)"),
    conv("kernel_size: 3 num_output: 4",
         "kernel 3 with dilation 1 is larger than the padded input (2, pad 0)", {"x": (2, 3, 2)}),
    ({"x": (1, 2, 3, 4), "z": (1, 2, 4, 4)},
     layer("c", "Convolution", "x z", "a b", "convolution_param { num_output: 1 kernel_size: 1 }"),
     "AT layer 'c' (Convolution): all bottoms must have one shape, found (1, 2, 3, 4), (1, 2, 4, 4)"),
    conv("num_output: 2", "kernel_size must be at least 1 (found 0 x 0)", kind="Deconvolution"),
    conv("kernel_size: 1 num_output: 4 group: 2", "group 2 must divide the 3 channels and num_output 4",
         kind="Deconvolution"),
    conv("kernel_size: 1 num_output: 4 pad: 2",
         "pad 2 x 2 leaves nothing of the output (kernel 1 x 1, stride 1 x 1, input 4 x 5)",
         kind="Deconvolution"),
    pool("kernel_size: 1", "needs a bottom (N, C, H, W), found (2, 3)", XL),
    pool("kernel_size: 1 pool: STOCHASTIC",
         "pool: STOCHASTIC has no training on CPUs (Caffe has none either); use MAX or AVE"),
    pool("kernel_size: 1 pool: AVE", "only pool: MAX has a second top, the places of the maxima", tops="y m"),
    pool("", "give either a kernel size or global_pooling: true"),
    pool("kernel_size: 2 global_pooling: true", "give either a kernel size or global_pooling: true"),
    pool("kernel_size: 2 kernel_w: 2", "give either kernel_size or kernel_h and kernel_w, not both"),
    pool("kernel_h: 2", "kernel_h and kernel_w are only given together"),
    pool("kernel_size: 2 pad_w: 1", "pad_h and pad_w are only given together"),
    pool("global_pooling: true stride: 2", "global_pooling takes pad 0 and stride 1"),
    pool("kernel_size: 2 stride: 0", "kernel and stride must be at least 1 (found 2 x 2, 0 x 0)"),
    pool("kernel_size: 2 pad: 2", "pad 2 x 2 must be smaller than the kernel 2 x 2"),
    pool("kernel_size: 7 pad: 1", "kernel 7 x 7 is larger than the padded input (4 x 5, pad 1 x 1)"),
    pool("kernel_size: 5 stride: 2 round_mode: FLOOR", "kernel 5 x 5 is larger than the padded input (4 x 5, pad 0 x 0)"),
]  # fmt: skip

RUN_ONLY = ("takes no padding", "has no gradient in the TEST phase")  # tested in test_pooling.py
