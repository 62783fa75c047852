"""Stored pictures as a net sees them, and their labels. Axes as in `data/transform.py`."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from batchbrew.solver.data import keys as draw
from batchbrew.solver.kernels.reference.table import Array, kernel

CHUNK = 16  # pictures a step: their float32 values stay in the L2 cache between the passes
MIRROR, ROW, COLUMN = 1, 2, 3  # streams of the draws


@kernel
def pictures_bytes(
    images: Array,
    numbers: Array,
    keys: Array,
    mean: Array,
    out: Array,
    mirror: int,
    random: int,
    row: int,
    column: int,
    seed: int,
    scale: float,
) -> None:
    """Set out (n, C, h, w) to (pixel - mean) * scale in the windows of images[numbers], mirrored by a coin.

    Images are (N, C, H, W), mean (C, H, W). A window begins at row and column or, with ``random``, where the key of
    its sample, keys (n) mixed with seed, says.
    """
    keys = keys ^ np.uint64(seed & draw.MASK)
    size = out.shape[2:]
    mirrored = draw.coin(draw.draws(keys, MIRROR)) if mirror else np.zeros(len(keys), bool)
    rows, columns = np.full(len(keys), row), np.full(len(keys), column)
    if random:
        rows, columns = (
            draw.below(draw.draws(keys, stream), whole - part + 1)
            for stream, whole, part in zip((ROW, COLUMN), images.shape[2:], size, strict=True)
        )
    means = sliding_window_view(mean, size, axis=(1, 2))
    for start in range(0, len(keys), CHUNK):
        piece = slice(start, start + CHUNK)
        # Every window of every picture is a view; picking one a picture is a single gather.
        views = sliding_window_view(images[numbers[piece]], size, axis=(2, 3))
        windows = views[np.arange(len(views)), :, rows[piece], columns[piece]]
        values = np.subtract(windows, means[:, rows[piece], columns[piece]].swapaxes(0, 1), dtype=np.float32)
        values *= np.float32(scale)
        turned = np.flatnonzero(mirrored[piece])
        values[turned] = values[turned, :, :, ::-1]
        out[piece] = values


@kernel
def pictures_floats(
    images: Array,
    numbers: Array,
    keys: Array,
    mean: Array,
    out: Array,
    mirror: int,
    random: int,
    row: int,
    column: int,
    seed: int,
    scale: float,
) -> None:
    """Do the same for images of floats."""
    pictures_bytes(images, numbers, keys, mean, out, mirror, random, row, column, seed, scale)


@kernel
def take_labels(labels: Array, numbers: Array, out: Array) -> None:
    """Set out (n) to labels[numbers]."""
    out[...] = labels[numbers]
