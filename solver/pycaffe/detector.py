"""``caffe.detector``: what is in the windows of pictures, from a net."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.pycaffe.classifier import transformer_of
from batchbrew.solver.pycaffe.net import Net
from batchbrew.solver.pycaffe.pictures import load_image, resize_image

Array = NDArray[Any]


class Detector(Net):
    """A net that classifies windows of pictures, each warped to the size of its input.

    ``context_pad``: pixels of surroundings, of the input, that a window is shown with; beyond the picture is the mean.
    The other settings are those of Transformer.
    """

    def __init__(  # noqa: PLR0917 - scripts give these by position
        self,
        model_file: str | Path,
        pretrained_file: str | Path,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, pb.TEST, weights=pretrained_file)
        self.transformer = transformer_of(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[str, Iterable[Sequence[int]]]]) -> list[dict[str, Any]]:
        """Return a dict of filename, window and prediction for each window (ymin, xmin, ymax, xmax) of each picture."""
        name = self.inputs[0]
        found: list[dict[str, Any]] = []
        crops = []
        for filename, windows in images_windows:
            image = load_image(filename).astype(np.float32)
            for window in windows:
                crops.append(self.transformer.preprocess(name, self.crop(image, window)))
                found.append({"window": window, "filename": filename})
        if not crops:
            return []
        predictions = self.forward_all(**{name: np.stack(crops)})[self.outputs[0]]
        for entry, prediction in zip(found, predictions.reshape(len(crops), -1), strict=True):
            entry["prediction"] = prediction
        return found

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """Do the same for the windows that the package selective_search_ijcv_with_python proposes."""
        try:
            selective_search = import_module("selective_search_ijcv_with_python")
        except ImportError:
            raise UserError(
                "detect_selective_search needs the package selective_search_ijcv_with_python: install it, or give "
                "windows to detect_windows"
            ) from None
        files = [str(Path(name).resolve()) for name in image_fnames]
        windows = selective_search.get_windows(files, cmd="selective_search_rcnn")
        return self.detect_windows(zip(files, windows, strict=True))

    def crop(self, im: Array, window: Sequence[int]) -> Array:
        """Return a window of a picture (H, W, K), with its surroundings warped to the input where these are shown."""
        top, left, bottom, right = (int(n) for n in window)
        if not self.context_pad:
            return im[top:bottom, left:right]
        size = self.crop_size
        scale = size / (size - 2 * self.context_pad)
        centre = np.array([top + bottom, left + right]) / 2
        half = scale * np.array([bottom - top, right - left]) / 2
        begin, end = np.round(centre - half).astype(int), np.round(centre + half).astype(int)
        extent = end - begin
        inner_begin, inner_end = np.maximum(begin, 0), np.minimum(end, im.shape[:2])
        context = im[inner_begin[0] : inner_end[0], inner_begin[1] : inner_end[1]]
        place = np.round((inner_begin - begin) * size / extent).astype(int)
        room = np.round((inner_end - inner_begin) * size / extent).astype(int)
        room = np.minimum(np.maximum(room, 1), size - place)
        crop = np.array(self.crop_mean, dtype=np.float32)
        crop[place[0] : place[0] + room[0], place[1] : place[1] + room[1]] = resize_image(context, room)
        return crop

    def configure_crop(self, context_pad: int | None) -> None:
        """Set how much of its surroundings a window is shown with, and with what it is filled up."""
        self.context_pad = context_pad
        if not context_pad:
            return
        name = self.inputs[0]
        channels, rows, columns = self.blobs[name].data.shape[1:]
        if rows != columns:
            raise UserError(f"context_pad needs an input as high as wide, '{name}' is {rows} x {columns}")
        self.crop_size = rows
        t = self.transformer
        mean = np.broadcast_to(t.mean.get(name, np.zeros((1, 1, 1))), (channels, rows, columns))
        if name in t.channel_swap:
            mean = mean[np.argsort(t.channel_swap[name])]
        self.crop_mean = mean.transpose(1, 2, 0) / t.raw_scale.get(name, 1.0)
