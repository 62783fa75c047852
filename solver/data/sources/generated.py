"""The data set that needs no download: pictures of the shape of CIFAR-10 that are computed, the same bytes everywhere.

Each class is a few smooth random colour patterns (its variants). A picture shows one of them, shifted, mirrored,
scaled in contrast and laid over a pattern of another class and a cast of colour, under strong noise of the pixels. No
label is wrong: a picture is hard only where the other pattern or the noise is strong, so accuracy rises over several
epochs and ends below 100 %. All arithmetic is on integers, from a counter-based generator (`keys`): no machine, NumPy
version or order of computation can change a byte; a test pins the digest.

Axes: n samples, P patterns, C channels, H rows, W columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from batchbrew.solver.data import keys
from batchbrew.solver.data.part import Part
from batchbrew.solver.data.sources.base import SOURCES, Raw, Source

# ---- difficulty: every number that shapes the pictures. Parts of 256 are weights (256 = 1). -------------------------
SEED = 2014
TRAIN, TEST = 10_000, 1_000  # samples
CLASSES = 10
SIZE = 32  # rows and columns of a picture
VARIANTS = 2  # patterns a class
CELLS = 4  # a pattern is a grid of CELLS x CELLS random colours, smoothed
STRENGTH = 48  # standard deviation of a pattern in grey levels
SHIFT = 16  # a pattern is moved by 0 ... SHIFT-1 pixels along each axis (around the edge)
CONTRAST = (160, 256)  # weight of the class's own pattern, drawn evenly between the two
DISTRACTION = (0, 136)  # weight of a pattern of another class
CAST = 24  # largest shift of a whole colour channel, in grey levels
NOISE = (24, 64)  # weight of the noise, whose standard deviation at 256 is 148 grey levels
# ---------------------------------------------------------------------------------------------------------------------

BLOCK = 500  # pictures a step, for the memory; of no effect on the result
TRAIN_EPOCH, TEST_EPOCH, PATTERN_EPOCH = 0, 1, 2  # what the two parts and the patterns draw from
(  # streams of the draws
    _VARIANT,
    _OTHER,
    _OTHER_VARIANT,
    _MIRROR,
    _ROW,
    _COLUMN,
    _CONTRAST,
    _DISTRACTION,
    _OTHER_ROW,
    _OTHER_COLUMN,
    _OTHER_MIRROR,
    _NOISE,
    _NOISE_WEIGHT,
    _CAST,
) = range(14)


@SOURCES.register("generated")
class Generated(Source):
    """Compute the built-in data set: 3x32x32 uint8, ten classes of 1,000 training and 200 test pictures each."""

    title = "computed patterns (10 classes, 3x32x32), needs no download"
    recipe = "generated " + " ".join(
        str(constant).replace(" ", "")
        for constant in (
            *(SEED, TRAIN, TEST, CLASSES, SIZE, VARIANTS, CELLS, STRENGTH),
            *(SHIFT, CONTRAST, DISTRACTION, CAST, NOISE),
        )
    )

    def find(self, folder: Path) -> Path | None:
        """Return None: there are no raw files."""
        return None

    def read(self, folder: Path) -> Raw:
        """Refuse: there are no raw files."""
        raise NotImplementedError("the generated data set has no files")

    def generate(self) -> Raw:
        """Compute both parts; about a second."""
        names = tuple(f"pattern{label}" for label in range(CLASSES))
        return Raw(names, samples(TRAIN, TRAIN_EPOCH), samples(TEST, TEST_EPOCH))


def samples(count: int, epoch: int) -> Part:
    """Return the first ``count`` pictures (count, 3, SIZE, SIZE) uint8 of a part; the labels go round 0 ... 9."""
    windows = sliding_window_view(patterns(), (SIZE, SIZE), axis=(2, 3))
    indices = np.arange(count)
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    for start in range(0, count, BLOCK):
        piece = slice(start, start + BLOCK)
        images[piece] = _pictures(windows, indices[piece], keys.sample_keys(SEED, epoch, indices[piece]))
    return Part(images, (indices % CLASSES).astype(np.int32))


def patterns() -> NDArray[np.int32]:
    """Return the patterns int32[P, C, 2*SIZE, 2*SIZE], P = 2 * CLASSES * VARIANTS, the second half mirrored.

    Each is periodic and shown twice along both axes, so that a shifted picture is a window of it; its mean is about 0
    and its standard deviation about STRENGTH in every channel.
    """
    count = CLASSES * VARIANTS
    cells = keys.sample_keys(SEED, PATTERN_EPOCH, np.arange(count * 3 * CELLS * CELLS)) >> np.uint64(48)
    coarse = cells.astype(np.int64).reshape(count, 3, CELLS, CELLS) - (1 << 15)
    coarse -= coarse.sum(axis=(2, 3), keepdims=True) // (CELLS * CELLS)
    step = SIZE // CELLS
    fine = coarse.repeat(step, axis=2).repeat(step, axis=3)
    for axis in (2, 3):
        for _ in range(2):  # a box filter of one cell, twice: a piecewise quadratic surface without edges
            fine = sum((np.roll(fine, shift, axis) for shift in range(1, step)), fine) // step
    # Scale to STRENGTH by the integer square root of the variance: no float rounding may decide about a grey level.
    variance = (fine * fine).sum(axis=(2, 3)) // (SIZE * SIZE)
    deviation = _square_root(variance)[:, :, np.newaxis, np.newaxis]
    scaled = fine * STRENGTH // deviation
    both = np.concatenate([scaled, scaled[..., ::-1]]).astype(np.int32)
    return np.tile(both, (1, 1, 2, 2))


def _pictures(windows: NDArray[np.int32], indices: NDArray[np.int64], key: keys.Keys) -> NDArray[np.int32]:
    """Return the pictures int32[n, C, SIZE, SIZE], 0 ... 255, of the samples ``indices`` with the keys ``key``."""

    def draw(stream: int, count: int) -> NDArray[np.intp]:
        return keys.below(keys.draws(key, stream), count)

    def weight(stream: int, limits: tuple[int, int]) -> NDArray[np.int32]:
        low, high = limits
        return (low + draw(stream, high - low + 1)).astype(np.int32)[:, np.newaxis, np.newaxis, np.newaxis]

    label = indices % CLASSES
    other = (label + 1 + draw(_OTHER, CLASSES - 1)) % CLASSES
    half = CLASSES * VARIANTS
    own = windows[
        label * VARIANTS + draw(_VARIANT, VARIANTS) + half * draw(_MIRROR, 2),
        :,
        draw(_ROW, SHIFT),
        draw(_COLUMN, SHIFT),
    ]
    distractor = windows[
        other * VARIANTS + draw(_OTHER_VARIANT, VARIANTS) + half * draw(_OTHER_MIRROR, 2),
        :,
        draw(_OTHER_ROW, SIZE),
        draw(_OTHER_COLUMN, SIZE),
    ]
    light = weight(_CONTRAST, CONTRAST) * own + weight(_DISTRACTION, DISTRACTION) * distractor
    light += weight(_NOISE_WEIGHT, NOISE) * _noise(key)
    cast = np.stack([draw(_CAST + channel, 2 * CAST + 1) for channel in range(3)], axis=1) - CAST
    return np.clip(128 + cast.astype(np.int32)[:, :, np.newaxis, np.newaxis] + (light >> 8), 0, 255)


def _noise(key: keys.Keys) -> NDArray[np.int32]:
    """Return nearly Gaussian noise int32[n, C, SIZE, SIZE]: sums of four random bytes, less their mean of 510."""
    half = np.arange(3 * SIZE * SIZE // 2, dtype=np.uint64)
    random = keys.mix(keys.draws(key, _NOISE)[:, np.newaxis] + half * np.uint64(keys.GOLDEN))
    low_bytes, low_words = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
    pairs = (random & low_bytes) + ((random >> np.uint64(8)) & low_bytes)
    sums = (pairs & low_words) + ((pairs >> np.uint64(16)) & low_words)
    return sums.astype("<u8").view("<u4").astype(np.int32).reshape(-1, 3, SIZE, SIZE) - 510


def _square_root(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the whole square roots of ``values`` (> 0), exact: Newton's steps from above on integers."""
    root = np.full_like(values, 1 << 16)
    for _ in range(40):
        root = np.minimum(root, (root + values // root) // 2)
    return root
