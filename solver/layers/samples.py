"""What all layers that read an indexed set of samples have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.ahead import Feed
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.data.keys import Keys
from batchbrew.solver.data.order import Order
from batchbrew.solver.data.part import Images, Part, Samples
from batchbrew.solver.data.transform import STORED, Transform
from batchbrew.solver.layer import Array, Builder
from batchbrew.solver.layers.sources import SourceLayer


class SampleLayer(SourceLayer):
    """A layer that reads numbered samples, so that a batch may be any of them and may be cut up."""

    def __init__(self, param: pb.LayerParameter, phase: int, where: str) -> None:
        super().__init__(param, phase, where)
        self.classes: int | None = None  # how many the loss that reads the labels knows

    @abstractmethod
    def open(self, part: Samples | None, seed: int) -> None:
        """Find the samples: ``part`` where the caller of Net gave one, else what the layer's parameters name."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of samples."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """What tells its samples apart from others, cheap to make."""

    @property
    @abstractmethod
    def batch(self) -> int:
        """The batch size of the prototxt."""

    @property
    def highest_label(self) -> int | None:
        """The largest label in the second top, None where only reading all samples would tell."""
        return None

    def look(self, indices: NDArray[np.int64]) -> bool:
        """Return whether the samples to come change what ``reshape`` returns."""
        return False

    @abstractmethod
    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Write samples ``indices`` % count; ``indices`` // count is the number of the pass over the samples."""

    def feeding(self, build: Builder, top: Sequence[Blob]) -> Feed:
        """Return what writes the tops of this program; reading takes time."""
        return Feed(self.feed, [blob.data for blob in top], ahead=True)

    def check(self, batch: int, source: str) -> None:
        """Raise UserError unless ``batch`` is at least 1 and there is a ``source``."""
        if batch < 1:
            raise self.error("batch_size must be at least 1")
        if not source:
            raise self.error("source is missing: say what to read")

    @contextmanager
    def placed(self) -> Iterator[None]:
        """Let a UserError from a file also name this layer."""
        try:
            yield
        except UserError as error:
            raise self.error(str(error)) from None


class PictureLayer(SampleLayer):
    """Pictures, transformed to (N, C, h, w), and their labels (N)."""

    def read(self, samples: Samples, order: Order, seed: int) -> None:
        """Take ``samples`` in this order."""
        self.samples, self.order = samples, order
        where = f"{self.where}layer '{self.name}' ({self.type}): "
        param = self.param.transform_param
        self.transform = Transform(param, self.phase, samples.shape, samples.mean, seed, where=where)
        if isinstance(samples, Part):
            self.labels = samples.labels.astype(np.float32)

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @property
    def digest(self) -> str:
        """What tells its samples apart from others."""
        return self.samples.digest

    @property
    def highest_label(self) -> int | None:
        """The largest label, None where only reading all samples would tell."""
        return self.samples.highest_label

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, C, h, w) and (N)."""
        return [(self.batch, *self.transform.shape), (self.batch,)][: len(self.param.top)]

    def look(self, indices: NDArray[np.int64]) -> bool:
        """Return whether the first picture of the batch gives the batch another shape."""
        before = self.transform.shape
        self.transform.reshape(self.samples.shape_of(int(self.order.numbers(indices[:1])[0])))
        return self.transform.shape != before

    def feeding(self, build: Builder, top: Sequence[Blob]) -> Feed:
        """Return what writes the tops, or the numbers and keys from which the program makes them."""
        if self._images(top) is None:
            return super().feeding(build, top)

        def write(arrays: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
            arrays[0][...] = self.order.numbers(indices)
            arrays[1][...] = keys

        return Feed(write, list(self._wanted(build, top)))

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Take pictures in memory from there; others have been fed."""
        images = self._images(top)
        if images is not None:
            numbers, keys = self._wanted(build, top)
            kernel, arguments = self.transform.call(images, numbers, keys, top[0].data)
            build.op(kernel, *arguments)
            for blob in top[1:]:
                build.op("take_labels", self.labels, numbers, blob.data)

    def _images(self, top: Sequence[Blob]) -> Images | None:
        """Return the stored pictures if a program can make the tops from them."""
        if not isinstance(self.samples, Part) or self.samples.images.dtype not in STORED:
            return None
        count = top[0].shape[0]
        fits = [blob.shape for blob in top] == [(count, *self.transform.shape), (count,)][: len(top)]
        return self.samples.images.view(np.ndarray) if fits else None

    def _wanted(self, build: Builder, top: Sequence[Blob]) -> tuple[Array, Array]:
        """Return the arrays in which the program finds the numbers int64[n] and the keys uint64[n] of its samples."""
        rows = top[0].shape[:1]
        return build.scratch("numbers", rows, np.int64), build.scratch("keys", rows, np.uint64)

    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Write the samples."""
        pictures, labels = self.samples.take(self.order.numbers(indices))
        if not isinstance(pictures, list) and pictures.shape[1:] != self.transform.item_shape:
            pictures = list(pictures)  # a piece of a batch of pictures of several sizes, which are cropped
        self.transform.apply(pictures, keys, tops[0])
        if len(tops) == 1:
            return
        wrong = (labels < 0) | (labels >= self.classes) if self.classes is not None else np.zeros(0, np.bool_)
        if wrong.any():
            raise self.error(
                f"a sample has label {labels[wrong.argmax()]}, but the loss scores {self.classes} classes: labels must "
                f"lie between 0 and {(self.classes or 0) - 1}"
            )
        tops[1][...] = labels
