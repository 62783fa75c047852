"""Pictures as pycaffe's scripts handle them: float32 (H, W, K) with values from 0 to 1, red first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchbrew.errors import UserError
from batchbrew.protos.files import read_bytes
from batchbrew.solver.data.images import opencv

Array = NDArray[Any]
Floats = NDArray[np.float32]

LUMINANCE = np.array([0.2125, 0.7154, 0.0721])  # of red, green, blue (ITU-R BT.709, as scikit-image weighs them)


def load_image(filename: str | Path, color: bool = True) -> Floats:
    """Return the picture in a file as (H, W, 3), red first, or (H, W, 1) where ``color`` is false; values 0 to 1.

    Transparency is dropped. Raises UserError if the file cannot be read.
    """
    cv2 = opencv()
    content = np.frombuffer(read_bytes(Path(filename)), np.uint8)
    found = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if found is None:
        raise UserError(f"{filename}: no picture that OpenCV can read")
    scale = np.iinfo(found.dtype).max if found.dtype.kind == "u" else 1
    picture = np.atleast_3d(found).astype(np.float64) / scale
    if picture.shape[2] > 1:
        picture = picture[:, :, 2::-1]
        if not color:
            picture = (picture @ LUMINANCE)[:, :, np.newaxis]
    elif color:
        picture = np.tile(picture, (1, 1, 3))
    return np.ascontiguousarray(picture, np.float32)


def resize_image(im: Array, new_dims: Sequence[int] | Array, interp_order: int = 1) -> Floats:
    """Return (H, W, K) resized to ``new_dims`` = (rows, columns); order 0 takes the nearest pixel, 1 is bilinear.

    Pictures of one or three channels are resized as scikit-image did for Caffe: pixels are squares, there is no
    smoothing, and what lies outside counts as the least value. Others are resized so that corner pixels stay.
    """
    from scipy.ndimage import zoom

    size = (int(new_dims[0]), int(new_dims[1]))
    factors = (size[0] / im.shape[0], size[1] / im.shape[1], 1.0)
    values = np.asarray(im, np.float64)
    if im.shape[-1] not in (1, 3):
        return np.asarray(zoom(values, factors, order=interp_order), np.float32)
    least, most = values.min(), values.max()
    if least == most:
        return np.full((*size, im.shape[-1]), least, np.float32)
    resized = zoom((values - least) / (most - least), factors, order=interp_order, mode="grid-constant", grid_mode=True)
    return np.asarray(np.clip(resized, 0, 1) * (most - least) + least, np.float32)


def centre_window(size: ArrayLike, window: ArrayLike) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right) of a window (rows, columns) in the middle of a picture (rows, columns).

    >>> centre_window((6, 7), (4, 4))
    (1, 1, 5, 5)
    """
    rows, columns = (int(n) for n in np.asarray(window))
    top, left = (int(n) for n in np.asarray(size) / 2.0 - np.asarray(window) / 2.0)
    return top, left, top + rows, left + columns


def oversample(images: Sequence[Array], crop_dims: Sequence[int] | Array) -> Floats:
    """Return ten windows of each of N equally large pictures, (10 N, rows, columns, K).

    The four corners (top left, top right, bottom left, bottom right) and the centre; then these five mirrored.
    """
    height, width, channels = images[0].shape
    rows, columns = (int(n) for n in crop_dims)
    corners = [(y, x, y + rows, x + columns) for y in (0, height - rows) for x in (0, width - columns)]
    windows = [*corners, centre_window((height, width), (rows, columns))]
    crops = np.empty((len(images), 10, rows, columns, channels), np.float32)
    for image, ten in zip(images, crops, strict=True):
        for crop, (top, left, bottom, right) in zip(ten, windows, strict=False):
            crop[...] = image[top:bottom, left:right]
        ten[5:] = ten[:5, :, ::-1]
    return crops.reshape(-1, rows, columns, channels)
