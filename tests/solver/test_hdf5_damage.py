"""HDF5 files with damage in any place are refused in one line."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from batchbrew.errors import UserError
from batchbrew.solver.hdf5 import read_values, reading


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["data/ip/0"] = [1.0, 2.0]
        file["data/ip/1"] = "text"
    return path


def everything(path):
    with reading(path, "model") as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item[()] if isinstance(item, h5py.Dataset) else None}))
        return found


def test_a_good_file_is_read(path):
    assert list(everything(path)) == ["data", "data/ip", "data/ip/0", "data/ip/1"]


@pytest.mark.parametrize("signature", [b"\x89HDF", b"TREE", b"HEAP", b"SNOD"])
def test_damaged_structures(path, signature):
    """HDF5 reports them as OSError, KeyError or RuntimeError, depending on the structure and on the call."""
    path.write_bytes(path.read_bytes().replace(signature, b"????"))
    with pytest.raises(UserError, match=r"m\.h5: damaged HDF5 model: \S.*$"):
        everything(path)


@pytest.mark.parametrize(
    "use",
    [
        lambda file: file["none"],
        lambda file: file["data/ip/0"].visititems(print),
        lambda file: float(file["data/ip/1"][()]),
        lambda file: read_values(file["data/ip/1"]),
        lambda file: len(file["data/ip/1"]),
        lambda file: file["data/ip/0"][5],
        lambda file: file["data/ip/1"][()].decode("ascii").index("?"),
    ],
)
def test_what_is_not_where_it_should_be(path, use):
    with pytest.raises(UserError, match=r"m\.h5: damaged HDF5 model: "), reading(path, "model") as file:
        use(file)


def test_values_are_read_as_float32(path):
    with reading(path, "model") as file:
        found = read_values(file["data/ip/0"])
    assert found.dtype == np.float32
    assert found.tolist() == [1, 2]


def test_a_dataset_that_says_it_is_larger_than_the_memory(path):
    """HDF5 would make it, and fill it with zeros."""
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", (1 << 50, 4), "f2", chunks=(1, 4))
    with reading(path, "model") as file, pytest.raises(UserError) as error:
        read_values(file["huge"])
    assert str(error.value).startswith(f"{path}: dataset '/huge' would take 16,777,216.0 GiB of memory, there are ")


def test_users_errors_pass(path):
    with pytest.raises(UserError, match=r"^mine$"), reading(path, "model"):
        raise UserError("mine")
