"""Nets whose gradients are compared with differences: convolution along any axes, its transpose, pooling masks."""

from __future__ import annotations

from engine_support import layer

X = {"x": (2, 4, 5, 6)}
SHARED = 'param { name: "w" } param { name: "b" }'


def conv(rest, kind="Convolution", bottoms="x", tops="y"):
    return layer("conv", kind, bottoms, tops, f"convolution_param {{ {rest} }}")


def pool(rest):
    return layer("pool", "Pooling", "x", "y", f"pooling_param {{ {rest} }}")


def deconv(rest, bottoms="x", tops="y"):
    return conv(rest, "Deconvolution", bottoms, tops)


CASES = {
    "Convolution": [
        (X, conv("num_output: 3 kernel_size: 3")),
        (X, conv("num_output: 3 kernel_size: 3 pad: 1 stride: 2")),
        (X, conv("num_output: 3 kernel_size: 2 stride: 3 bias_term: false")),
        (X, conv("num_output: 3 kernel_size: 2 dilation: 2 pad: 1")),
        (X, conv("num_output: 3 kernel_size: 2 dilation: 2 dilation: 1 stride: 1 stride: 2 pad: 0 pad: 1")),
        (X, conv("num_output: 6 kernel_size: 3 group: 2 pad: 1")),
        (X, conv("num_output: 4 kernel_size: 3 group: 4 stride: 2")),
        (X, conv("num_output: 8 kernel_size: 3 group: 4 pad: 1")),
        (X, conv("num_output: 4 kernel_size: 5 kernel_size: 2 group: 4 pad: 2 dilation: 1 dilation: 2 stride: 2")),
        (X, conv("num_output: 2 kernel_h: 3 kernel_w: 1 stride_h: 1 stride_w: 2 pad_h: 2 pad_w: 0")),
        (X, conv("num_output: 2 kernel_size: 2 pad: 3")),
        (X, conv("num_output: 2 kernel_size: 2 pad: 3 stride: 2")),
        (X, conv("num_output: 2 kernel_size: 1 pad: 2 stride: 3")),
        (X, conv("num_output: 2 kernel_h: 5 kernel_w: 6")),
        ({"x": (1, 1, 1, 1)}, conv("num_output: 2 kernel_size: 3 pad: 1")),
        ({"x": (2, 2, 4, 4), "z": (2, 2, 4, 4)}, conv("num_output: 2 kernel_size: 3 pad: 1", bottoms="x z", tops="a b")),
        (  # two readers with different borders, and a third without
            X,
            layer("c1", "Convolution", "x", "a", "convolution_param { num_output: 2 kernel_size: 3 pad: 1 }")
            + layer("c2", "Convolution", "x", "b", "convolution_param { num_output: 2 kernel_size: 5 pad: 3 }")
            + layer("p", "Pooling", "x", "c", "pooling_param { pool: AVE kernel_size: 2 }")
            + layer("ip", "InnerProduct", "x", "d", "inner_product_param { num_output: 2 }"),
        ),
        (  # one filter for two layers
            {"x": (2, 2, 5, 5)},
            layer("c", "Convolution", "x", "a", f"{SHARED} convolution_param {{ num_output: 2 kernel_size: 3 }}")
            + layer("d", "Convolution", "a", "b", f"{SHARED} convolution_param {{ num_output: 2 kernel_size: 3 }}"),
        ),
        # other axes than those of pictures
        ({"x": (2, 4, 7)}, conv("num_output: 3 kernel_size: 3 pad: 1 stride: 2 dilation: 2")),
        ({"x": (2, 4, 7), "z": (2, 4, 7)}, conv("num_output: 3 kernel_size: 3", bottoms="x z", tops="a b")),
        ({"x": (2, 3, 4, 4, 3)}, conv("num_output: 2 kernel_size: 2 stride: 2 stride: 1 stride: 1 pad: 1")),
        ({"x": (2, 3, 4, 4, 3)}, conv("num_output: 2 kernel_size: 2 axis: 2 group: 2")),
        ({"x": (2, 4, 3, 3, 2, 3)}, conv("num_output: 2 kernel_size: 2 group: 2")),
        ({"x": (4, 5, 3, 3)}, conv("num_output: 2 kernel_size: 2 axis: 0 group: 2")),
        ({"x": (2, 3, 4, 5)}, conv("num_output: 2 kernel_size: 2 axis: -2")),
        ({"x": (2, 3, 4, 5)}, conv("num_output: 2 axis: 3")),
        ({"x": (3, 4)}, conv("num_output: 2 bias_term: false")),
        ({"x": (4,)}, conv("num_output: 2 axis: 0")),
    ],
    "Deconvolution": [
        (X, deconv("num_output: 3 kernel_size: 3")),
        (X, deconv("num_output: 3 kernel_size: 3 pad: 1 stride: 2")),
        (X, deconv("num_output: 3 kernel_size: 2 stride: 3 bias_term: false")),
        (X, deconv("num_output: 3 kernel_size: 3 dilation: 2 stride: 2 pad: 2")),
        (X, deconv("num_output: 3 kernel_size: 3 kernel_size: 2 dilation: 3 dilation: 1 stride: 2 stride: 4")),
        (X, deconv("num_output: 6 kernel_size: 3 group: 2 pad: 1")),
        (X, deconv("num_output: 4 kernel_size: 4 group: 4 stride: 2 pad: 1")),
        (X, deconv("num_output: 2 kernel_h: 3 kernel_w: 1 stride_h: 1 stride_w: 2 pad_h: 2 pad_w: 0")),
        (X, deconv("num_output: 2 kernel_size: 1 stride: 3")),
        ({"x": (2, 4, 3), "z": (2, 4, 3)}, deconv("num_output: 2 kernel_size: 3 stride: 2", "x z", "a b")),
        ({"x": (2, 4, 3, 2, 2)}, deconv("num_output: 2 kernel_size: 2 stride: 2 group: 2")),
        ({"x": (2, 2, 4, 3, 2)}, deconv("num_output: 2 kernel_size: 2 stride: 2 group: 2 axis: 2")),
        ({"x": (3, 4)}, deconv("num_output: 2")),
        (  # between others, which give and want borders
            X,
            conv("num_output: 3 kernel_size: 3 stride: 2 pad: 1", tops="a")
            + layer("t", "TanH", "a", "a")
            + layer("up", "Deconvolution", "a", "b", "convolution_param { num_output: 2 kernel_size: 3 stride: 2 pad: 1 }")
            + layer("c2", "Convolution", "b", "c", "convolution_param { num_output: 2 kernel_size: 5 pad: 2 }"),
        ),
        (
            {"x": (2, 3, 3, 3)},
            layer("c", "Deconvolution", "x", "a", f"{SHARED} convolution_param {{ num_output: 3 kernel_size: 2 }}")
            + layer("d", "Deconvolution", "a", "b", f"{SHARED} convolution_param {{ num_output: 3 kernel_size: 2 }}"),
        ),
    ],
    "Pooling": [
        *(
            (X, pool(f"pool: {method} {rest}"))
            for method in ("MAX", "AVE")
            for rest in (
                "kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2", "kernel_size: 3 stride: 2 pad: 1",
                "kernel_size: 3 stride: 1 pad: 2", "global_pooling: true", "kernel_size: 2 stride: 3 round_mode: FLOOR",
                "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0", "kernel_size: 7 stride: 2 pad: 1",
            )
        ),
        ({"x": (2, 4, 7, 4)}, pool("kernel_size: 1 stride: 3")),
        ({"x": (2, 4, 7, 6)}, layer("pool", "Pooling", "x", "y m", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }")
         + layer("t", "TanH", "y", "z") + layer("s", "Silence", "m", "")),
    ],
}  # fmt: skip
