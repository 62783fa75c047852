"""What a source of data is, and how a new one is added."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from batchbrew.errors import UserError
from batchbrew.registry import Registry
from batchbrew.solver.data.part import Part


@dataclass(frozen=True)
class Download:
    """Describe one official file: its name, the places that have it (tried in order), its checksum and its length.

    ``checksum`` is ``md5:<hex>`` or ``sha256:<hex>``; ``size`` is in bytes and is also what a download may not exceed.
    """

    name: str
    urls: tuple[str, ...]
    checksum: str
    size: int


@dataclass(frozen=True, eq=False)
class Raw:
    """Hold what a source read: the class names and the two parts, in memory, with labels 0 ... len(classes)-1."""

    classes: tuple[str, ...]
    train: Part
    test: Part


class Source(ABC):
    """Know one kind of raw data: how to recognise its files, read them, and where the official ones are.

    To add a data set, put one file into this folder with one class and one decorator; nothing else has to be changed:

        @SOURCES.register("dots")                  # the name users write: `data: dots`, `batchbrew data make dots`
        class Dots(Source):
            title = "Dots (2 classes, 1x8x8)"      # one line for `batchbrew data list`
            downloads = (Download("dots.tar.gz", ("https://...",), "sha256:...", 12345),)   # optional

            def find(self, folder):                # the folder that holds the raw files, or None
                return folder if (folder / "dots.bin").is_file() else None

            def read(self, folder):                # what `find` returned -> pictures and labels
                data = np.fromfile(folder / "dots.bin", np.uint8).reshape(-1, 65)
                part = Part(data[:, 1:].reshape(-1, 1, 8, 8), data[:, 0].astype(np.int32))
                return Raw(("few", "many"), part, part)

    Set:
        title      one line of text.
        downloads  the official files, if they may be fetched: `get` puts them into one empty folder, unpacks the
                   ``.tar.gz`` and ``.tgz`` among them there, and hands that folder to `find` and `read`.
        recipe     for a data set that is computed instead of read: a text that changes whenever its content changes (a
                   prepared file with another recipe is made again). `generate` must then be overridden as well.
    Implement:
        find       recognise; called for any folder a user names, so it must be quick and must not raise.
        read       read and check everything: number and length of files, magic numbers, label range. What a damaged or
                   foreign file causes must be a UserError of one line that names the file; never trust the content.
    Archives, downloads, the prepared file and its mean picture are not a source's business.
    """

    title: ClassVar[str]
    downloads: ClassVar[tuple[Download, ...]] = ()
    recipe: ClassVar[str] = ""

    @abstractmethod
    def find(self, folder: Path) -> Path | None:
        """Return the folder with this source's raw files, ``folder`` itself or one below it, or None."""

    @abstractmethod
    def read(self, folder: Path) -> Raw:
        """Read the raw files in ``folder`` (a result of `find`). Raises UserError."""

    def generate(self) -> Raw:
        """Compute the data set from nothing; only for sources with a ``recipe``."""
        raise NotImplementedError(f"{type(self).__name__} has no recipe")


SOURCES: Registry[type[Source]] = Registry("data set")


def read_bytes(path: Path, limit: int = 1 << 31) -> bytes:
    """Return the content of a raw file; UserError if it cannot be read, is empty, or is longer than ``limit``."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    if not content:
        raise UserError(f"{path}: the file is empty - get it again")
    if len(content) > limit:
        raise UserError(f"{path}: longer than {limit} bytes, not the expected file")
    return content
