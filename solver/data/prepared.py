"""The prepared file: one HDF5 file a data set, which every process maps into memory read-only.

Layout (format 1): contiguous, uncompressed datasets ``/train/images`` and ``/test/images`` (N, C, H, W) uint8 or
float32, ``/train/labels`` and ``/test/labels`` (N,) int32, ``/train/mean`` (C, H, W) float32; root attributes
``format``, ``name``, ``classes``, ``digest``, ``origin``. HDF5 is opened only to learn where the datasets lie; the
pictures are then read through ``mmap``, so that no HDF5 lock is held on a cluster's file system and the nodes of one
machine share the pages.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from batchbrew import atomic
from batchbrew.errors import UserError
from batchbrew.solver.data.part import DataSet, Images, Part

FORMAT = 1
PAGE = 4096  # datasets begin on pages: aligned for every type, and no page is shared between two of them
BLOCK = 1024  # samples a step when the whole set is summed or hashed
DTYPES = (np.dtype("u1"), np.dtype("<f4"))
LABELS = np.dtype("<i4")


def write_dataset(
    path: Path, name: str, classes: Sequence[str], train: Part, test: Part, *, origin: str = "files"
) -> DataSet:
    """Write the prepared file ``path`` atomically (a reader sees the old one or all of the new one) and open it.

    The same content gives the same bytes. The digest is that of `content_digest`, the mean that of `mean_image`.
    Raises UserError for an empty part, parts of different shapes or types, or a label outside ``classes``.
    """
    for part_name, part in (("train", train), ("test", test)):
        _check_part(f"data set '{name}'", part_name, part, train, len(classes))
    digest = content_digest(classes, train, test)
    mean = mean_image(train.images)

    def fill(temporary: Path) -> None:
        with h5py.File(temporary, "w", locking=False, alignment_threshold=1, alignment_interval=PAGE) as file:
            file.attrs["format"] = FORMAT
            for key, text in (
                ("name", name),
                ("classes", json.dumps(list(classes))),
                ("digest", digest),
                ("origin", origin),
            ):
                file.attrs[key] = np.bytes_(text.encode())
            for part_name, part in (("train", train), ("test", test)):
                file.create_dataset(f"{part_name}/images", data=part.images)
                file.create_dataset(f"{part_name}/labels", data=part.labels.astype(LABELS, copy=False))
            file.create_dataset("train/mean", data=mean)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(path, fill)
    except OSError as error:
        raise UserError(f"{path}: cannot write the data set: {_reason(error)}") from None
    return open_dataset(path)


def open_dataset(path: Path | str, *, verify: bool = False) -> DataSet:
    """Return the prepared data set at ``path``, its arrays mapped read-only; the file itself is not kept open.

    Format, shapes, types, label range and file length are checked always; with ``verify`` the whole content is also
    read and compared with its digest. Raises UserError (one line) for anything that is not such a file.
    """
    path = Path(path)
    try:
        # One open for both readers: HDF5 must not describe one file and the map show another that has just replaced it.
        with path.open("rb") as stream, h5py.File(stream, "r") as file:
            dataset = _read(path, file, np.memmap(stream, np.uint8, "r"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file - prepare the data set with 'batchbrew data make'") from None
    except OSError as error:
        if path.is_file() and os.access(path, os.R_OK):
            raise UserError(
                f"{path}: not a prepared data set, damaged or cut short ({_reason(error)}) - make it again"
            ) from None
        raise UserError(f"{path}: cannot read: {_reason(error)}") from None
    except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{path}: the data set is damaged ({_reason(error)}) - make it again") from None
    for part_name, part in (("train", dataset.train), ("test", dataset.test)):
        _check_part(str(path), part_name, part, dataset.train, len(dataset.classes))
    if verify and content_digest(dataset.classes, dataset.train, dataset.test) != dataset.digest:
        raise UserError(f"{path}: the content does not match its digest: the file is damaged - make it again")
    return dataset


def content_digest(classes: Sequence[str], train: Part, test: Part) -> str:
    """Return ``sha256:<hex>`` over the class names, shapes, types, pictures and labels.

    Hashed are one line of JSON (classes, then shape and type of each array), then the bytes of the training images and
    labels and of the test images and labels. The name and the place of the file do not count.
    """
    arrays: list[NDArray[Any]] = []
    for part in (train, test):
        arrays += [part.images, part.labels.astype(LABELS, copy=False)]
    head = [list(classes), *([list(array.shape), array.dtype.str] for array in arrays)]
    digest = hashlib.sha256(json.dumps(head).encode() + b"\n")
    for array in arrays:
        for start in range(0, len(array), BLOCK):
            digest.update(np.ascontiguousarray(array[start : start + BLOCK]).data)
    return f"sha256:{digest.hexdigest()}"


def mean_image(images: Images) -> NDArray[np.float32]:
    """Return the mean (C, H, W) float32 of ``images`` (N, C, H, W), summed in float64 in the order of the samples.

    >>> mean_image(np.array([[[[1, 2]]], [[[2, 2]]]], np.uint8))
    array([[[1.5, 2. ]]], dtype=float32)
    """
    total = np.zeros(images.shape[1:], np.float64)
    for start in range(0, len(images), BLOCK):
        total += images[start : start + BLOCK].sum(axis=0, dtype=np.float64)
    return (total / len(images)).astype(np.float32)


def _read(path: Path, file: Any, content: NDArray[np.uint8]) -> DataSet:
    version = file.attrs.get("format")
    if version is None or "digest" not in file.attrs:
        raise UserError(
            f"{path}: an HDF5 file, but not a prepared data set (no attributes 'format' and 'digest') "
            "- prepare one with 'batchbrew data make'"
        )
    if int(version) != FORMAT:
        raise UserError(f"{path}: has format {int(version)}, this version reads format {FORMAT} - make it again")
    mean = np.array(_map(content, file, "train/mean"))
    texts = {key: _text(file.attrs[key]) for key in ("name", "digest", "classes", "origin")}
    parts = [
        Part(_map(content, file, f"{name}/images"), _map(content, file, f"{name}/labels"), mean, texts["digest"])
        for name in ("train", "test")
    ]
    classes = json.loads(texts["classes"])
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
        raise ValueError("attribute 'classes' is no list of names")
    if mean.shape != parts[0].shape or mean.dtype != np.float32:
        raise ValueError(f"train/mean is {mean.dtype} {mean.shape}")
    return DataSet(texts["name"], tuple(classes), parts[0], parts[1], texts["digest"], path, texts["origin"])


def _map(content: NDArray[np.uint8], file: Any, key: str) -> NDArray[Any]:
    """Return the dataset ``key`` as a view of the mapped file itself (never of another file it points to)."""
    dataset = file[key] if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"no dataset {key}")
    offset = dataset.id.get_offset()
    if offset is None or dataset.chunks is not None or dataset.external or dataset.is_virtual or dataset.compression:
        raise ValueError(f"{key} is empty or not stored in one piece")
    if dataset.dtype not in (*DTYPES, LABELS):
        raise ValueError(f"{key} has type {dataset.dtype}")
    end = offset + dataset.size * dataset.dtype.itemsize
    if end > len(content):
        raise ValueError(f"{key} reaches beyond the end of the file")
    found: NDArray[Any] = content[offset:end].view(dataset.dtype).reshape(dataset.shape)
    return found


def _check_part(where: str, name: str, part: Part, train: Part, classes: int) -> None:
    if len(part) == 0:
        raise UserError(f"{where}: the {name} part has no samples")
    if part.images.dtype not in DTYPES or not np.issubdtype(part.labels.dtype, np.integer):
        raise UserError(
            f"{where}: {name} images are {part.images.dtype} and labels {part.labels.dtype}, "
            "expected uint8 or float32 images and integer labels"
        )
    if part.shape != train.shape or part.images.dtype != train.images.dtype:
        raise UserError(
            f"{where}: {name} images are {part.images.dtype} {part.shape}, "
            f"train images {train.images.dtype} {train.shape}"
        )
    low, high = int(part.labels.min()), int(part.labels.max())
    if low < 0 or high >= classes:
        raise UserError(f"{where}: {name} labels reach from {low} to {high}, but there are {classes} classes")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _reason(error: BaseException) -> str:
    """Return the first line of an error of the system or of HDF5."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].strip("'\"")
