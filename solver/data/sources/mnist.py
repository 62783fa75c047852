"""MNIST and what shares its format (Fashion-MNIST, KMNIST): four idx files, gzipped or not.

idx (LeCun): big-endian numbers; the magic number 0x00000801 (bytes, one axis) or 0x00000803 (bytes, three axes), the
length of each axis as 4 bytes, then the bytes themselves.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.solver.data.part import Part
from batchbrew.solver.data.sources.base import SOURCES, Download, Raw, Source, read_bytes

CLASSES = tuple(str(digit) for digit in range(10))
LIMIT = 1 << 30  # bytes a file may unpack to: a header of any size must not fill the memory
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
FILES = (
    ("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
    ("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
    ("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
    ("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
)


@SOURCES.register("mnist")
class Mnist(Source):
    """Read MNIST's four idx files: 1x28x28 uint8, ten classes."""

    title = "MNIST (10 handwritten digits, 1x28x28)"
    downloads = tuple(
        Download(name, tuple(mirror + name for mirror in MIRRORS), f"sha256:{checksum}", size)
        for name, checksum, size in FILES
    )

    def find(self, folder: Path) -> Path | None:
        """Return ``folder``, or ``mnist``, ``MNIST/raw`` or ``raw`` in it, if it holds the training images."""
        for place in (folder, folder / "mnist", folder / "MNIST" / "raw", folder / "raw"):
            if _locate(place, "train-images", 3) is not None:
                return place
        return None

    def read(self, folder: Path) -> Raw:
        """Read the four files, packed or not, and check that pictures and labels belong together."""
        train, test = (_read_part(folder, name) for name in ("train", "t10k"))
        return Raw(CLASSES, train, test)


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Return the idx file of bytes at ``path`` (``.gz`` is unpacked) with ``axes`` axes. Raises UserError."""
    content = read_bytes(path, LIMIT)
    if path.suffix == ".gz":
        content = _unpack(path)
    magic = struct.unpack_from(">I", content)[0] if len(content) >= 4 else None
    if magic != 0x800 + axes:
        found = "nothing" if magic is None else f"0x{magic:08x}"
        raise UserError(f"{path}: idx magic number is {found}, expected 0x{0x800 + axes:08x} - wrong or damaged file")
    head = 4 + 4 * axes
    shape = struct.unpack_from(f">{axes}I", content, 4) if len(content) >= head else ()
    if not shape or len(content) != head + math.prod(shape) or 0 in shape:
        raise UserError(
            f"{path}: {len(content)} bytes do not fit the header's shape {shape} - damaged or cut short, get it again"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _read_part(folder: Path, name: str) -> Part:
    files = [_locate(folder, f"{name}-{what}", axes) for what, axes in (("images", 3), ("labels", 1))]
    if files[0] is None or files[1] is None:
        missing = f"{name}-images-idx3-ubyte" if files[0] is None else f"{name}-labels-idx1-ubyte"
        raise UserError(f"{folder}: MNIST lacks {missing} (with or without .gz) - all four files are needed")
    images, labels = read_idx(files[0], 3), read_idx(files[1], 1)
    if len(images) != len(labels):
        raise UserError(f"{files[1]}: {len(labels)} labels for {len(images)} pictures in {files[0].name}")
    if int(labels.max()) >= len(CLASSES):
        raise UserError(f"{files[1]}: a label is {int(labels.max())}, expected 0 to 9 - damaged or not MNIST")
    return Part(images[:, np.newaxis], labels.astype(np.int32))


def _locate(folder: Path, stem: str, axes: int) -> Path | None:
    names = (f"{stem}-idx{axes}-ubyte", f"{stem}.idx{axes}-ubyte")
    return next(
        (folder / (name + gz) for name in names for gz in ("", ".gz") if (folder / (name + gz)).is_file()), None
    )


def _unpack(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            content = file.read(LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: the gzip file is damaged or cut short ({error}) - get it again") from None
    if len(content) > LIMIT:
        raise UserError(f"{path}: unpacks to more than {LIMIT} bytes, not an MNIST file")
    return content
