"""The prepared file: what is written is read back, mapped and not loaded; anything else is refused in one line."""

import hashlib
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from batchbrew.errors import UserError
from batchbrew.solver.data import dataset, prepared
from batchbrew.solver.data.dataset import Part, open_dataset, write_dataset

CLASSES = ("ale", "bock", "stout")


def make_parts(dtype=np.uint8, train=11, test=5):
    random = np.random.default_rng(7)
    images = (random.random((train + test, 2, 4, 3)) * 255).astype(dtype)
    labels = (np.arange(train + test) % 3).astype(np.int32)
    return Part(images[:train], labels[:train]), Part(images[train:], labels[train:])


@pytest.fixture
def written(tmp_path):
    return write_dataset(tmp_path / "beer.h5", "beer", CLASSES, *make_parts())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_round_trip(tmp_path, dtype):
    train, test = make_parts(dtype)
    write_dataset(tmp_path / "beer.h5", "beer", CLASSES, train, test, origin="made up")
    found = open_dataset(tmp_path / "beer.h5", verify=True)
    assert (found.name, found.classes, found.origin) == ("beer", CLASSES, "made up")
    assert found.path == tmp_path / "beer.h5" and found.shape == (2, 4, 3)
    for part, original in ((found.train, train), (found.test, test)):
        assert len(part) == len(original) and part.shape == (2, 4, 3)
        assert part.images.dtype == dtype and part.labels.dtype == np.int32
        assert np.array_equal(part.images, original.images) and np.array_equal(part.labels, original.labels)
    mean = train.images.mean(axis=0, dtype=np.float64).astype(np.float32)
    assert np.array_equal(found.mean, mean) and found.mean.dtype == np.float32
    assert found.test.mean is found.train.mean


def test_arrays_are_read_only_maps_of_the_file(written):
    for part in (written.train, written.test):
        assert isinstance(part.images, np.memmap) and isinstance(part.labels, np.memmap)
        assert part.images.flags.aligned and part.images.ctypes.data % prepared.PAGE == 0
        assert part.labels.flags.aligned and np.shares_memory(part.images.base, written.train.images.base)
        with pytest.raises(ValueError, match="read-only"):
            part.images[0] = 0


def test_hdf5_does_not_keep_the_file_open(written):
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0
    with h5py.File(written.path, "r+") as file:  # HDF5 itself would refuse this if it had the file open for reading
        file.attrs["name"] = np.bytes_(b"porter")
    assert open_dataset(written.path).name == "porter"


def test_take_copies_samples(written):
    images, labels = written.train.take(np.array([4, 0, 4]))
    assert type(images) is np.ndarray and images.flags.writeable
    assert np.array_equal(images, written.train.images[[4, 0, 4]]) and labels.tolist() == [1, 0, 1]
    images, labels = written.train.take(np.array([], np.int64))
    assert images.shape == (0, 2, 4, 3) and labels.shape == (0,)
    with pytest.raises(IndexError):
        written.train.take(np.array([11]))


def test_part_refuses_arrays_that_do_not_belong_together():
    with pytest.raises(ValueError, match=r"not \(N,C,H,W\)"):
        Part(np.zeros((3, 1, 2, 2), np.uint8), np.zeros(2, np.int32))


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_dataset(tmp_path / name, "beer", CLASSES, *make_parts())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_digest_is_sha256_over_the_contents(written):
    train, test = make_parts()
    head = [list(CLASSES), [[11, 2, 4, 3], "|u1"], [[11], "<i4"], [[5, 2, 4, 3], "|u1"], [[5], "<i4"]]
    content = json.dumps(head).encode() + b"\n"
    for part in (train, test):
        content += part.images.tobytes() + part.labels.astype("<i4").tobytes()
    assert written.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    changed = Part(train.images, train.labels[::-1].copy())
    assert dataset.content_digest(CLASSES, changed, test) != written.digest


def test_mean_is_summed_in_float64():
    images = np.full((70_000, 1, 1, 1), 255, np.uint8)
    images[0] = 0
    assert dataset.mean_image(images)[0, 0, 0] == np.float32(255 * 69_999 / 70_000)
    large = np.full((5000, 1, 1, 1), 16_777_217.0, np.float64).astype(np.float32)
    assert dataset.mean_image(large)[0, 0, 0] == large[0, 0, 0, 0]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(written, monkeypatch):
    before = written.path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"beer\.h5: cannot write the data set: No space left on device"):
        write_dataset(written.path, "other", CLASSES, *make_parts(train=9))
    assert written.path.read_bytes() == before
    assert [path.name for path in written.path.parent.iterdir()] == ["beer.h5"]


def test_an_open_data_set_survives_being_replaced(written):
    before = np.array(written.train.images)
    write_dataset(written.path, "beer", CLASSES, *make_parts(train=6)[::-1])
    assert np.array_equal(written.train.images, before)


@pytest.mark.parametrize("length", [0, 1, 8, 100, 4096, 40_000, -4096, -1])
def test_cut_short(written, length):
    content = written.path.read_bytes()
    written.path.write_bytes(content[:length])
    with pytest.raises(UserError, match=r"beer\.h5: not a prepared data set, damaged or cut short \(.*\) - make it"):
        open_dataset(written.path)


def test_any_damaged_byte_is_refused_or_harmless(written):
    content = written.path.read_bytes()
    random = np.random.default_rng(3)
    refused = 0
    places = random.choice(np.flatnonzero(np.frombuffer(content, np.uint8)), 100, replace=False)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= int(random.integers(1, 256))
        written.path.write_bytes(damaged)
        try:
            found = open_dataset(written.path, verify=True)
        except UserError as error:
            refused += 1
            assert str(error).startswith(f"{written.path}: ") and "\n" not in str(error)
        else:
            assert len(found.train) == 11
    assert refused > 10


