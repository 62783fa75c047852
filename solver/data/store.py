"""Caffe's data bases: records under keys, read by number in the byte-wise order of the keys."""

from __future__ import annotations

import hashlib
import importlib
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from bisect import bisect_left
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from batchbrew.errors import UserError
from batchbrew.solver.data import lmdb_file

PROBES = 64  # records of which a digest is made


class Store(ABC):
    """An open data base, read-only; ``mark`` is the file by which its folder is known."""

    kind: ClassVar[str]
    mark: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    @abstractmethod
    def keys(self) -> list[bytes]:
        """All keys, in order."""

    @abstractmethod
    def value(self, key: bytes) -> bytes:
        """Return the record under ``key``. Raises UserError where the data base is damaged."""

    def record(self, number: int) -> bytes:
        """Return the record under key number ``number``."""
        return self.value(self.keys[number])

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def digest(self) -> str:
        """``sha256:...`` over the number of records and some of them, evenly spread: that of an LMDB and a LevelDB with
        the same records is the same, wherever they lie.
        """
        digest = hashlib.sha256(f"{len(self)} records\n".encode())
        for probe in range(min(PROBES, len(self))):
            key = self.keys[probe * (len(self) - 1) // max(1, min(PROBES, len(self)) - 1)]
            for part in (key, self.value(key)):
                digest.update(len(part).to_bytes(8, "little") + part)
        return f"sha256:{digest.hexdigest()}"

    def text(self, key: bytes) -> str:
        """Return ``key`` for messages."""
        return key.decode("utf-8", "backslashreplace")


class Lmdb(Store):
    """An LMDB folder (``data.mdb``): its unnamed data base, read without locks and without LMDB's library."""

    kind = "LMDB"
    mark = lmdb_file.NAME

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = lmdb_file.LmdbFile(path)

    @cached_property
    def keys(self) -> list[bytes]:
        """All keys, in order."""
        return self._file.keys

    def value(self, key: bytes) -> bytes:
        """Return the record under ``key``."""
        return self._file.value(bisect_left(self.keys, key))

    def record(self, number: int) -> bytes:
        """Return the record under key number ``number``."""
        return self._file.value(number)


class LevelDb(Store):
    """A LevelDB folder (``CURRENT``).

    LevelDB locks what it opens and rewrites it even when only asked to read. So it is given a scratch folder with links
    to the files; then any number of processes may read, also where nobody may write. Its tables are linked under their
    older suffix ``.sst``, which is read but never written: nothing can be written through a link.
    """

    kind = "LevelDB"
    mark = "CURRENT"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        plyvel = _plyvel(path)
        self._error: type[Exception] = plyvel.Error
        folder = tempfile.mkdtemp(prefix="batchbrew-leveldb-")
        self._folder = Path(folder)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        try:
            _link(path.resolve(), Path(folder))
            self._db: Any = plyvel.DB(folder, create_if_missing=False)
        except (OSError, plyvel.Error) as error:
            raise UserError(f"{path}: cannot open the LevelDB: {_plain(error, Path(folder))}") from None
        weakref.finalize(self, self._db.close)  # before the folder goes: the last one is called first

    @cached_property
    def keys(self) -> list[bytes]:
        """All keys, in order; LevelDB reads all records to learn them."""
        try:
            return list(self._db.iterator(include_value=False))
        except self._error as error:
            raise UserError(f"{self.path}: the LevelDB is damaged: {_plain(error, self._folder)}") from None

    def value(self, key: bytes) -> bytes:
        """Return the record under ``key``."""
        try:
            found: bytes | None = self._db.get(key)
        except self._error as error:
            raise UserError(f"{self.path}: the LevelDB is damaged: {_plain(error, self._folder)}") from None
        if found is None:
            raise UserError(f"{self.path}: the LevelDB is damaged: record '{self.text(key)}' cannot be found")
        return found


_STORES: tuple[type[Store], ...] = (Lmdb, LevelDb)
# All readers of a data base share what is known of it.
_open: weakref.WeakValueDictionary[tuple[Any, ...], Store] = weakref.WeakValueDictionary()


def is_store(path: Path) -> bool:
    """Tell whether ``path`` is the folder of an LMDB or a LevelDB."""
    return any((path / cls.mark).is_file() for cls in _STORES)


def open_store(path: Path) -> Store:
    """Return the data base in the folder ``path``, whichever kind it is. Raises UserError."""
    cls = next((cls for cls in _STORES if (path / cls.mark).is_file()), None)
    if cls is None:
        raise UserError(f"{path}: neither an LMDB ({Lmdb.mark}) nor a LevelDB ({LevelDb.mark}) is in this folder")
    stat = (path / cls.mark).stat()
    key = (cls, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    store = _open.get(key)
    if store is None:
        store = _open[key] = cls(path)
    if not len(store):
        raise UserError(f"{path}: the {store.kind} is empty")
    return store


def _plyvel(path: Path) -> Any:
    try:
        return importlib.import_module("plyvel")
    except ImportError:
        raise UserError(
            f"{path}: is a LevelDB, which needs the package plyvel: pip install 'batchbrew[leveldb]'"
        ) from None


def _link(source: Path, folder: Path) -> None:
    manifest = (source / "CURRENT").read_text(encoding="utf-8", errors="replace").strip()
    for file in source.iterdir():
        if file.name in ("CURRENT", manifest):
            shutil.copyfile(file, folder / file.name)
        elif file.suffix in (".ldb", ".sst"):
            (folder / f"{file.stem}.sst").symlink_to(file)
        elif file.suffix == ".log":
            (folder / file.name).symlink_to(file)


def _plain(error: Exception, path: Path) -> str:
    """Return what a library says, without the bytes and the folder it puts around it."""
    first = error.args[0] if error.args else ""
    text = first.decode("utf-8", "replace") if isinstance(first, bytes) else str(error)
    return text.replace(f"{path}: ", "").replace(f"{path}/", "").strip() or type(error).__name__
