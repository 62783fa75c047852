"""``caffe.classifier``: classes of pictures from a net."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.protos import messages as pb
from batchbrew.solver.pycaffe.net import Net
from batchbrew.solver.pycaffe.pictures import centre_window, oversample, resize_image
from batchbrew.solver.pycaffe.transformer import Transformer

Array = NDArray[Any]


def transformer_of(
    net: Net,
    mean: Array | None,
    input_scale: float | None,
    raw_scale: float | None,
    channel_swap: Sequence[int] | None,
) -> Transformer:
    """Return the Transformer from pictures (H, W, K) to the first input of ``net``; None leaves a setting out."""
    name = net.inputs[0]
    transformer = Transformer({name: net.blobs[name].data.shape})
    transformer.set_transpose(name, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)
    return transformer


class Classifier(Net):
    """A net that says to which classes pictures belong.

    ``image_dims`` (rows, columns; that of the input if None) is what pictures are resized to before they are cropped to
    the input. The other settings are those of Transformer.
    """

    def __init__(  # noqa: PLR0917 - scripts give these by position
        self,
        model_file: str | Path,
        pretrained_file: str | Path,
        image_dims: Sequence[int] | None = None,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, pb.TEST, weights=pretrained_file)
        self.transformer = transformer_of(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)

    def predict(self, inputs: Sequence[Array], oversample: bool = True) -> Array:
        """Return the classes' probabilities (n, classes) of ``inputs``, pictures (H, W, K).

        ``oversample``: the mean over ten crops (corners and centre, and these mirrored) instead of the centre alone.
        """
        pictures = [resize_image(picture, self.image_dims) for picture in inputs]
        crops = self._ten(pictures) if oversample else self._centre(pictures)
        name = self.inputs[0]
        found = self.forward_all(**{name: np.stack([self.transformer.preprocess(name, crop) for crop in crops])})
        predictions = found[self.outputs[0]]
        return predictions.reshape(len(pictures), 10, -1).mean(1) if oversample else predictions

    def _ten(self, pictures: Sequence[Array]) -> Array:
        return oversample(pictures, self.crop_dims)

    def _centre(self, pictures: Sequence[Array]) -> Array:
        top, left, bottom, right = centre_window(self.image_dims, self.crop_dims)
        return np.stack([picture[top:bottom, left:right] for picture in pictures])
