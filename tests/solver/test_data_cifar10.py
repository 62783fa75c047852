"""CIFAR-10: both layouts give the same pictures; short, foreign and hostile files are refused by name."""

import io
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from batchbrew.errors import UserError
from batchbrew.solver.data.sources import SOURCES
from batchbrew.solver.data.sources.cifar10 import BATCHES, CLASSES

SHARED = Path(__file__).parents[3] / "shared" / "data"
SMALL = SHARED / "cifar10-small"
needs_pictures = pytest.mark.skipif(not SMALL.is_dir(), reason="the real pictures are not in ../shared/data")
FILES = (*BATCHES, "test_batch")


def records(count, seed):
    random = np.random.default_rng(seed)
    return random.integers(0, 10, count, dtype=np.uint8), random.integers(0, 256, (count, 3072), np.uint8)


def write_binary(folder, counts=(3, 1, 4, 1, 5, 2)):
    folder.mkdir()
    for number, (name, count) in enumerate(zip(FILES, counts, strict=True)):
        labels, pixels = records(count, number)
        (folder / f"{name}.bin").write_bytes(np.concatenate([labels[:, None], pixels], axis=1).tobytes())
    return folder


def write_python(folder, counts=(3, 1, 4, 1, 5, 2)):
    folder.mkdir()
    for number, (name, count) in enumerate(zip(FILES, counts, strict=True)):
        labels, pixels = records(count, number)
        batch = {b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"x", b"filenames": [b"a.png"] * count}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    names = [name.encode() for name in CLASSES]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    return folder


def read(folder):
    source = SOURCES.get("cifar10")()
    place = source.find(folder)
    assert place is not None
    return source.read(place)


def refusal(folder):
    with pytest.raises(UserError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_both_layouts_give_the_same(tmp_path):
    binary, python = read(write_binary(tmp_path / "bin")), read(write_python(tmp_path / "py"))
    labels, pixels = zip(*(records(count, number) for number, count in enumerate((3, 1, 4, 1, 5))), strict=True)
    for raw in (binary, python):
        assert raw.classes == CLASSES and raw.train.shape == (3, 32, 32)
        assert raw.train.images.dtype == np.uint8 and raw.train.labels.dtype == np.int32
        assert np.array_equal(raw.train.images, np.concatenate(pixels).reshape(14, 3, 32, 32))
        assert raw.train.labels.tolist() == np.concatenate(labels).tolist()
        assert len(raw.test) == 2 and np.array_equal(raw.test.images.reshape(2, -1), records(2, 5)[1])


def test_is_found_in_and_below_a_folder(tmp_path):
    source = SOURCES.get("cifar10")()
    assert source.find(tmp_path) is None and source.find(tmp_path / "none") is None
    folder = write_binary(tmp_path / "cifar-10-batches-bin")
    assert source.find(tmp_path) == source.find(folder) == folder


@needs_pictures
def test_official_files():
    binary, python = (read(SMALL / f"cifar-10-batches-{kind}") for kind in ("bin", "py"))
    assert binary.classes == python.classes == CLASSES
    assert (len(binary.train), len(binary.test)) == (5000, 1000)
    assert (len(python.train), len(python.test)) == (500, 100)
    for batch in range(5):  # the python files hold the first 100 records of each
        ours, theirs = slice(100 * batch, 100 * batch + 100), slice(1000 * batch, 1000 * batch + 100)
        assert np.array_equal(python.train.images[ours], binary.train.images[theirs])
        assert np.array_equal(python.train.labels[ours], binary.train.labels[theirs])
    assert np.array_equal(python.test.images, binary.test.images[:100])
    assert python.train.labels[:5].tolist() == [6, 9, 9, 4, 1]  # frog, truck, truck, deer, automobile


def test_class_names_come_from_the_meta_file(tmp_path):
    folder = write_binary(tmp_path / "bin")
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    assert read(folder).classes == tuple("abcdefghij")
    (folder / "batches.meta.txt").write_text("a\nb\n")
    assert refusal(folder).endswith("batches.meta.txt: expected 10 class names, found 2")


def test_missing_file(tmp_path):
    folder = write_binary(tmp_path / "bin")
    (folder / "data_batch_3.bin").unlink()
    (folder / "test_batch.bin").unlink()
    assert refusal(folder) == (f"{folder}: CIFAR-10 lacks data_batch_3.bin, test_batch.bin - unpack the whole archive")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda content: content[:-1], "9218 bytes are not a whole number of 3073-byte records - the file is damaged"),
        (lambda content: content + b"\n", "9220 bytes are not a whole number of 3073-byte records"),
        (lambda content: b"", "the file is empty - get it again"),
        (
            lambda content: content[:3073] + b"\x0a" + content[3074:],
            "record 1 has label 10, expected 0 to 9 - damaged or",
        ),
    ],
)
def test_damaged_binary(tmp_path, change, text):
    folder = write_binary(tmp_path / "bin")
    path = folder / "data_batch_1.bin"
    path.write_bytes(change(path.read_bytes()))
    assert refusal(folder).startswith(f"{path}: {text}")


