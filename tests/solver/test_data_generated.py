"""The computed data set: the same bytes everywhere, and classes that can be learned but not at a glance."""

import subprocess
import sys
import time

import numpy as np
import pytest

from batchbrew.solver.data import dataset
from batchbrew.solver.data.sources import SOURCES, generated

DIGEST = "sha256:01cc3a844d96ffae5ef0ee454b157009300745c69c6d13e0af369f142ffb6171"


@pytest.fixture(scope="module")
def raw():
    start = time.perf_counter()
    made = SOURCES.get("generated")().generate()
    assert time.perf_counter() - start < 5
    return made


def test_has_the_shape_of_cifar10(raw):
    assert (len(raw.train), len(raw.test), len(raw.classes)) == (10_000, 1_000, 10)
    for part in (raw.train, raw.test):
        assert part.shape == (3, 32, 32) and part.images.dtype == np.uint8 and part.labels.dtype == np.int32
        assert np.bincount(part.labels).tolist() == [len(part) // 10] * 10


def test_digest_is_pinned(raw):
    """Whoever changes a constant changes the data: results before and after cannot be compared, so say so here."""
    assert dataset.content_digest(raw.classes, raw.train, raw.test) == DIGEST


def test_does_not_depend_on_blocks(raw, monkeypatch):
    monkeypatch.setattr(generated, "BLOCK", 37)
    assert np.array_equal(generated.samples(100, generated.TRAIN_EPOCH).images, raw.train.images[:100])


def test_pictures_are_all_different_and_use_the_range(raw):
    pictures = np.concatenate([raw.train.images, raw.test.images]).reshape(11_000, -1)
    assert len({picture.tobytes() for picture in pictures}) == 11_000
    assert 30 < pictures.std() < 90 and abs(float(pictures.mean()) - 128) < 4
    assert ((pictures == 0) | (pictures == 255)).mean() < 0.1


def test_patterns_have_the_stated_strength():
    patterns = generated.patterns()[..., :32, :32]
    assert abs(patterns.mean(axis=(2, 3))).max() < 2
    assert abs(patterns.std(axis=(2, 3)) / generated.STRENGTH - 1).max() < 0.05
    assert np.array_equal(patterns[len(patterns) // 2 :], patterns[: len(patterns) // 2, ..., ::-1])


def test_square_roots_are_exact():
    values = np.array([1, 2, 3, 4, 8, 9, 10**9, 2**32 - 1], np.int64)
    assert generated._square_root(values).tolist() == [1, 1, 1, 2, 2, 3, 31622, 65535]


def test_is_harder_than_a_linear_model(raw):
    """A linear classifier (least squares) is far better than chance and far from done: there is something to learn."""
    mean = raw.train.images.mean(axis=0, dtype=np.float64)

    def features(part):  # 8x8 cells of 4x4 pixels
        centred = (part.images - mean).reshape(len(part), 3, 8, 4, 8, 4)
        return np.hstack([centred.mean(axis=(3, 5)).reshape(len(part), -1) / 50, np.ones((len(part), 1))])

    x, y = features(raw.train), np.eye(10)[raw.train.labels]
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ y)
    accuracy = ((features(raw.test) @ weights).argmax(axis=1) == raw.test.labels).mean()
    assert 0.15 < accuracy < 0.55


def test_recipe_names_every_constant():
    assert generated.Generated.recipe.split()[:4] == ["generated", "2014", "10000", "1000"]
    assert str(generated.NOISE).replace(" ", "") in generated.Generated.recipe


def test_several_processes_make_it_at_once(tmp_path):
    program = (
        "import sys; from pathlib import Path; from batchbrew.solver.data import dataset\n"
        "from batchbrew.solver.data.sources import generated\n"
        "generated.TRAIN, generated.TEST = 500, 100\n"
        "print(dataset.resolve('generated', Path(sys.argv[1])).digest)\n"
    )
    commands = [[sys.executable, "-c", program, str(tmp_path / "home")]] * 2
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    assert len({process.communicate(timeout=60)[0] for process in running}) == 1
    assert all(process.returncode == 0 for process in running)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["generated.h5"]
