"""Nets whose gradients are tried: layers that move, join, cut and reduce blobs (see test_gradients.py)."""

from __future__ import annotations

from engine_support import layer

X = {"x": (2, 4, 5, 6)}
FIVE = {"x": (2, 3, 2, 4, 2)}
NO_GRADIENT = {"ArgMax", "HDF5Output"}


def one(kind: str, rest: str = "", bottoms: str = "x", tops: str = "y") -> str:
    return layer("one", kind, bottoms, tops, rest)


def crop(axis: int, *offsets: int) -> str:
    return one("Crop", f"crop_param {{ axis: {axis} {' '.join(f'offset: {o}' for o in offsets)} }}", "x label")


def im2col(rest: str) -> str:
    return one("Im2col", f"convolution_param {{ {rest} }}")


MOVES = [(X, axis) for axis in (0, 1, 2, -1)] + [({"x": (4, 3, 2)}, 0), ({"x": (2, 4, 2)}, 1)]
TABLE = "embed_param { input_dim: 3 num_output: 2"
LINE = layer("ip", "InnerProduct", "x", "h", "inner_product_param { num_output: 3 axis: -1 }")

CASES: dict[str, list[tuple[dict[str, tuple[int, ...]], str]]] = {
    "Concat": [
        *((shapes, LINE + one("Concat", f"concat_param {{ axis: {axis} }}", "h h x" if axis == -1 else "h h"))
          for shapes, axis in (*MOVES, (FIVE, 0), (FIVE, 2), (FIVE, -1))),
        (X, one("Concat", "concat_param { concat_dim: 3 }")),
        (X, layer("c", "Convolution", "x", "h", "convolution_param { num_output: 3 kernel_size: 3 pad: 1 }")
         + one("Concat", "", "x h")
         + layer("d", "Convolution", "y", "z", "convolution_param { num_output: 2 kernel_size: 3 pad: 2 }")),
    ],
    "Slice": [
        *((shapes, one("Slice", f"slice_param {{ axis: {axis} {'slice_point: 1' if shapes['x'][axis] % 2 else ''} }}",
                       tops="a b")) for shapes, axis in (*MOVES, (FIVE, 1), (FIVE, 3))),
        (X, one("Slice", "slice_param { slice_dim: 2 slice_point: 1 slice_point: 3 }", tops="a b c")),
        (X, one("Slice")),
    ],
    "Reshape": [
        (shapes, one("Reshape", f"reshape_param {{ shape {{ {' '.join(f'dim: {d}' for d in dims)} }} {rest} }}"))
        for shapes, dims, rest in ((X, (0, -1), ""), (X, (0, 3, 10, -1), ""), (X, (2, 2), "axis: 1 num_axes: 1"),
                                   (X, (1, 1), "axis: -1 num_axes: 0"), (FIVE, (0, -1, 2, 2), ""), (FIVE, (96,), ""),
                                   ({"x": (6,)}, (1, 2, 1, 3), ""), (X, (8, 5, 6), ""))
    ],
    "Tile": [(shapes, one("Tile", f"tile_param {{ axis: {axis} tiles: 3 }}")) for shapes, axis in (*MOVES, (FIVE, 2))],
    "Crop": [
        ({**X, "label": (2, 4, 3, 2)}, crop(2, 1, 3)),
        ({**X, "label": (1, 2, 3, 2)}, crop(0, 1)),
        ({**X, "label": (1, 1, 1, 6)}, crop(-1)),
        ({**FIVE, "label": (1, 2, 1, 3, 1)}, crop(0, 1, 0, 1, 1, 0)),
        ({**FIVE, "label": (2, 3, 2, 3, 1)}, crop(3)),
        ({"x": (3, 4), "label": (1, 2)}, crop(-2, 2, 1)),
        (X, layer("ip", "InnerProduct", "x", "h", "inner_product_param { num_output: 3 axis: 3 }")
         + one("Crop", "crop_param { axis: 3 offset: 2 }", "x h")),
    ],
    "Reduction": [
        (shapes, one("Reduction", f"reduction_param {{ operation: {operation} axis: {axis} coeff: 2.3 }}"))
        for operation in ("SUM", "ASUM", "SUMSQ", "MEAN")
        for shapes, axis in ((X, 0), (X, 1), (X, 2), (X, -1), (FIVE, 4), ({"x": (5,)}, 0))
    ],
    "Embed": [
        ({"label": (4,)}, layer("one", "Embed", "label", "y", f"{TABLE} }}")),
        ({"label": (2, 3)}, layer("one", "Embed", "label", "y", f"{TABLE} bias_term: false }}")),
        ({"label": (2, 1, 3)}, layer("one", "Embed", "label", "y", f"{TABLE} }}")),
        ({"label": (2, 1, 3, 2)}, layer("one", "Embed", "label", "y", f"{TABLE} }}")),
    ],
    "BatchReindex": [({"x": (3, *rest), "label": (5,)}, one("BatchReindex", "", "x label"))
                     for rest in ((), (2,), (4, 3, 2), (2, 1, 3, 2))],
    "Filter": [
        ({"x": (5, *rest), "z": (5, 2), "label": selector}, layer("f", "Filter", "x z label", "a b")
         + layer("r", "Reduction", "a", "y", "reduction_param { operation: SUMSQ }")
         + layer("s", "Reduction", "b", "u", "reduction_param { operation: SUMSQ }"))
        for rest in ((), (4, 3, 2), (2, 1, 3, 2)) for selector in ((5,), (5, 1, 1, 1))
    ],
    "MVN": [
        *((shapes, one("MVN", f"mvn_param {{ {rest} }}")) for shapes in (X, {"x": (2, 3, 4)})
          for rest in ("", "normalize_variance: false", "across_channels: true",
                       "across_channels: true normalize_variance: false")),
        ({"x": (3, 5)}, one("MVN", "mvn_param { across_channels: true }")),
    ],
    "Im2col": [
        (X, im2col("kernel_size: 3 stride: 2 pad: 1")),
        (X, im2col("kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 3 pad_h: 0 pad_w: 1 dilation: 2")),
        ({"x": (2, 3, 7)}, im2col("kernel_size: 2 dilation: 3 stride: 2")),
        ({"x": (2, 2, 3, 3, 4)}, im2col("kernel_size: 2 pad: 1 stride: 2 stride: 1 stride: 3")),
        (X, im2col("kernel_size: 2 axis: 2")),
        ({"x": (3, 4, 5)}, im2col("kernel_size: 2 axis: 0")),
    ],
    "SPP": [({"x": shape}, one("SPP", f"spp_param {{ pyramid_height: {height} pool: {method} }}"))
            for method in ("MAX", "AVE")
            for shape, height in (((2, 3, 8, 7), 3), ((2, 2, 6, 7), 2), ((2, 3, 4, 5), 1))],
}  # fmt: skip
