"""``batchbrew data convert`` and ``data mean``: what is written, that it is whole or absent, and what is refused."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from data_support import datum, picture, write_leveldb, write_lmdb, write_picture

from batchbrew.cli import run
from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.solver.data import convert, dataset
from batchbrew.solver.data.part import Part
from batchbrew.solver.data.sources import cifar10

SHARED = Path(__file__).parents[3] / "shared"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHBREW_DATA", str(tmp_path / "home"))


def done(capfd, *arguments):
    """Run a command that succeeds without a word on stderr, and return what it prints."""
    assert run(["data", *map(str, arguments)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def refused(capfd, *arguments):
    """Run a command that fails with one line and leaves everything as it was, and return the line."""
    before = sorted(Path().rglob("*"))
    assert run(["data", *map(str, arguments)]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("batchbrew: error: ")
    assert sorted(Path().rglob("*")) == before
    return err.removeprefix("batchbrew: error: ").rstrip()


def records(path):
    """Return what LMDB's own library finds, parsed by the generated class."""
    with lmdb.open(str(path), readonly=True) as env, env.begin() as transaction:
        return [(key.decode(), pb.Datum.FromString(value)) for key, value in transaction.cursor()]


def prepared(name, shape, dtype, train=6, test=3):
    rng = np.random.default_rng(0)
    parts = [
        Part((rng.random((n, *shape)) * 255).astype(dtype), rng.integers(0, 4, n, np.int32)) for n in (train, test)
    ]
    return dataset.write_dataset(Path(name), Path(name).stem, ("0", "1", "2", "3"), *parts)


def test_cifar10(capfd):
    content = np.random.default_rng(0).integers(0, 10, (6, 4, 3073), np.uint8)
    for name, batch in zip((*cifar10.BATCHES, "test_batch"), content, strict=True):
        Path(f"{name}.bin").write_bytes(batch.tobytes())
    assert done(capfd, "convert", ".", "out") == (
        "out/cifar10_train_lmdb: 20 records\nout/cifar10_test_lmdb: 4 records\n"
    )
    for name, rows in (("train", content[:5].reshape(20, 3073)), ("test", content[5])):
        found = records(f"out/cifar10_{name}_lmdb")
        assert [key for key, _ in found] == [f"{i:05d}" for i in range(len(rows))]
        for (_, record), row in zip(found, rows, strict=True):
            assert (record.channels, record.height, record.width, record.label) == (3, 32, 32, row[0])
            assert record.data == row[1:].tobytes() and not record.encoded
    assert sorted(path.name for path in Path("out/cifar10_train_lmdb").iterdir()) == ["data.mdb", "lock.mdb"]
    assert not Path("home").exists()
    assert "out/cifar10_train_lmdb: exists already - remove it" in refused(capfd, "convert", ".", "out")


