"""Rows of datasets in a list of HDF5 files, as numbered samples of any number of axes.

All datasets of one file have the same first axis, N samples; the other axes are the same in all files.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError, did_you_mean
from batchbrew.protos.files import is_file, read_bytes
from batchbrew.solver.data.order import Numbers, permutation
from batchbrew.solver.hdf5 import DAMAGED, read_values

CACHE_BYTES = 1 << 30  # files kept in memory; one is kept however large it is
Rows = list[NDArray[np.float32]]  # of one file, one array a dataset


class Hdf5Rows:
    """The files that ``source`` lists (separated by white space), of each the datasets ``names``.

    A relative file name counts from the working directory or, where there is none, from the folder of the list.
    ``shapes`` are those of one row, by dataset. With a ``seed`` each pass takes the files and the rows of each file in
    another order.
    """

    def __init__(self, source: str, names: Sequence[str], seed: int | None = None) -> None:
        listed = read_bytes(Path(source)).decode("utf-8", "surrogateescape").split()
        if not listed:
            raise UserError(f"{source}: the list is empty: expected the names of HDF5 files")
        self._files = [_find(name, source) for name in listed]
        self._names = tuple(names)
        self._seed = seed
        heads = [_head(file, self._names) for file in self._files]
        self.shapes = heads[0][1]
        for file, (_, shapes) in zip(self._files, heads, strict=True):
            for name, shape, first in zip(self._names, shapes, self.shapes, strict=True):
                if shape != first:
                    raise UserError(f"{file}: rows of '{name}' have shape {shape}, those in {self._files[0]} {first}")
        self._counts = np.array([count for count, _ in heads])
        if not self._counts.sum():
            raise UserError(f"{source}: the files hold no rows")
        self._loaded: OrderedDict[int, Rows] = OrderedDict()
        self._pass = -1

    def __len__(self) -> int:
        return int(self._counts.sum())

    @property
    def digest(self) -> str:
        """``sha256:...`` over the names of the datasets, the numbers of rows and the lengths of the files."""
        entries = [(int(count), file.stat().st_size) for count, file in zip(self._counts, self._files, strict=True)]
        return f"sha256:{hashlib.sha256(repr((self._names, self.shapes, entries)).encode()).hexdigest()}"

    def take(self, positions: Numbers, outs: Sequence[NDArray[Any]]) -> None:
        """Write the rows at ``positions`` int64[n] of the endless stream of passes to ``outs``, arrays (n, ...)."""
        passes, offsets = np.divmod(positions, len(self))
        for epoch in np.unique(passes).tolist():
            self._turn_to(epoch)
            here = np.flatnonzero(passes == epoch)
            places = np.searchsorted(self._ends, offsets[here], side="right")
            for place in np.unique(places).tolist():
                file, mine = int(self._order[place]), here[places == place]
                rows = offsets[mine] - (self._ends[place] - self._counts[file])
                if self._seed is not None:
                    rows = self._permuted(file)[rows]
                for out, values in zip(outs, self._load(file), strict=True):
                    out[mine] = values[rows]

    def _turn_to(self, epoch: int) -> None:
        """Put the files in their order of this pass."""
        if epoch != self._pass:
            count = len(self._files)
            self._order = np.arange(count) if self._seed is None else permutation(self._seed, epoch, count)
            self._ends = np.cumsum(self._counts[self._order])
            self._pass = epoch
            self._permutations: dict[int, Numbers] = {}

    def _permuted(self, file: int) -> Numbers:
        if file not in self._permutations:
            # Each file has a seed of its own, or files of equal length would be shuffled alike.
            seed = (self._seed or 0) + file + 1
            self._permutations[file] = permutation(seed, self._pass, int(self._counts[file]))
        return self._permutations[file]

    def _load(self, file: int) -> Rows:
        if file not in self._loaded:
            self._loaded[file] = _read(self._files[file], self._names)
            while len(self._loaded) > 1 and sum(a.nbytes for rows in self._loaded.values() for a in rows) > CACHE_BYTES:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(file)
        return self._loaded[file]


def _find(name: str, source: str) -> Path:
    beside = Path(source).parent / name
    return beside if not is_file(Path(name)) and is_file(beside) else Path(name)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such HDF5 file") from None
    except DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: failed reading the HDF5 file ({reason})") from None


def _head(path: Path, names: Sequence[str]) -> tuple[int, list[tuple[int, ...]]]:
    """Return the number of rows in the file and the shape of one row of each dataset."""
    with _opened(path) as file:
        found = [_dataset(file, name, path) for name in names]
        counts = {name: dataset.shape[0] for name, dataset in zip(names, found, strict=True)}
        if len(set(counts.values())) > 1:
            sizes = ", ".join(f"'{name}' {count}" for name, count in counts.items())
            raise UserError(f"{path}: the datasets differ in their number of rows: {sizes}")
        return int(found[0].shape[0]), [tuple(dataset.shape[1:]) for dataset in found]


def _dataset(file: Any, name: str, path: Path) -> Any:
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        known = ", ".join(file) or "none"
        raise UserError(f"{path}: has no dataset '{name}'{did_you_mean(name, file)} (found: {known})")
    if dataset.dtype.kind not in "iufb":
        raise UserError(f"{path}: dataset '{name}' holds {dataset.dtype} values, expected integers or floats")
    if not dataset.shape:
        raise UserError(f"{path}: dataset '{name}' is a single value, expected rows")
    return dataset


def _read(path: Path, names: Sequence[str]) -> Rows:
    with _opened(path) as file:
        return [read_values(_dataset(file, name, path)) for name in names]
