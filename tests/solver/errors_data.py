"""Mistakes in layers that read data; what needs files is tested with the layer."""

from __future__ import annotations

from engine_support import layer


def row(kind, settings, message, tops="data label"):
    return {}, layer("d", kind, "", tops, settings), f"AT layer 'd' ({kind}): {message}"


ROWS = [
    row("ImageData", "image_data_param { batch_size: 0 }", "batch_size must be at least 1"),
    row("ImageData", "image_data_param { }", "source is missing: say what to read"),
    row("ImageData", 'image_data_param { source: "l" new_height: 3 }', "new_height and new_width must be set at the same time"),
    row("ImageData", 'image_data_param { source: "l" }', "l: no such file"),
    row("ImageData", "", "takes 2 top blob(s) as output (found 1)", "data"),
    row("HDF5Data", 'hdf5_data_param { source: "l" }', "batch_size must be at least 1"),
    row("HDF5Data", "hdf5_data_param { batch_size: 1 }", "source is missing: say what to read"),
    row("HDF5Data", 'hdf5_data_param { source: "l" batch_size: 1 } transform_param { }',
        "does not transform data: remove transform_param"),
    row("MemoryData", "memory_data_param { batch_size: 1 channels: 1 height: 1 }",
        "batch_size, channels, height and width must be specified and positive in memory_data_param"),
    row("WindowData", 'window_data_param { source: "l" batch_size: 1 }', "crop_size of transform_param must be at least 1"),
    row("WindowData", 'window_data_param { source: "l" batch_size: 1 crop_mode: "wrap" } transform_param { crop_size: 4 }',
        "unknown crop_mode 'wrap' - did you mean 'warp'? (known: warp, square)"),
    row("WindowData", 'window_data_param { source: "l" batch_size: 1 context_pad: 2 } transform_param { crop_size: 4 }',
        "context_pad 2 must be less than half of crop_size 4"),
]  # fmt: skip

RUN_ONLY = (
    "a sample has label",
    "not enough points to skip",
    "needs to be initialized",
    "data must have shape",
    "the same first dimension",
    "n must be a multiple",
    "entries of mean_value",
    "mean_file",
    " windows: look at",
    "could not load",
)
