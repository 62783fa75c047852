"""Reading HDF5 files that may be damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.solver.memory import require

# What h5py raises for damage depends on where it lies: a name, a shape, a type, a checksum, an object of another kind.
DAMAGED = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


@contextmanager
def reading(path: Path, what: str) -> Iterator[h5py.File]:
    """Open the HDF5 file at ``path``, a ``what``; UserError for anything found wrong while the block reads it."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DAMAGED as error:
        raise UserError(f"{path}: damaged HDF5 {what}: {str(error) or type(error).__name__}") from None


def read_values(dataset: h5py.Dataset) -> NDArray[np.float32]:
    """Return the content of ``dataset`` as float32. TypeError for other things than numbers.

    UserError if no memory could hold what it says it has.
    """
    if dataset.dtype.kind not in "iufb":
        raise TypeError(f"dataset '{dataset.name}' holds {dataset.dtype} values, expected numbers")
    size = max(dataset.dtype.itemsize, np.dtype(np.float32).itemsize)
    require(dataset.size * size, f"{dataset.file.filename}: dataset '{dataset.name}'")
    return np.asarray(dataset, np.float32)