def test_changed_content_is_found_by_verify(written):
    content = bytearray(written.path.read_bytes())
    content[content.index(written.train.images.tobytes())] ^= 1
    written.path.write_bytes(content)
    open_dataset(written.path)
    with pytest.raises(UserError, match=r"beer\.h5: the content does not match its digest: the file is damaged - make"):
        open_dataset(written.path, verify=True)


def rewrite(written, change):
    with h5py.File(written.path, "r+") as file:
        change(file)
    with pytest.raises(UserError) as caught:
        open_dataset(written.path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{written.path}: ")


def replace(key, **settings):
    def change(file):
        data = settings.pop("data", None)
        data = file[key][()] if data is None else data
        del file[key]
        file.create_dataset(key, data=data, **settings)

    return change


def test_foreign_hdf5(written):
    def strip(file):
        del file.attrs["format"]

    assert rewrite(written, strip).startswith("an HDF5 file, but not a prepared data set (no attributes 'format' and")


def test_another_format(written):
    text = rewrite(written, lambda file: file.attrs.modify("format", 2))
    assert text == "has format 2, this version reads format 1 - make it again"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: f.attrs.__delitem__("classes"), "the data set is damaged"),
        (
            lambda f: f.attrs.modify("classes", np.bytes_(b"{}")),
            "the data set is damaged (attribute 'classes' is no list",
        ),
        (lambda f: f.__delitem__("test/labels"), "the data set is damaged (no dataset test/labels) - make it again"),
        (replace("train/images", chunks=(1, 2, 4, 3)), "the data set is damaged (train/images is empty or not stored"),
        (replace("train/images", chunks=True, compression="gzip"), "the data set is damaged (train/images is empty or"),
        (
            replace("train/images", data=np.zeros((11, 2, 4, 3))),
            "the data set is damaged (train/images has type float64",
        ),
        (
            replace("train/labels", data=np.zeros(12, "i4")),
            "the data set is damaged (images (11, 2, 4, 3) and labels (12,)",
        ),
        (replace("train/labels", data=np.full(11, 3, "i4")), "train labels reach from 3 to 3, but there are 3 classes"),
        (replace("test/labels", data=np.full(5, -1, "i4")), "test labels reach from -1 to -1, but there are 3 classes"),
        (
            replace("train/labels", data=np.zeros(11, "f4")),
            "train images are uint8 and labels float32, expected uint8 or",
        ),
        (
            replace("test/images", data=np.zeros((5, 2, 4, 4), "u1")),
            "test images are uint8 (2, 4, 4), train images uint8",
        ),
        (
            replace("train/mean", data=np.zeros((1, 4, 3), "f4")),
            "the data set is damaged (train/mean is float32 (1, 4, 3))",
        ),
    ],
)
def test_wrong_content(written, change, text):
    assert rewrite(written, change).startswith(text)


def test_links_and_outside_storage_are_not_followed(written, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(11 * 24))

    def link(file):
        del file["train/images"]
        file["train/images"] = h5py.SoftLink("/test/images")

    def outside(file):
        del file["train/images"]
        file.create_dataset("train/images", (11, 2, 4, 3), "u1", external=[(str(secret), 0, 11 * 24)])

    assert rewrite(written, link) == "the data set is damaged (no dataset train/images) - make it again"
    write_dataset(written.path, "beer", CLASSES, *make_parts())
    assert "train/images is empty or not stored in one piece" in rewrite(written, outside)


def test_not_hdf5_or_not_there(tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("batch_size: 100\n")
    with pytest.raises(UserError, match=r"text\.h5: not a prepared data set, damaged or cut short"):
        open_dataset(text)
    with pytest.raises(UserError, match=r"none\.h5: no such file - prepare the data set with 'batchbrew data make'"):
        open_dataset(tmp_path / "none.h5")
    with pytest.raises(UserError, match="cannot read: "):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("parts", "classes", "text"),
    [
        (lambda: make_parts(train=0), CLASSES, "data set 'x': the train part has no samples"),
        (lambda: make_parts(test=0), CLASSES, "data set 'x': the test part has no samples"),
        (make_parts, ("ale", "bock"), "data set 'x': train labels reach from 0 to 2, but there are 2 classes"),
        (
            lambda: make_parts(np.int16),
            CLASSES,
            "data set 'x': train images are int16 and labels int32, expected uint8",
        ),
        (
            lambda: (make_parts()[0], make_parts(np.float32)[1]),
            CLASSES,
            "data set 'x': test images are float32 (2, 4, 3), ",
        ),
    ],
)
def test_write_refuses(tmp_path, parts, classes, text):
    with pytest.raises(UserError) as caught:
        write_dataset(tmp_path / "x.h5", "x", classes, *parts())
    assert str(caught.value).startswith(text) and not list(tmp_path.iterdir())


def test_several_processes_write_the_same_file(tmp_path):
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from batchbrew.solver.data.dataset import Part, write_dataset\n"
        "part = Part(np.arange(30000, dtype=np.uint8).reshape(-1, 1, 10, 10), np.zeros(300, np.int32))\n"
        "for _ in range(10): assert len(write_dataset(Path(sys.argv[1]), 'x', ['a'], part, part).train) == 300\n"
    )
    path = tmp_path / "x.h5"
    running = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(open_dataset(path, verify=True).test) == 300 and list(tmp_path.iterdir()) == [path]
