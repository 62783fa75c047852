"""Mistakes in layers that move, join, cut and reduce blobs: inputs, layers, message (see test_engine_errors.py)."""

from __future__ import annotations

from engine_support import layer

X = {"x": (2, 3, 6, 5)}
XZ = {"x": (2, 3), "z": (2, 4)}


def one(kind: str, rest: str = "", bottoms: str = "x", tops: str = "y") -> str:
    return layer("l", kind, bottoms, tops, rest)


def reshape(rest: str) -> str:
    return one("Reshape", f"reshape_param {{ {rest} }}")


def dims(*sizes: int) -> str:
    return f"shape {{ {' '.join(f'dim: {size}' for size in sizes)} }}"


def im2col(rest: str) -> str:
    return one("Im2col", f"convolution_param {{ {rest} }}")


# in test_shape_layers.py
RUN_ONLY = ("cannot add rows", "cannot write", "is not one of the", "has no gradient for")
ROWS = [
    (X, one("Concat", "concat_param { axis: 1 concat_dim: 1 }", "x x"),
     "AT layer 'l' (Concat): give either axis or concat_dim, not both"),
    (X, one("Slice", "slice_param { axis: 1 slice_dim: 1 }"),
     "AT layer 'l' (Slice): give either axis or slice_dim, not both"),
    (X, one("Concat", "concat_param { concat_dim: 4294967295 }", "x x"),
     "AT layer 'l' (Concat): axis 4294967295 is out of range for a blob of 4 axes (2, 3, 6, 5)"),
    (XZ, one("Concat", "concat_param { axis: 0 }", "x z"),
     "AT layer 'l' (Concat): bottoms must be equal in all axes but 0, found (2, 3), (2, 4)"),
    ({**X, "z": (2, 3)}, one("Concat", "", "x z"),
     "AT layer 'l' (Concat): bottoms must be equal in all axes but 1, found (2, 3, 6, 5), (2, 3)"),
    (X, one("Slice", "slice_param { slice_point: 1 }"), "AT layer 'l' (Slice): 1 tops need 0 slice_point entries (found 1)"),
    (X, one("Slice", "slice_param { slice_point: 2 slice_point: 2 }", tops="a b c"),
     "AT layer 'l' (Slice): slice_point [2, 2] must increase between 0 and the size 3 of axis 1"),
    (X, one("Slice", "slice_param { slice_point: 3 }", tops="a b"),
     "AT layer 'l' (Slice): slice_point [3] must increase between 0 and the size 3 of axis 1"),
    (X, one("Slice", "", tops="a b"),
     "AT layer 'l' (Slice): 2 tops cannot share the size 3 of axis 1 evenly; give slice_point"),
    (X, one("Reshape", tops="x"), "AT layer 'l' (Reshape): cannot work in place; give the top another name"),
    (X, reshape(dims(-1, -1)), "AT layer 'l' (Reshape): dims are sizes, 0 (copy) and at most one -1 (infer), found [-1, -1]"),
    (X, reshape(dims(-2)), "AT layer 'l' (Reshape): dims are sizes, 0 (copy) and at most one -1 (infer), found [-2]"),
    (X, reshape(f"{dims(1)} axis: -6"),
     "AT layer 'l' (Reshape): axis -6, num_axes -1 are out of range for a bottom (2, 3, 6, 5)"),
    (X, reshape(f"{dims(1)} axis: 3 num_axes: 2"),
     "AT layer 'l' (Reshape): axis 3, num_axes 2 are out of range for a bottom (2, 3, 6, 5)"),
    (X, reshape(f"{dims(1)} num_axes: -2"),
     "AT layer 'l' (Reshape): axis 0, num_axes -2 are out of range for a bottom (2, 3, 6, 5)"),
    (X, reshape(f"{dims(1, 0)} axis: 3"),
     "AT layer 'l' (Reshape): dim 1 is 0, but the bottom (2, 3, 6, 5) has no axis 4 to copy"),
    (X, reshape(dims(0, 7, -1)),
     "AT layer 'l' (Reshape): [0, 7, -1] cannot hold the 90 elements of axes 0 to 4 of (2, 3, 6, 5)"),
    (X, reshape(dims(2, 7)), "AT layer 'l' (Reshape): (2, 7) has 14 elements, the bottom (2, 3, 6, 5) has 180"),
    (X, one("Tile"), "AT layer 'l' (Tile): tiles must be at least 1 (found 0)"),
    (X, one("Crop", "crop_param { offset: 1 offset: 1 offset: 1 }", "x x"),
     "AT layer 'l' (Crop): give no offset, one, or one for each of the 2 cropped axes (found 3)"),
    ({**X, "z": (2, 3)}, one("Crop", "", "x z"), "AT layer 'l' (Crop): cannot crop (2, 3, 6, 5) to (2, 3), which has fewer axes"),
    ({**X, "z": (2, 3, 4, 5)}, one("Crop", "crop_param { offset: 2 offset: 1 }", "x z"),
     "AT layer 'l' (Crop): offset 1 + size 5 is more than the size 5 of axis 3 (crops (2, 3, 6, 5) to (2, 3, 4, 5))"),
    (X, one("Reduction", "reduction_param { axis: 4 }"),
     "AT layer 'l' (Reduction): axis 4 is out of range for a blob of 4 axes (2, 3, 6, 5)"),
    (X, one("ArgMax", "argmax_param { top_k: 91 }"),
     "AT layer 'l' (ArgMax): top_k 91 is not between 1 and the 90 numbers compared (bottom (2, 3, 6, 5))"),
    (X, one("ArgMax", "argmax_param { top_k: 4 axis: 1 }"),
     "AT layer 'l' (ArgMax): top_k 4 is not between 1 and the 3 numbers compared (bottom (2, 3, 6, 5))"),
    (X, one("ArgMax", "argmax_param { top_k: 0 }"),
     "AT layer 'l' (ArgMax): top_k 0 is not between 1 and the 90 numbers compared (bottom (2, 3, 6, 5))"),
    (X, one("Embed", "embed_param { num_output: 3 }"),
     "AT layer 'l' (Embed): num_output and input_dim must be at least 1 (found 3, 0)"),
    (XZ, one("BatchReindex", "", "x z"), "AT layer 'l' (BatchReindex): needs bottoms (N, ...) and (M), found (2, 3) and (2, 4)"),
    ({"x": (2, 3), "s": (2,)}, one("Filter", "", "x s", "y u"),
     "AT layer 'l' (Filter): needs a top for each bottom but the selector (1, found 2)"),
    (XZ, one("Filter", "", "x z"), "AT layer 'l' (Filter): needs a selector of one number a row, found (2, 4)"),
    ({"x": (2, 3), "s": (3,)}, one("Filter", "", "x s"),
     "AT layer 'l' (Filter): all bottoms must have the 3 rows of the selector, found [(2, 3)]"),
    ({"x": (2, 3, 1, 1, 1)}, one("MVN"), "AT layer 'l' (MVN): takes blobs of at most 4 axes (found (2, 3, 1, 1, 1))"),
    (XZ, one("HDF5Output", "", "x z", ""), "AT layer 'l' (HDF5Output): file_name '' must name a file in a folder that exists"),
    (XZ, one("HDF5Output", 'hdf5_output_param { file_name: "no/f.h5" }', "x z", ""),
     "AT layer 'l' (HDF5Output): file_name 'no/f.h5' must name a file in a folder that exists"),
    ({"x": (2, 3), "z": (3,)}, one("HDF5Output", 'hdf5_output_param { file_name: "f.h5" }', "x z", ""),
     "AT layer 'l' (HDF5Output): data and label must have as many rows, found (2, 3) and (3,)"),
    (XZ, im2col("kernel_size: 1"), "AT layer 'l' (Im2col): needs spatial axes behind axis 1, found a bottom (2, 3)"),
    (X, im2col(""), "AT layer 'l' (Im2col): kernel_size must be at least 1 (found 0, 0)"),
    (X, im2col("kernel_size: 1 kernel_h: 1"),
     "AT layer 'l' (Im2col): kernel_h and kernel_w are for 2 spatial axes, and not beside kernel_size"),
    (X, im2col("kernel_size: 1 kernel_size: 1 kernel_size: 1"),
     "AT layer 'l' (Im2col): kernel_size is given 3 times, for 2 spatial axes"),
    (X, im2col("kernel_size: 3 dilation: 3"),
     "AT layer 'l' (Im2col): kernel 3, dilation 3 is larger than the padded input (6 + 2 x 0)"),
    (XZ, one("SPP", "spp_param { pyramid_height: 1 }"), "AT layer 'l' (SPP): needs a bottom (N, C, H, W), found (2, 3)"),
    (X, one("SPP"), "AT layer 'l' (SPP): pyramid_height must be at least 1"),
    (X, one("SPP", "spp_param { pool: STOCHASTIC pyramid_height: 1 }"),
     "AT layer 'l' (SPP): pool: STOCHASTIC has no implementation on CPUs (Caffe has none either); use MAX or AVE"),
    (X, one("SPP", "spp_param { pyramid_height: 3 }"),
     "AT layer 'l' (SPP): level 2 of the pyramid would cut 6 x 5 into 4 x 4 bins of 2 x 2, some without a pixel; use a "
     "smaller pyramid_height or larger pictures"),
]  # fmt: skip
