"""Picture files, read as Caffe reads them: by OpenCV, as bytes in the order blue, green, red.

Axes: C channels, H rows, W columns. OpenCV is loaded when the first picture is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError

Picture = NDArray[np.uint8]  # (C, H, W)


def opencv() -> Any:
    """Return the module cv2. Raises UserError saying how to install it."""
    try:
        import cv2
    except ImportError:
        raise UserError("reading pictures (JPEG, PNG) needs OpenCV: pip install 'batchbrew[images]'") from None
    return cv2


def below(root: str, name: str) -> Path:
    """Return the file ``name`` in the folder ``root`` (none: in the working directory), also if it begins with "/"."""
    return Path(f"{root}/{name}" if root else name)


def decode(content: bytes, color: bool | None) -> Picture:
    """Return the picture in a JPEG, PNG or other file: three channels, one (False) or as many as it has (None).

    Raises ValueError if it is no such file or holds no bytes.
    """
    cv2 = opencv()
    flag = {True: cv2.IMREAD_COLOR, False: cv2.IMREAD_GRAYSCALE, None: cv2.IMREAD_UNCHANGED}[color]
    try:
        found = cv2.imdecode(np.frombuffer(content, np.uint8), flag) if content else None
    except cv2.error as error:
        raise ValueError(str(error).strip()) from None
    if found is None:
        raise ValueError("no picture that OpenCV can read")
    if found.dtype != np.uint8:
        raise ValueError(f"a picture of {found.dtype} values, expected bytes")
    return _planes(found)


def read_image(path: Path, color: bool | None, size: tuple[int, int] = (0, 0)) -> Picture:
    """Return the picture file at ``path``, resized (bilinear) to ``size`` = (rows, columns) unless these are 0.

    Raises OSError or ValueError if it cannot be read.
    """
    return resize(decode(path.read_bytes(), color), size)


def resize(picture: Picture, size: tuple[int, int]) -> Picture:
    """Return ``picture`` resized (bilinear) to ``size`` = (rows, columns), as it is if these are 0.

    Raises ValueError for a size that cannot be.
    """
    if not all(size) or picture.shape[1:] == size:
        return picture
    cv2 = opencv()
    rows, columns = size
    try:
        # Made contiguous: OpenCV takes no other layout.
        return _planes(cv2.resize(np.ascontiguousarray(picture.transpose(1, 2, 0)), (columns, rows)))
    except (cv2.error, OverflowError):
        raise ValueError(f"cannot be resized to {rows}x{columns}") from None


def encode(picture: Picture, kind: str) -> bytes:
    """Return the file (``kind``: jpg, png, ...) of a picture. Raises UserError for a kind that OpenCV cannot write."""
    cv2 = opencv()
    try:
        done, content = cv2.imencode(f".{kind}", np.ascontiguousarray(picture.transpose(1, 2, 0)))
    except cv2.error:
        done, content = False, np.zeros(0, np.uint8)
    if not done:
        raise UserError(f"cannot write pictures of type '{kind}': use jpg or png")
    return bytes(content.tobytes())


def _planes(picture: NDArray[np.uint8]) -> Picture:
    """Return (H, W, C) or (H, W) as (C, H, W)."""
    return picture[np.newaxis] if picture.ndim == 2 else picture.transpose(2, 0, 1)