def test_mnist(capfd):
    for name, count in (("train", 5), ("t10k", 2)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        head = struct.pack(">4I", 0x803, count, 28, 28)
        Path(f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
        Path(f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + bytes(range(count)))
    done(capfd, "convert", ".", "out")
    found = records("out/mnist_train_lmdb")
    assert [key for key, _ in found] == [f"{i:08d}" for i in range(5)]
    images = np.random.default_rng(5).integers(0, 256, (5, 28, 28), np.uint8)
    assert [record.data for _, record in found] == [image.tobytes() for image in images]
    assert [(r.channels, r.height, r.width, r.label) for _, r in found] == [(1, 28, 28, i) for i in range(5)]


@pytest.mark.parametrize(("shape", "dtype"), [((3, 4, 5), np.uint8), ((1, 2, 2), np.float32)])
def test_there_and_back(capfd, shape, dtype):
    first = prepared("some.h5", shape, dtype)
    done(capfd, "convert", "some.h5", "out")
    text = done(capfd, "convert", "out/some_train_lmdb", "out/some_test_lmdb", "again.h5")
    assert text == "again.h5: 6 training and 3 test samples\n"
    again = dataset.open_dataset("again.h5", verify=True)
    assert again.digest == first.digest and again.name == "again"
    assert np.array_equal(again.mean, first.mean)


def test_a_leveldb_becomes_an_lmdb(capfd):
    write_leveldb("level", [datum(picture(2, 2, i), i) for i in range(5)])
    assert done(capfd, "convert", "level", "base") == "base: 5 records\n"
    assert [(key, r.label) for key, r in records("base")] == [(f"{i:05d}", i) for i in range(5)]


def listing(*rows):
    Path("list.txt").write_text("".join(f"{row}\n" for row in rows))


@pytest.fixture
def pictures():
    write_picture("root/a.png", picture(4, 6))
    write_picture("root/sub dir/b.jpg", picture(8, 8, 1))
    listing("a.png 3", "sub dir/b.jpg 1")


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", [None, (5, 7)])
def test_lists_of_pictures(capfd, pictures, gray, size):
    flags = ["--gray"] * gray + ([f"--resize-height={size[0]}", f"--resize-width={size[1]}"] if size else [])
    assert done(capfd, "convert", *flags, "root", "list.txt", "base") == "base: 2 records\n"
    found = records("base")
    assert [(key, r.label) for key, r in found] == [("00000000_a.png", 3), ("00000001_sub dir/b.jpg", 1)]
    for (_, record), name in zip(found, ("a.png", "sub dir/b.jpg"), strict=True):
        image = cv2.imread(f"root/{name}", cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
        image = cv2.resize(image, size[::-1]) if size else image
        image = image.reshape(*image.shape[:2], -1).transpose(2, 0, 1)
        assert (record.channels, record.height, record.width) == image.shape
        assert record.data == image.tobytes() and not record.encoded


def test_encoded_pictures(capfd, pictures):
    done(capfd, "convert", "--encoded", "root", "list.txt", "own")
    assert all(record.encoded and not record.channels for _, record in records("own"))
    names = ("a.png", "sub dir/b.jpg")
    assert [r.data for _, r in records("own")] == [Path(f"root/{name}").read_bytes() for name in names]
    done(capfd, "convert", "--encode-type", "png", "--gray", "root", "list.txt", "png")
    for (_, record), name in zip(records("png"), names, strict=True):
        image = cv2.imdecode(np.frombuffer(record.data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert (image == cv2.imread(f"root/{name}", cv2.IMREAD_GRAYSCALE)).all()
    done(capfd, "convert", "--encoded", "--resize-width=3", "--resize-height=2", "root", "list.txt", "small")
    starts = [bytes(r.data[:4]) for _, r in records("small")]
    assert starts[0] == b"\x89PNG" and starts[1][:3] == b"\xff\xd8\xff"
    write_picture("root/jpeg.jpeg", picture(4, 4))
    listing("jpeg.jpeg 0")
    done(capfd, "convert", "--encode-type=JPG", "root", "list.txt", "kept")
    assert records("kept")[0][1].data == Path("root/jpeg.jpeg").read_bytes()


def test_shuffled_lists(capfd):
    write_picture("a.png", picture(1, 1))
    listing(*(f"a.png {i}" for i in range(20)))
    labels = {}
    for name, flags in (
        ("plain", []),
        ("one", ["--shuffle"]),
        ("same", ["--shuffle"]),
        ("two", ["--shuffle", "--seed=2"]),
    ):
        done(capfd, "convert", *flags, ".", "list.txt", name)
        found = records(name)
        assert [key for key, _ in found] == [f"{i:08d}_a.png" for i in range(20)]
        labels[name] = [record.label for _, record in found]
    assert labels["plain"] == list(range(20)) and labels["one"] == labels["same"]
    assert len({tuple(order) for order in labels.values()}) == 3
    assert all(sorted(order) == list(range(20)) for order in labels.values())


def test_pictures_that_cannot_be_read_are_left_out(capfd, pictures):
    Path("root/bad.png").write_text("no picture")
    listing("gone.png 0", "a.png 3", "bad.png 1")
    assert run(["data", "convert", "root", "list.txt", "base"]) == 0
    out, err = capfd.readouterr()
    assert out == "base: 1 records\n"
    assert err == (
        "batchbrew: left out 2 of 3 pictures that cannot be read, first root/gone.png: No such file or directory\n"
    )
    assert [key for key, _ in records("base")] == ["00000001_a.png"]
    listing("gone.png 0")
    assert run(["data", "convert", "root", "list.txt", "none"]) == 2
    assert "batchbrew: error: none: not written: there are no records" in capfd.readouterr().err
    assert not Path("none").exists()


def test_more_records_than_a_transaction_and_than_the_first_map(capfd, monkeypatch):
    monkeypatch.setattr(convert, "MAP_BYTES", 1 << 16)
    prepared("some.h5", (3, 10, 10), np.uint8, train=2500, test=1)
    done(capfd, "convert", "some.h5", "out")
    found = records("out/some_train_lmdb")
    images = dataset.open_dataset("some.h5").train.images
    assert len(found) == 2500 and found[-1][0] == "00002499"
    assert all(record.data == image.tobytes() for (_, record), image in zip(found, images, strict=True))


def test_nothing_is_left_of_a_failure(capfd, pictures):
    assert refused(capfd, "convert", "--check-size", "root", "list.txt", "base") == (
        "root/sub dir/b.jpg: has shape (3, 8, 8), those before (3, 4, 6): resize them, or do not check sizes"
    )
    Path("base").mkdir()
    Path("base/data.mdb").write_text("mine")
    assert refused(capfd, "convert", "root", "list.txt", "base").startswith("base: exists already - remove it, or")
    listing(f"{'x/../' * 200}a.png 0")
    Path("root/x").mkdir()
    assert refused(capfd, "convert", "root", "list.txt", "long") == (
        "long: cannot write: a key is longer than 511 bytes - use shorter paths in the list"
    )
    Path("file").write_text("")
    listing("a.png 0")
    assert "cannot write: " in refused(capfd, "convert", "root", "list.txt", "file/base")


def test_an_interruption_leaves_nothing():
    def interrupted():
        yield b"0", datum([[[1]]])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert.write_lmdb(Path("base"), interrupted())
    assert list(Path().iterdir()) == []


def test_a_full_disk_is_one_line(monkeypatch):
    def full(*_):
        raise lmdb.Error("mdb_txn_commit: No space left on device")

    monkeypatch.setattr(convert, "_commit", full)
    with pytest.raises(UserError, match=r"^base: cannot write: mdb_txn_commit: No space left on device$"):
        convert.write_lmdb(Path("base"), [(b"0", b"")])
    assert list(Path().iterdir()) == []


def test_wrong_command_lines(capfd, pictures):
    assert "takes one or two sources and a target (found 4 names)" in refused(capfd, "convert", "a", "b", "c", "d")
    one = refused(capfd, "convert", "--resize-width=3", "root", "list.txt", "base")
    assert one == "give --resize-width and --resize-height together, or neither"
    assert refused(capfd, "convert", "root", "gone.txt", "base").startswith("gone.txt: no such file")
    assert refused(capfd, "convert", "nothing", "out").startswith("unknown data set 'nothing' (known: ")
    assert refused(capfd, "convert", "root", "out").startswith("root: no files of a known data set found there")
    assert refused(capfd, "convert", "--encode-type=tiff9", "root", "list.txt", "b") == (
        "cannot write pictures of type 'tiff9': use jpg or png"
    )
    write_picture("root/plain.png", picture(2, 2))
    Path("root/plain.png").rename("root/plain")
    listing("plain 0")
    assert refused(capfd, "convert", "--encoded", "root", "list.txt", "b") == (
        "root/plain: the name does not tell the type of the picture: say --encode-type"
    )


def test_data_bases_that_are_no_data_set(capfd):
    write_lmdb("sizes", [datum(picture(2, 2), 0), datum(picture(2, 3), 0)])
    write_lmdb("good", [datum(picture(2, 2), 0)])
    write_lmdb("below", [datum(picture(2, 2), -1)])
    text = "sizes: sample 1 has shape (3, 2, 3), the first one (3, 2, 2): all must have one size"
    assert refused(capfd, "convert", "sizes", "good", "out.h5") == text
    assert refused(capfd, "mean", "sizes") == text
    assert "labels reach from -1 to -1" in refused(capfd, "convert", "good", "below", "out.h5")


def test_mean(capfd):
    first = prepared("some.h5", (3, 4, 5), np.uint8, train=40)
    done(capfd, "convert", "some.h5", "out")
    lines = done(capfd, "mean", "out/some_train_lmdb").splitlines()
    means = first.mean.mean(axis=(1, 2), dtype=float)
    assert lines == [*(f"mean_value channel [{i}]: {mean:g}" for i, mean in enumerate(means)), "mean.binaryproto"]
    blob = pb.BlobProto.FromString(Path("mean.binaryproto").read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 3, 4, 5) and not blob.HasField("shape")
    assert np.array_equal(binary.blob_to_array(blob)[0], first.mean)
    assert done(capfd, "mean", "some.h5", "other").endswith("other\n")
    assert Path("other").read_bytes() == Path("mean.binaryproto").read_bytes()


def test_mean_of_encoded_and_float_records(capfd):
    content = cv2.imencode(".png", np.ascontiguousarray(picture(2, 3).transpose(1, 2, 0)))[1].tobytes()
    write_lmdb("encoded", [datum(data=content, encoded=True)])
    done(capfd, "mean", "encoded")
    blob = binary.read("mean.binaryproto", pb.BlobProto)
    assert (binary.blob_to_array(blob)[0] == picture(2, 3)).all()
    write_lmdb("floats", [datum(channels=1, height=1, width=2, float_data=[x, 0.5]) for x in (1, 2.5)])
    assert done(capfd, "mean", "floats").startswith("mean_value channel [0]: 1.125\n")


@pytest.mark.skipif(not (SHARED / "conformance").is_dir(), reason="the recordings are not in ../shared")
def test_mean_of_cifar10_is_caffes(capfd):
    command = [sys.executable, str(SHARED / "data" / "unpack_cifar10.py"), "."]
    subprocess.run(command, check=True, capture_output=True)
    done(capfd, "convert", ".", "out")
    done(capfd, "mean", "out/cifar10_train_lmdb")
    recorded = SHARED / "conformance" / "cifar10_quick" / "mean.binaryproto"
    assert Path("mean.binaryproto").read_bytes() == recorded.read_bytes()
