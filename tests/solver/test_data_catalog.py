"""Names and paths to data sets: what is found, made and listed, and what is said when it is not there."""

import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from batchbrew.errors import UserError
from batchbrew.solver.data import SOURCES, dataset
from batchbrew.solver.data.part import Part
from batchbrew.solver.data.sources import Raw, Source, cifar10, generated

SMALL = Path(__file__).parents[3] / "shared" / "data" / "cifar10-small"
needs_pictures = pytest.mark.skipif(not SMALL.is_dir(), reason="the real pictures are not in ../shared/data")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("BATCHBREW_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def cifar(tmp_path):
    """Two records a file, in the official folder, and the .tar.gz of that folder."""
    folder = tmp_path / "raw" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, name in enumerate((*cifar10.BATCHES, "test_batch")):
        records = np.random.default_rng(number).integers(0, 10, (2, 3073), np.uint8)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-bin")
    return folder


@pytest.fixture
def tiny_generated(monkeypatch):
    monkeypatch.setattr(generated, "TRAIN", 20)
    monkeypatch.setattr(generated, "TEST", 10)


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", SOURCES.names())
def test_every_source_keeps_the_contract(name, tmp_path):
    source = SOURCES.get(name)()
    assert source.title and "\n" not in source.title and type(source).__doc__
    assert source.find(tmp_path) is None and source.find(tmp_path / "nothing") is None
    (tmp_path / "file").write_bytes(b"")
    assert source.find(tmp_path / "file") is None
    for official in source.downloads:
        algorithm, _, digest = official.checksum.partition(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[algorithm] and official.size > 0
        assert all(url.startswith("https://") and url.endswith(official.name) for url in official.urls)


def test_data_home(monkeypatch, tmp_path):
    monkeypatch.delenv("BATCHBREW_DATA", raising=False)
    assert dataset.data_home() == Path("datasets")
    monkeypatch.setenv("BATCHBREW_DATA", str(tmp_path))
    assert dataset.data_home() == tmp_path and dataset.data_home(Path("x")) == Path("x")


def test_generated_is_made_once(home, tiny_generated):
    first = dataset.resolve("generated", home)
    assert (len(first.train), len(first.test)) == (20, 10) and first.path == home / "generated.h5"
    stamp = first.path.stat().st_mtime_ns
    assert dataset.resolve("generated", home).digest == first.digest
    assert first.path.stat().st_mtime_ns == stamp


def test_generated_is_made_again_if_damaged_or_of_another_recipe(home, tiny_generated, monkeypatch):
    first = dataset.resolve("generated", home)
    first.path.write_bytes(b"damaged")
    assert dataset.resolve("generated", home).digest == first.digest
    monkeypatch.setattr(generated.Generated, "recipe", "generated otherwise")
    monkeypatch.setattr(generated, "SEED", 1)
    assert dataset.resolve("generated", home).digest != first.digest


def test_generated_where_nothing_can_be_written(home, tiny_generated):
    home.write_text("a file")
    assert refusal(dataset.resolve, "generated", home).startswith(f"{home}/generated.h5: cannot write the data set: ")


def test_a_name_is_looked_up_in_the_data_home(home, cifar, monkeypatch):
    path = dataset.make("cifar10", cifar, home)
    assert path == home / "cifar10.h5"
    monkeypatch.setenv("BATCHBREW_DATA", str(home))
    found = dataset.resolve("cifar10")
    assert (found.name, len(found.train), len(found.test), found.path) == ("cifar10", 10, 2, path)
    assert dataset.resolve(str(path)).digest == found.digest
    shutil.copy(path, home / "mine.h5")
    assert dataset.resolve("mine", home).digest == found.digest


def test_raw_folder_and_archive_are_recognised(home, cifar, tmp_path):
    by_name = dataset.open_dataset(dataset.make("cifar10", cifar.parent, home))
    for raw in (cifar, cifar.parent, tmp_path / "cifar-10-binary.tar.gz"):
        found = dataset.resolve(str(raw), home)
        assert found.digest == by_name.digest and found.name == "cifar10" and found.path.name.startswith("cifar10-")
        stamp = found.path.stat().st_mtime_ns
        assert dataset.resolve(str(raw), home).path.stat().st_mtime_ns == stamp
    assert dataset.make("cifar10", tmp_path / "cifar-10-binary.tar.gz", home) == home / "cifar10.h5"
    assert not list(home.glob(".*"))


def test_a_changed_raw_folder_is_prepared_again(home, cifar):
    before = dataset.resolve(str(cifar), home)
    before.path.write_bytes(b"damaged")
    assert dataset.resolve(str(cifar), home).digest == before.digest
    content = (cifar / "test_batch.bin").read_bytes()
    (cifar / "test_batch.bin").write_bytes(content + content)
    after = dataset.resolve(str(cifar), home)
    assert (len(before.test), len(after.test)) == (2, 4) and before.path != after.path


@needs_pictures
@pytest.mark.parametrize(("layout", "counts"), [("bin", (5000, 1000)), ("py", (500, 100))])
def test_real_folders(home, layout, counts):
    found = dataset.resolve(str(SMALL / f"cifar-10-batches-{layout}"), home)
    assert (len(found.train), len(found.test)) == counts and found.classes == cifar10.CLASSES
    assert found.mean is not None and 110 < found.mean.mean() < 135


def test_what_is_said_of_a_name(home):
    assert refusal(dataset.resolve, "cifar10", home) == (
        f"data set 'cifar10' is not prepared in {home}: run 'batchbrew data get cifar10' or "
        "'batchbrew data make cifar10 --from FOLDER'"
    )
    assert refusal(dataset.resolve, "cifar-10", home) == (
        "unknown data set 'cifar-10' - did you mean 'cifar10'? (known: cifar10, generated, mnist, or a path)"
    )
    assert refusal(dataset.resolve, "beer", home).startswith(
        "unknown data set 'beer' (known: cifar10, generated, mnist"
    )


def test_what_is_said_of_a_path(home, tmp_path):
    known = "(known: cifar10, generated, mnist)"
    assert refusal(dataset.resolve, "./none", home) == (
        f"./none: no such file or folder, and no data set has this name {known}"
    )
    assert refusal(dataset.resolve, "none.h5", home).startswith("none.h5: no such file or folder, and no data set")
    (tmp_path / "empty").mkdir()
    assert refusal(dataset.resolve, str(tmp_path / "empty"), home) == (
        f"{tmp_path}/empty: no files of a known data set found there {known}"
    )
    (tmp_path / "x.bin").write_bytes(b"x")
    assert refusal(dataset.resolve, str(tmp_path / "x.bin"), home).startswith(
        f"{tmp_path}/x.bin: not a prepared data set"
    )


def test_what_is_said_by_make(home, tmp_path, cifar):
    assert refusal(dataset.make, "cifar", cifar, home).startswith("unknown data set 'cifar' - did you mean 'cifar10'?")
    assert refusal(dataset.make, "generated", cifar, home) == "data set 'generated' is computed: make it without --from"
    assert refusal(dataset.make, "mnist", None, home) == (
        "data set 'mnist' is made from files: say where they are with --from FOLDER"
    )
    assert refusal(dataset.make, "mnist", cifar, home) == f"{cifar}: no files of data set 'mnist' found there"
    assert refusal(dataset.make, "mnist", tmp_path / "none", home) == f"{tmp_path}/none: no such folder or archive"
    text = refusal(dataset.make, "cifar10", cifar / "test_batch.bin", home)
    assert text == f"{cifar}/test_batch.bin: neither a folder nor an archive (.tar.gz, .tgz, .tar)"
    (cifar / "test_batch.bin").write_bytes(b"123")
    assert refusal(dataset.make, "cifar10", cifar, home).startswith(f"{cifar}/test_batch.bin: 3 bytes are not a whole")
    assert not home.exists()


def test_make_generated(home, tiny_generated):
    assert dataset.make("generated", None, home) == home / "generated.h5"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folder(home, cifar):
    cifar.chmod(0)
    assert "cannot read: Permission denied" in refusal(dataset.make, "cifar10", cifar, home)
    cifar.chmod(0o755)


def test_listing(home, cifar, tiny_generated):
    assert [(row.name, row.prepared) for row in dataset.listing(home)] == [(name, False) for name in SOURCES]
    dataset.make("cifar10", cifar, home)
    shutil.copy(home / "cifar10.h5", home / "beer.h5")
    (home / "mnist.h5").write_bytes(b"damaged")
    beer, cifar_row, made, mnist = dataset.listing(home)
    assert (cifar_row.name, cifar_row.prepared, cifar_row.train, cifar_row.test) == ("cifar10", True, 10, 2)
    assert cifar_row.shape == (3, 32, 32) and cifar_row.digest.startswith("sha256:")
    assert cifar_row.path == home / "cifar10.h5" and cifar_row.note.startswith("CIFAR-10")
    assert (beer.name, beer.prepared, beer.digest) == ("beer", True, cifar_row.digest)
    assert (made.prepared, made.shape, made.train) == (False, None, 0)
    assert not mnist.prepared and "mnist.h5: not a prepared data set" in mnist.note


def test_a_new_source_is_one_class(home, tmp_path, monkeypatch):
    class Dots(Source):
        """The example of the manual."""

        title = "Dots"

        def find(self, folder):
            return folder if (folder / "dots.bin").is_file() else None

        def read(self, folder):
            data = np.fromfile(folder / "dots.bin", np.uint8).reshape(-1, 65)
            part = Part(data[:, 1:].reshape(-1, 1, 8, 8), data[:, 0].astype(np.int32))
            return Raw(("few", "many"), part, part)

    monkeypatch.setitem(SOURCES._entries, "dots", Dots)
    (tmp_path / "dots.bin").write_bytes(bytes(65 * 3))
    assert len(dataset.resolve(str(tmp_path), home).train) == 3
    dataset.make("dots", tmp_path, home)
    assert dataset.resolve("dots", home).shape == (1, 8, 8)
    assert refusal(dataset.get, "dots", home) == "data set 'dots' is not downloaded: run 'batchbrew data make dots'"
