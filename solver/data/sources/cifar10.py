"""CIFAR-10 in its two official layouts: binary records, and Python 2 pickles.

Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009. A record is one label byte and 3072 pixel
bytes: the red, green and blue plane, row by row. A file may hold any whole number of records, so a small selection is
CIFAR-10 too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.solver.data.part import Part
from batchbrew.solver.data.sources._unpickle import Array, unpickle
from batchbrew.solver.data.sources.base import SOURCES, Download, Raw, Source, read_bytes

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"


@SOURCES.register("cifar10")
class Cifar10(Source):
    """Read CIFAR-10 from ``cifar-10-batches-bin`` or ``cifar-10-batches-py``: 3x32x32 uint8, ten classes."""

    title = "CIFAR-10 (10 classes of photographs, 3x32x32)"
    downloads = (
        Download(
            "cifar-10-binary.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            "md5:c32a1d4ab5d03f1284b67883e8d87530",
            170_052_171,
        ),
    )

    def find(self, folder: Path) -> Path | None:
        """Return ``folder`` or the folder of an official name in it, if it holds the first training file."""
        for place in (folder, folder / BINARY, folder / PYTHON):
            if (place / f"{BATCHES[0]}.bin").is_file() or (place / BATCHES[0]).is_file():
                return place
        return None

    def read(self, folder: Path) -> Raw:
        """Read the five training files and the test file of either layout."""
        binary = (folder / f"{BATCHES[0]}.bin").is_file()
        read, suffix = (_read_binary, ".bin") if binary else (_read_pickle, "")
        missing = [name + suffix for name in (*BATCHES, "test_batch") if not (folder / (name + suffix)).is_file()]
        if missing:
            raise UserError(f"{folder}: CIFAR-10 lacks {', '.join(missing)} - unpack the whole archive")
        train = _join([read(folder / (name + suffix)) for name in BATCHES])
        return Raw(_class_names(folder, binary), train, read(folder / f"test_batch{suffix}"))


def _read_binary(path: Path) -> Part:
    content = read_bytes(path)
    if len(content) % (PIXELS + 1):
        raise UserError(
            f"{path}: {len(content)} bytes are not a whole number of {PIXELS + 1}-byte records "
            "- the file is damaged or cut short, get it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, PIXELS + 1)
    return _part(path, records[:, 1:], records[:, 0])


def _read_pickle(path: Path) -> Part:
    batch = _dictionary(path)
    pixels, labels = batch.get("data"), batch.get("labels")
    if not isinstance(pixels, Array) or not isinstance(labels, list):
        raise UserError(f"{path}: not a CIFAR-10 batch: it needs an array 'data' and a list 'labels'")
    if pixels.shape != (len(labels), PIXELS) or not labels:
        raise UserError(
            f"{path}: not a CIFAR-10 batch: 'data' has shape {pixels.shape}, expected ({len(labels)}, {PIXELS}) "
            f"for {len(labels)} labels"
        )
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise UserError(f"{path}: not a CIFAR-10 batch: 'labels' must be whole numbers from 0 to 9")
    return _part(path, pixels.to_numpy(), np.array(labels, np.uint8))


def _part(path: Path, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Part:
    if int(labels.max()) >= len(CLASSES):
        record = int(np.argmax(labels >= len(CLASSES)))
        raise UserError(
            f"{path}: record {record} has label {labels[record]}, expected 0 to 9 - damaged or not CIFAR-10"
        )
    return Part(pixels.reshape(-1, *SHAPE), labels.astype(np.int32))


def _join(parts: list[Part]) -> Part:
    return Part(np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts]))


def _class_names(folder: Path, binary: bool) -> tuple[str, ...]:
    """Return the names in the layout's meta file; it may be absent, because everybody knows the ten classes."""
    path = folder / ("batches.meta.txt" if binary else "batches.meta")
    if not path.is_file():
        return CLASSES
    if binary:
        names: Any = read_bytes(path, 1 << 16).decode("utf-8", "replace").split()
    else:
        names = _dictionary(path).get("label_names")
        names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names or []]
    if len(names) != len(CLASSES) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: expected {len(CLASSES)} class names, found {len(names)}")
    return tuple(names)


def _dictionary(path: Path) -> dict[str, Any]:
    """Return the pickled dictionary with text keys (Python 2 wrote byte strings)."""
    value = unpickle(read_bytes(path, 1 << 29), str(path))
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a CIFAR-10 batch: a pickled {type(value).__name__}, expected a dictionary")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): entry for key, entry in value.items()}
