"""Find, make and list prepared data sets: from what a user writes (a name or a path) to an open `DataSet`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchbrew.errors import UserError, did_you_mean
from batchbrew.protos import messages as pb
from batchbrew.solver.data.download import ARCHIVES, Progress, fetch, is_archive, unpack
from batchbrew.solver.data.part import DataSet, Part, Samples
from batchbrew.solver.data.prepared import open_dataset, write_dataset
from batchbrew.solver.data.records import Records
from batchbrew.solver.data.sources import SOURCES, Raw, Source
from batchbrew.solver.data.store import LevelDb, Lmdb, is_store, open_store

FILES = "files"  # the origin of a data set made from files the user named


@dataclass(frozen=True)
class Row:
    """Describe one data set in the list: a known one, prepared or not, or another prepared file in the data home.

    ``note`` is the title of a known data set, or what is wrong with its file.
    """

    name: str
    prepared: bool
    train: int
    test: int
    shape: tuple[int, int, int] | None
    digest: str
    path: Path
    note: str


def data_home(folder: Path | None = None) -> Path:
    """Return the folder of the prepared data sets: ``folder``, else $BATCHBREW_DATA, else ``./datasets``."""
    return folder if folder is not None else Path(os.environ.get("BATCHBREW_DATA") or "datasets")


def resolve(source: str, folder: Path | None = None) -> DataSet:
    """Return the data set that ``source`` names: a known name, a prepared file, or a raw folder or archive.

    A name means ``<data home>/<name>.h5``, where the data home is `data_home` of ``folder``; ``generated`` is computed
    there on first use. A raw folder or archive is recognised by its files and prepared in the data home once; when its
    files change, again. Any number of processes may call this at once. Raises UserError.
    """
    home = data_home(folder)
    known = SOURCES.get(source)() if source in SOURCES else None
    if known is not None and known.recipe:
        return _computed(known, source, home)
    prepared = home / f"{source}.h5"
    if os.sep not in source and prepared.is_file():
        return open_dataset(prepared)
    if known is not None:
        get = f"'batchbrew data get {source}' or " if known.downloads else ""
        raise UserError(
            f"data set '{source}' is not prepared in {home}: run {get}'batchbrew data make {source} --from FOLDER'"
        )
    path = Path(source).expanduser()
    if path.is_dir() or (path.is_file() and is_archive(path)):
        return _raw(path, home)
    if path.is_file():
        return open_dataset(path)
    if os.sep in source or path.suffix:
        raise UserError(f"{source}: no such file or folder, and no data set has this name ({_known_names()})")
    raise UserError(f"unknown data set '{source}'{did_you_mean(source, SOURCES)} ({_known_names()}, or a path)")


def open_samples(source: str, phase: int, backend: int | None = None) -> Samples:
    """Return what a Data layer's ``source`` names: the folder of an LMDB or LevelDB, or the part of a data set.

    Which data base it is shows in the folder. ``backend`` (that of DataParameter, None if not given) only says what to
    miss where there is none. Raises UserError.
    """
    path = Path(source).expanduser()
    if is_store(path):
        return Records(open_store(path))
    known = source in SOURCES or (data_home() / f"{source}.h5").is_file() or path.is_file()
    if not known and (path.is_dir() or backend is not None) and not _holds_raw_files(path):
        kind, mark = ("LMDB", Lmdb.mark) if backend == pb.DataParameter.LMDB else ("LevelDB", LevelDb.mark)
        if path.is_dir():
            raise UserError(
                f"{source}: the folder holds no {kind} (no {mark}) and no known data set ({_known_names()})"
            )
        raise UserError(
            f"{source}: there is no such {kind} in {Path.cwd()}, and no data set has this name"
            f"{did_you_mean(source, SOURCES)} ({_known_names()})"
        )
    found = resolve(source)
    return found.train if phase == pb.TRAIN else found.test


def read_parts(source: str, folder: Path | None = None) -> tuple[str, Part, Part]:
    """Return name, training and test part of what `resolve` would open; raw files are read without preparing them."""
    path = Path(source).expanduser()
    if source in SOURCES or not (path.is_dir() or is_archive(path)):
        found = resolve(source, folder)
        return found.name, found.train, found.test
    with _folder_of(path, data_home(folder)) as place:
        for name in SOURCES:
            known = SOURCES.get(name)()
            files = known.find(place)
            if files is not None:
                raw = known.read(files)
                return name, raw.train, raw.test
    raise UserError(f"{path}: no files of a known data set found there ({_known_names()})")


def make(name: str, source_folder: Path | None, home: Path) -> Path:
    """Prepare the known data set ``name`` from a raw folder or archive and return its file, ``home/<name>.h5``.

    ``source_folder`` is None for a computed data set. A file of that name is replaced. Raises UserError.
    """
    source = SOURCES.get(name)()
    if source.recipe:
        if source_folder is not None:
            raise UserError(f"data set '{name}' is computed: make it without --from")
        return _write(home / f"{name}.h5", name, source.generate(), source.recipe).path
    if source_folder is None:
        raise UserError(f"data set '{name}' is made from files: say where they are with --from FOLDER")
    with _folder_of(source_folder, home) as folder:
        place = source.find(folder)
        if place is None:
            raise UserError(f"{source_folder}: no files of data set '{name}' found there")
        return _write(home / f"{name}.h5", name, source.read(place), FILES).path


def get(name: str, home: Path, progress: Progress | None = None) -> Path:
    """Download the official files of ``name``, check them, prepare ``home/<name>.h5`` and return it.

    Nothing is done if the file was already made from these downloads. ``progress`` is called with (file name, bytes so
    far, bytes in all). The downloads are removed when the file is complete. Raises UserError.
    """
    source = SOURCES.get(name)()
    if not source.downloads:
        raise UserError(f"data set '{name}' is not downloaded: run 'batchbrew data make {name}'")
    target = home / f"{name}.h5"
    origin = " ".join(download.checksum for download in source.downloads)
    if _current(target, origin) is not None:
        return target
    place = home / ".downloads" / name
    files = [fetch(download, place, progress) for download in source.downloads]
    with _scratch(home) as folder:
        for file in files:
            if is_archive(file):
                unpack(file, folder)
            else:
                shutil.copyfile(file, folder / file.name)
        found = source.find(folder)
        if found is None:
            raise UserError(f"{place}: the downloaded files do not hold data set '{name}'")
        _write(target, name, source.read(found), origin)
    for file in files:
        file.unlink(missing_ok=True)
    for empty in (place, place.parent):
        with contextlib.suppress(OSError):
            empty.rmdir()
    return target


def listing(home: Path) -> list[Row]:
    """Return a row for each known data set and for each other prepared file in ``home``, in alphabetical order."""
    others = {path.stem for path in home.glob("*.h5")} if home.is_dir() else set()
    return [_row(name, home / f"{name}.h5") for name in sorted(others | set(SOURCES))]


def _row(name: str, path: Path) -> Row:
    title = SOURCES.get(name).title if name in SOURCES else "prepared file"
    if not path.is_file():
        return Row(name, False, 0, 0, None, "", path, title)
    try:
        found = open_dataset(path)
    except UserError as error:
        return Row(name, False, 0, 0, None, "", path, str(error))
    return Row(name, True, len(found.train), len(found.test), found.shape, found.digest, path, title)


def _computed(source: Source, name: str, home: Path) -> DataSet:
    """Open a computed data set, computing it first if it is missing, damaged, or of another recipe.

    Processes that start together may each compute it; each writes a file of its own with the same bytes and renames it.
    """
    path = home / f"{name}.h5"
    return _current(path, source.recipe) or _write(path, name, source.generate(), source.recipe)


def _raw(path: Path, home: Path) -> DataSet:
    """Open the data set prepared from the raw files at ``path``, preparing it first if they are new or changed.

    The prepared file's name holds a hash over place, size and time of the raw files.
    """
    if path.is_file():
        tag = _tag([path])
        for name in SOURCES:  # an archive that was prepared before is not unpacked to learn what it holds
            ready = _current(home / f"{name}-{tag}.h5", FILES)
            if ready is not None:
                return ready
    with _folder_of(path, home) as folder:
        for name in SOURCES:
            source = SOURCES.get(name)()
            place = source.find(folder)
            if place is not None:
                tag = _tag([path] if path.is_file() else sorted(file for file in place.iterdir() if file.is_file()))
                target = home / f"{name}-{tag}.h5"
                return _current(target, FILES) or _write(target, name, source.read(place), FILES)
    raise UserError(f"{path}: no files of a known data set found there ({_known_names()})")


def _holds_raw_files(path: Path) -> bool:
    return path.is_dir() and any(SOURCES.get(name)().find(path) is not None for name in SOURCES)


def _tag(files: list[Path]) -> str:
    entries = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:8]


@contextlib.contextmanager
def _folder_of(path: Path, home: Path) -> Iterator[Path]:
    """Give the folder ``path``, or a scratch folder with what the archive ``path`` holds."""
    try:
        if path.is_dir():
            yield path
        elif path.is_file() and is_archive(path):
            with _scratch(home) as folder:
                unpack(path, folder)
                yield folder
        elif path.exists():
            raise UserError(f"{path}: neither a folder nor an archive ({', '.join(ARCHIVES)})")
        else:
            raise UserError(f"{path}: no such folder or archive")
    except OSError as error:  # a folder or file in it that may not be read
        raise UserError(f"{error.filename or path}: cannot read: {error.strerror or error}") from None


@contextlib.contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    # In the data home, not in /tmp: an unpacked data set may be larger than a compute node's memory-backed /tmp.
    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".unpack-", dir=home)
    except OSError as error:
        raise UserError(f"{home}: cannot write there: {error.strerror or error}") from None
    with folder as name:
        yield Path(name)


def _write(path: Path, name: str, raw: Raw, origin: str) -> DataSet:
    return write_dataset(path, name, raw.classes, raw.train, raw.test, origin=origin)


def _current(path: Path, origin: str) -> DataSet | None:
    """Return the data set at ``path`` if it is sound and was made from ``origin``, else None: make it again."""
    with contextlib.suppress(UserError):
        found = open_dataset(path)
        return found if found.origin == origin else None
    return None


def _known_names() -> str:
    return f"known: {', '.join(SOURCES.names())}"
