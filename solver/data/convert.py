"""Convert data: LMDBs from data sets and from lists of pictures, data sets from data bases, mean pictures.

Axes: N samples, C channels, H rows, W columns.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.protos import binary, datum
from batchbrew.solver.data import images
from batchbrew.solver.data.image_files import ImageList
from batchbrew.solver.data.order import permutation
from batchbrew.solver.data.part import Part, Samples

Record = tuple[bytes, bytes]  # key, serialized Datum
COMMIT = 1000  # records a transaction
MAP_BYTES = 64 << 20  # of address space at first; doubled when it is full


@dataclass(frozen=True)
class ImageOptions:
    """How pictures are put into a data base: ``size`` = (rows, columns) or (0, 0), as files (``encoded``) or values.

    ``kind`` (jpg, png, ...) of encoded ones is that of each file unless given. ``same_size``: refuse another size.
    """

    gray: bool = False
    size: tuple[int, int] = (0, 0)
    same_size: bool = False
    encoded: bool = False
    kind: str = ""


def refuse_existing(path: Path) -> None:
    """Raise UserError if something is at ``path``."""
    if path.exists():
        raise UserError(f"{path}: exists already - remove it, or choose another name")


def write_lmdb(path: Path, records: Iterable[Record]) -> int:
    """Write an LMDB folder, whole or not at all, and return the number of records. Raises UserError."""
    refuse_existing(path)
    folder = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rest = iter(records)
        with lmdb.open(str(folder), map_size=MAP_BYTES) as env:
            while piece := list(islice(rest, COMMIT)):
                _commit(env, piece)
            count = int(env.stat()["entries"])
        if count:
            folder.rename(path)
    except lmdb.BadValsizeError:
        raise UserError(
            f"{path}: cannot write: a key is longer than 511 bytes - use shorter paths in the list"
        ) from None
    except (OSError, lmdb.Error) as error:
        raise UserError(f"{path}: cannot write: {getattr(error, 'strerror', None) or error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not count:
        raise UserError(f"{path}: not written: there are no records")
    return count


def _commit(env: lmdb.Environment, records: list[Record]) -> None:
    while True:
        try:
            with env.begin(write=True) as transaction:
                transaction.cursor().putmulti(records)
            return
        except lmdb.MapFullError:
            env.set_mapsize(2 * env.info()["map_size"])


def sample_records(samples: Samples, digits: int) -> Iterator[Record]:
    """Yield the samples in order under their numbers of so many ``digits``."""
    for number in range(len(samples)):
        pictures, labels = samples.take(np.array([number]))
        yield f"{number:0{digits}d}".encode(), datum.serialize(pictures[0], int(labels[0]))


def image_records(
    root: str, files: ImageList, options: ImageOptions, skipped: list[str], seed: int | None = None
) -> Iterator[Record]:
    """Yield the pictures of a list under ``number_name``; the reasons of those that cannot be read go to ``skipped``.

    ``seed`` puts them in a random order. Raises UserError for a size that is not that of the first, if it must be.
    """
    order = np.arange(len(files.names)) if seed is None else permutation(seed, 0, len(files.names))
    first: tuple[int, ...] = ()
    for number, line in enumerate(order.tolist()):
        name, label = files.names[line], int(files.labels[line])
        path = images.below(root, name)
        try:
            content = path.read_bytes()
            original = images.decode(content, not options.gray)
        except (OSError, ValueError) as error:
            skipped.append(f"{path}: {getattr(error, 'strerror', None) or error}")
            continue
        picture = images.resize(original, options.size)
        first = first or picture.shape
        if options.same_size and picture.shape != first:
            raise UserError(
                f"{path}: has shape {picture.shape}, those before {first}: resize them, or do not check sizes"
            )
        if options.encoded:
            own = path.suffix[1:].lower()
            kind = options.kind.lower() or own
            if not kind:
                raise UserError(f"{path}: the name does not tell the type of the picture: say --encode-type")
            # The file itself, where it already is what is asked for.
            same = picture is original and not options.gray and _kind(kind) == _kind(own)
            record = datum.serialize_encoded(content if same else images.encode(picture, kind), label)
        else:
            record = datum.serialize(np.ascontiguousarray(picture), label)
        yield f"{number:08d}_".encode() + name.encode("utf-8", "surrogateescape"), record


def _kind(suffix: str) -> str:
    return "jpg" if suffix == "jpeg" else suffix


def gather(samples: Samples, numbers: Iterable[int], where: str) -> Part:
    """Return samples as one part in memory. Raises UserError where sizes differ."""
    found = [samples.take(np.array([number])) for number in numbers]
    pictures = [_checked(taken[0], samples, where, number) for number, (taken, _) in enumerate(found)]
    return Part(np.stack(pictures), np.concatenate([labels for _, labels in found]))


def mean_picture(samples: Samples, numbers: Iterable[int], where: str) -> NDArray[np.float32]:
    """Return the mean (C, H, W) float32 of samples, summed in float64. Raises UserError where sizes differ."""
    total = np.zeros(samples.shape)
    count = 0
    for count, number in enumerate(numbers, 1):  # noqa: B007 - the last one is needed
        total += _checked(samples.take(np.array([number]))[0][0], samples, where, number)
    return (total / count).astype(np.float32)


def _checked(picture: NDArray[Any], samples: Samples, where: str, number: int) -> NDArray[Any]:
    if picture.shape != samples.shape:
        raise UserError(
            f"{where}: sample {number} has shape {picture.shape}, the first one {samples.shape}: all must have one size"
        )
    return picture


def write_mean(path: Path, mean: NDArray[np.float32]) -> None:
    """Write a mean picture (C, H, W) as Caffe does: a BlobProto of the legacy shape 1, C, H, W."""
    blob = binary.array_to_blob(mean.ravel())
    blob.ClearField("shape")
    blob.num, (blob.channels, blob.height, blob.width) = 1, mean.shape
    binary.write(path, blob)