class Call:
    """Pickled, it asks the reader to call ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def batch_pickle(**changes):
    labels, pixels = records(3, 0)
    return pickle.dumps({b"data": pixels, b"labels": labels.tolist()} | {k.encode(): v for k, v in changes.items()}, 2)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            pickle.dumps({b"data": Call(eval, "1")}, 2),
            "refused to load '__builtin__.eval': a CIFAR-10 batch holds only",
        ),
        (pickle.dumps({b"x": Call(Path, "/etc")}, 2), "refused to load 'pathlib.Path"),
        (
            b"cos\nsystem\n(S'touch EVIL'\ntR.",
            "refused to load 'os.system': a CIFAR-10 batch holds only arrays, lists and",
        ),
        (b"cnumpy.core.multiarray\nscalar\n.", "refused to load 'numpy.core.multiarray.scalar'"),
        (
            pickle.dumps({b"data": np.array([None])}, 2),
            "not a CIFAR-10 batch, or damaged or cut short (an array of type",
        ),
        (
            batch_pickle(data=np.zeros((3, 3072), ">i4")),
            "not a CIFAR-10 batch, or damaged or cut short (an array of type",
        ),
        (
            batch_pickle(data=np.zeros((3, 3072), "u1", order="F")),
            "not a CIFAR-10 batch, or damaged or cut short (an array",
        ),
        (
            batch_pickle(data=np.zeros((3, 3071), "u1")),
            "not a CIFAR-10 batch: 'data' has shape (3, 3071), expected (3, 3072)",
        ),
        (
            batch_pickle(labels=[1, 2]),
            "not a CIFAR-10 batch: 'data' has shape (3, 3072), expected (2, 3072) for 2 labels",
        ),
        (batch_pickle(labels=[1, 2, 11]), "record 2 has label 11, expected 0 to 9"),
        (batch_pickle(labels=[1, 2, -1]), "not a CIFAR-10 batch: 'labels' must be whole numbers from 0 to 9"),
        (batch_pickle(labels=[1, 2, True]), "not a CIFAR-10 batch: 'labels' must be whole numbers from 0 to 9"),
        (batch_pickle(labels=None), "not a CIFAR-10 batch: it needs an array 'data' and a list 'labels'"),
        (pickle.dumps([1, 2], 2), "not a CIFAR-10 batch: a pickled list, expected a dictionary"),
        (batch_pickle()[:-100], "not a CIFAR-10 batch, or damaged or cut short ("),
        (b"data", "not a CIFAR-10 batch, or damaged or cut short ("),
        (b"\x80\x02r\xff\xff\xff\x7f.", "not a CIFAR-10 batch, or damaged or cut short ("),
        (b"", "the file is empty - get it again"),
    ],
)
def test_damaged_and_hostile_pickles(tmp_path, monkeypatch, content, text):
    monkeypatch.chdir(tmp_path)
    folder = write_python(tmp_path / "py")
    path = folder / "data_batch_1"
    path.write_bytes(content)
    assert refusal(folder).startswith(f"{path}: {text}")
    assert not (tmp_path / "EVIL").exists()


def test_an_array_whose_shape_lies(tmp_path):
    folder = write_python(tmp_path / "py")
    path = folder / "data_batch_1"
    content = path.read_bytes()
    assert content.count(b"M\x00\x0c") == 1  # 3072
    path.write_bytes(content.replace(b"M\x00\x0c", b"M\xff\xff"))
    assert "(an array of shape (3, 65535) with 9216 bytes)" in refusal(folder)


def test_a_pickle_cannot_change_the_reader(tmp_path):
    """BUILD sets attributes of what it is given: the stand-ins must have none that could be set."""
    folder = write_python(tmp_path / "py")
    good = (folder / "data_batch_1").read_bytes()
    for name in (b"numpy\nndarray", b"numpy\ndtype", b"numpy.core.multiarray\n_reconstruct", b"_codecs\nencode"):
        for state in (b"}(X\x01\x00\x00\x00aK\x01u", b"N}(X\x01\x00\x00\x00aK\x01u\x86"):
            evil = b"\x80\x02c" + name + b"\n" + state + b"b."
            pickletools.dis(evil, out=io.StringIO())  # it is a well-formed pickle
            (folder / "data_batch_1").write_bytes(evil)
            assert "data_batch_1: not a CIFAR-10 batch, or damaged or cut short (" in refusal(folder)
    (folder / "data_batch_1").write_bytes(good)
    assert len(read(folder).train) == 14


def test_any_cut_pickle_is_refused(tmp_path):
    folder = write_python(tmp_path / "py")
    content = (folder / "test_batch").read_bytes()
    for length in [*range(1, 250, 7), *range(250, len(content), 499)]:
        (folder / "test_batch").write_bytes(content[:length])
        assert refusal(folder).startswith(f"{folder / 'test_batch'}: not a CIFAR-10 batch")
