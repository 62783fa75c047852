"""MNIST: idx files, gzipped or not, are read; wrong magic numbers, sizes and cut files are refused by name."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from batchbrew.errors import UserError
from batchbrew.solver.data.sources import SOURCES, mnist

REAL = Path(__file__).parents[3] / "shared" / "data" / "mnist"
needs_pictures = pytest.mark.skipif(not REAL.is_dir(), reason="the real pictures are not in ../shared/data")


def idx(array):
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def write(folder, packed=(False, False, True, True), pattern="{}-idx{}-ubyte"):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    arrays = {}
    for part, count in (("train", 7), ("t10k", 3)):
        arrays[f"{part}-images"] = random.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{part}-labels"] = random.integers(0, 10, count, np.uint8)
    for (name, array), gz in zip(arrays.items(), packed, strict=True):
        path = folder / pattern.format(name, array.ndim)
        if gz:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(idx(array)))
        else:
            path.write_bytes(idx(array))
    return arrays


def read(folder):
    source = SOURCES.get("mnist")()
    place = source.find(folder)
    assert place is not None
    return source.read(place)


def refusal(folder):
    with pytest.raises(UserError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("packed", [(False,) * 4, (True,) * 4, (False, True, True, False)])
@pytest.mark.parametrize("pattern", ["{}-idx{}-ubyte", "{}.idx{}-ubyte"])
@pytest.mark.parametrize("below", [".", "mnist", "MNIST/raw"])
def test_round_trip(tmp_path, packed, pattern, below):
    arrays = write(tmp_path / below, packed, pattern)
    raw = read(tmp_path)
    assert raw.classes == tuple("0123456789") and raw.train.shape == (1, 28, 28)
    for part, name in ((raw.train, "train"), (raw.test, "t10k")):
        assert np.array_equal(part.images[:, 0], arrays[f"{name}-images"]) and part.images.dtype == np.uint8
        assert part.labels.tolist() == arrays[f"{name}-labels"].tolist() and part.labels.dtype == np.int32


@needs_pictures
def test_real_files():
    raw = read(REAL)
    assert len(raw.test) == 10_000 and raw.train.shape == (1, 28, 28)
    assert raw.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert raw.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # The counts of the test labels are published with the set.
    assert np.bincount(raw.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@needs_pictures
def test_checksums_of_the_official_test_files():
    from batchbrew.solver.data.download import checksum

    known = {download.name: download for download in mnist.Mnist.downloads}
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        assert checksum(REAL / name, "sha256:") == known[name].checksum
        assert (REAL / name).stat().st_size == known[name].size


def test_is_found_only_where_it_is(tmp_path):
    source = SOURCES.get("mnist")()
    assert source.find(tmp_path) is None and source.find(tmp_path / "none") is None


@pytest.mark.parametrize("name", ["train-labels", "t10k-images", "t10k-labels"])
def test_missing_file(tmp_path, name):
    write(tmp_path)
    next(tmp_path.glob(f"{name}*")).unlink()
    assert refusal(tmp_path).startswith(f"{tmp_path}: MNIST lacks {name}-idx")


IMAGES = idx(np.zeros((7, 28, 28), np.uint8))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (idx(np.zeros(7, np.uint8)), "idx magic number is 0x00000801, expected 0x00000803 - wrong or damaged file"),
        (IMAGES[::-1], "idx magic number is 0x00000000, expected 0x00000803 - wrong or damaged file"),
        (b"\x00", "idx magic number is nothing, expected 0x00000803 - wrong or damaged file"),
        (b"<html>not found</html>", "idx magic number is 0x3c68746d, expected 0x00000803 - wrong or damaged file"),
        (IMAGES[:-1], "5503 bytes do not fit the header's shape (7, 28, 28) - damaged or cut short, get it again"),
        (IMAGES + b"\n", "5505 bytes do not fit the header's shape (7, 28, 28) - damaged or cut short, get it again"),
        (IMAGES[:10], "10 bytes do not fit the header's shape () - damaged or cut short, get it again"),
        (
            struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1),
            "16 bytes do not fit the header's shape (4294967295,",
        ),
        (idx(np.zeros((0, 28, 28), np.uint8)), "16 bytes do not fit the header's shape (0, 28, 28)"),
        (b"", "the file is empty - get it again"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged(tmp_path, content, text, packed):
    write(tmp_path, (packed, False, False, False))
    path = next(tmp_path.glob("train-images*"))
    if packed and content:
        path.write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)
    assert refusal(tmp_path).startswith(f"{path}: {text}")


@pytest.mark.parametrize(
    "change", [lambda c: c[:-9], lambda c: c[:40], lambda c: b"no gzip", lambda c: c[:30] + bytes(30)]
)
def test_damaged_gzip(tmp_path, change):
    write(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    assert refusal(tmp_path).startswith(f"{path}: the gzip file is damaged or cut short (")


def test_a_gzip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "LIMIT", 1 << 20)
    write(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24)))
    assert refusal(tmp_path) == f"{path}: unpacks to more than 1048576 bytes, not an MNIST file"


def test_pictures_and_labels_must_belong_together(tmp_path):
    write(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(6, np.uint8)))
    assert refusal(tmp_path) == f"{path}: 6 labels for 7 pictures in train-images-idx3-ubyte"
    path.write_bytes(idx(np.full(7, 10, np.uint8)))
    assert refusal(tmp_path) == f"{path}: a label is 10, expected 0 to 9 - damaged or not MNIST"
