"""Transformer: from pictures to what a net's input takes, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchbrew.errors import UserError, did_you_mean
from batchbrew.solver.pycaffe.pictures import resize_image

Array = NDArray[Any]


class Transformer:
    """Format pictures (H, W, K) for the inputs of a net, given as name -> shape (N, K, H, W).

    ``preprocess`` works in this order: float32, resize, transpose, swap channels, times raw scale, minus mean, times
    input scale; what has not been set is left out.

    >>> transformer = Transformer({"data": (1, 3, 2, 2)})
    >>> transformer.set_transpose("data", (2, 0, 1))
    >>> transformer.set_raw_scale("data", 255)
    >>> transformer.preprocess("data", np.ones((2, 2, 3))).max()
    np.float32(255.0)
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def preprocess(self, in_: str, data: ArrayLike) -> Array:
        """Return a picture (H, W, K) as input ``in_`` takes it, (K, H, W) float32; ``data`` stays as it is."""
        size = self._shape(in_)[2:]
        result: Array = np.array(data, np.float32)
        if result.shape[:2] != size:
            result = resize_image(result, size)
        if in_ in self.transpose:
            result = result.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            result = result[list(self.channel_swap[in_])]
        if in_ in self.raw_scale:
            result *= np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            result -= self.mean[in_].astype(np.float32)
        if in_ in self.input_scale:
            result *= np.float32(self.input_scale[in_])
        return result

    def deprocess(self, in_: str, data: ArrayLike) -> Array:
        """Return the picture of which ``preprocess`` made ``data``, but for its size."""
        self._shape(in_)
        result: Array = np.array(data).squeeze()
        if in_ in self.input_scale:
            result = result / self.input_scale[in_]
        if in_ in self.mean:
            result = result + self.mean[in_]
        if in_ in self.raw_scale:
            result = result / self.raw_scale[in_]
        if in_ in self.channel_swap:
            result = result[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            result = result.transpose(np.argsort(self.transpose[in_]))
        return result

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of axes, (2, 0, 1) for (H, W, K) to (K, H, W)."""
        if len(order) != len(self._shape(in_)) - 1:
            raise UserError(
                f"Transpose order needs to have the same number of dimensions as the input: '{in_}' has "
                f"{len(self._shape(in_)) - 1} behind the batch, found {tuple(order)}"
            )
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of channels, on axis 0 after the transpose: (2, 1, 0) turns RGB to BGR."""
        if len(order) != self._shape(in_)[1]:
            raise UserError(
                f"Channel swap needs to have the same number of dimensions as the input channels: '{in_}' has "
                f"{self._shape(in_)[1]}, found {tuple(order)}"
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set the factor before the mean is subtracted: 255 for nets that were trained on bytes."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Array) -> None:
        """Set the mean to subtract: a value a channel (K), or a picture (K, H, W), resized where it does not fit.

        Raises ValueError for a mean of another shape.
        """
        shape = self._shape(in_)
        if mean.ndim == 1:
            if len(mean) != shape[1]:
                raise ValueError(f"Mean channels incompatible with input: found {len(mean)}, '{in_}' has {shape[1]}")
            self.mean[in_] = mean[:, np.newaxis, np.newaxis]
            return
        picture = mean[np.newaxis] if mean.ndim == 2 else mean
        if picture.ndim != 3:
            raise ValueError(f"Mean shape invalid: (K), (H, W) or (K, H, W) is expected, found {mean.shape}")
        if picture.shape[1:] != shape[2:]:
            picture = resize_image(picture.transpose(1, 2, 0), shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = picture

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set the factor after the mean has been subtracted."""
        self._shape(in_)
        self.input_scale[in_] = scale

    def _shape(self, in_: str) -> tuple[int, ...]:
        """Return the shape of an input. Raises UserError if there is none of that name."""
        if in_ not in self.inputs:
            raise UserError(
                f"{in_} is not one of the net inputs: {', '.join(self.inputs)}{did_you_mean(in_, self.inputs)}"
            )
        return tuple(int(n) for n in self.inputs[in_])
