"""Turn stored pictures into what a net sees, by Caffe's rules: mean, scale, crop and mirror.

For each picture: ``value = (pixel - mean) * scale`` in float32; with ``crop_size`` a square window is cut out, in
TRAIN at a random place, in TEST at floor((size - crop) / 2); with ``mirror`` a fair coin (also in TEST) decides
whether the window is written mirrored along its width. The mean is read where the pixel was read: it is cut like the
picture and turned with it.

Caffe draws from one generator in the order in which it happens to read the pictures. Here the coin, the row and the
column are hashes of the picture's key (`keys`), so that a picture looks the same for any batch size, chunk, thread
and node.

Axes: n samples, C channels, H, W rows and columns of the data, h, w of the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.solver.data.keys import Keys, mix_number
from batchbrew.solver.data.part import Images, Item, Pictures
from batchbrew.solver.kernels import choose, compile_program
from batchbrew.solver.kernels.reference.pictures import COLUMN, MIRROR, ROW

__all__ = ["COLUMN", "MIRROR", "ROW", "Transform", "read_mean"]
AUTO = "auto"  # mean_file: "auto" means the mean picture of the data set itself
STORED = (np.dtype(np.uint8), np.dtype(np.float32))  # types of pictures that the kernels read


class Transform:
    """Apply one ``transform_param`` to pictures of shape ``item_shape`` = (C, H, W) in ``phase`` (pb.TRAIN or pb.TEST).

    ``mean`` is the mean picture of the data set (C, H, W), used for ``mean_file: "auto"``; any other ``mean_file`` is
    read as a binary BlobProto. ``seed`` makes the draws of two transforms differ for equal keys. ``where`` begins error
    texts (``net.prototxt:3:1: layer 'cifar': ``). Raises UserError for settings that contradict each other or the data.

    >>> transform = Transform(pb.TransformationParameter(scale=0.5, mean_value=[1.0]), pb.TEST, (1, 1, 2), None, 0)
    >>> out = np.empty((1, *transform.shape), np.float32)
    >>> transform.apply(np.array([[[[3, 7]]]], np.uint8), np.zeros(1, np.uint64), out)
    >>> out
    array([[[[1., 3.]]]], dtype=float32)
    """

    item_shape: Item  # of a picture, (C, H, W)
    shape: Item  # of the result, (C, h, w)

    def __init__(
        self,
        param: pb.TransformationParameter,
        phase: int,
        item_shape: Item,
        mean: NDArray[np.float32] | None,
        seed: int,
        *,
        where: str = "",
    ) -> None:
        if param.force_color and param.force_gray:
            raise UserError(f"{where}force_color and force_gray cannot be used together - keep one of them")
        self._where = where
        self._crop = int(param.crop_size)
        self._mean_file: str = param.mean_file
        self._given_mean = _mean(param, mean, where)
        self._scale = float(param.scale)
        self._mirror = bool(param.mirror)
        self._random_crop = self._crop > 0 and phase == pb.TRAIN
        mixed = mix_number(seed)
        self._seed = mixed - (mixed >> 63 << 64)  # as kernels take integers: signed
        self.reshape(item_shape)

    def reshape(self, item_shape: Item) -> None:
        """Expect pictures of another shape (C, H, W). Raises UserError if they do not fit the settings."""
        channels, height, width = item_shape
        crop, mean = self._crop, self._given_mean
        if crop > min(height, width):
            raise UserError(
                f"{self._where}crop_size {crop} is larger than the {height}x{width} pictures of the data set"
            )
        if mean.shape[1:] == (1, 1) and not self._mean_file:
            if len(mean) not in (1, channels):
                some = "value" if channels == 1 else f"value, or one for each of the {channels} channels"
                raise UserError(
                    f"{self._where}{len(mean)} entries of mean_value for {channels} channels - give 1 {some}"
                )
        elif mean.shape != item_shape:
            raise UserError(
                f"{self._where}mean_file '{self._mean_file}' has shape {mean.shape}, but the pictures of the data set "
                f"have shape {item_shape}"
            )
        self._mean = np.ascontiguousarray(np.broadcast_to(mean, item_shape))
        self.shape = (channels, crop, crop) if crop else item_shape
        self.item_shape = item_shape
        self._centre = (height - self.shape[1]) // 2, (width - self.shape[2]) // 2

    def call(
        self, images: Images, numbers: NDArray[np.int64], keys: Keys, out: NDArray[Any]
    ) -> tuple[str, tuple[Any, ...]]:
        """Return the kernel and its arguments that write pictures ``numbers`` int64[n] of ``images`` to ``out``.

        Images (N, C, H, W) are uint8 or float32, ``keys`` uint64[n] those of the samples; ``out`` (n, C, h, w) has any
        strides.
        """
        kernel = "pictures_bytes" if images.dtype == np.uint8 else "pictures_floats"
        settings = (int(self._mirror), int(self._random_crop), *self._centre, self._seed, self._scale)
        return kernel, (images, numbers, keys, self._mean, out, *settings)

    def apply(self, images: Pictures, keys: Keys, out: NDArray[np.float32]) -> None:
        """Write the transformed ``images`` (n, C, H, W) uint8 or float32 to ``out`` (n, C, h, w) float32, any strides.

        ``images`` may also be a list of pictures (C, H, W) of several sizes; UserError if their results do not fit one
        batch. ``keys`` uint64[n] are the samples' keys. A picture's result depends on its pixels and its key only.
        Raises ValueError for arrays of other shapes.
        """
        if isinstance(images, list):
            self._apply_each(images, keys, out)
            return
        count = len(images)
        if images.shape[1:] != self.item_shape or out.shape != (count, *self.shape) or keys.shape != (count,):
            raise ValueError(
                f"images {images.shape}, keys {keys.shape} and out {out.shape} do not fit "
                f"(n, {self.item_shape}), (n,) and (n, {self.shape})"
            )
        compiled = out.dtype == np.float32 and images.dtype in STORED
        call = self.call(images, np.arange(count), np.ascontiguousarray(keys), out)
        compile_program([call], choose(None if compiled else "reference")).run()

    def _apply_each(self, images: list[NDArray[Any]], keys: Keys, out: NDArray[np.float32]) -> None:
        usual = self.item_shape
        try:
            for i, image in enumerate(images):
                channels, height, width = image.shape
                self.reshape((channels, height, width))
                if self.shape != out.shape[1:]:
                    raise UserError(
                        f"{self._where}picture {i} of a batch has shape {image.shape}, but the batch has "
                        f"{tuple(out.shape[1:])} from its first: use crop_size, pictures of one size, or batch_size 1"
                    )
                self.apply(image[np.newaxis], keys[i : i + 1], out[i : i + 1])
        finally:
            self.reshape(usual)


def read_mean(path: str) -> NDArray[np.float32]:
    """Return the mean picture (C, H, W) in a binary BlobProto. Raises UserError."""
    picture = binary.blob_to_array(binary.read(path, pb.BlobProto), f"{path}: ")
    return picture[0] if picture.ndim == 4 and picture.shape[0] == 1 else picture


def _mean(param: pb.TransformationParameter, mean: NDArray[np.float32] | None, where: str) -> NDArray[np.float32]:
    """Return what is subtracted: (C, H, W) of a mean picture, (C, 1, 1) of mean values, or a zero (1, 1, 1)."""
    values = list(param.mean_value)
    if param.mean_file and values:
        raise UserError(f"{where}mean_file and mean_value cannot be used together - keep one of them")
    if values:
        return np.array(values, np.float32).reshape(-1, 1, 1)
    if not param.mean_file:
        return np.zeros((1, 1, 1), np.float32)
    if param.mean_file != AUTO:
        return np.ascontiguousarray(read_mean(param.mean_file), np.float32)
    if mean is None:
        raise UserError(
            f'{where}mean_file: "auto" needs a data set that knows its mean picture - give a file, made by '
            "'batchbrew data mean'"
        )
    return np.ascontiguousarray(mean, np.float32)
