"""Make the data of example nets that no one publishes: ``python tools/example_data.py NAME...``.

parity       the 256 patterns of eight bits, and whether their number of ones is odd      netdefs/parity.prototxt
regression   eight numbers and one that depends on five of them                          netdefs/regression.prototxt
two_classes  rows of four numbers in two classes                          netdefs/logistic_regression.prototxt, ...
mnist_pairs  pairs of digits of a prepared MNIST, and whether they are the same       netdefs/mnist_siamese.prototxt

The first three are HDF5 files with lists of them, in the folder datasets of the working directory; the last is a
prepared data set in the data home. The same values come out everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError, did_you_mean
from batchbrew.solver.data import dataset

FOLDER = Path("datasets")
Rows = dict[str, NDArray[np.float32]]


def parity() -> dict[str, Rows]:
    """Return all patterns of eight bits, as -1 and 1."""
    bits = (np.arange(256)[:, np.newaxis] >> np.arange(8)) & 1
    return {"all": {"bits": (2 * bits - 1).astype(np.float32), "odd": (bits.sum(axis=1) % 2).astype(np.float32)}}


def regression() -> dict[str, Rows]:
    """Return 10 sin(pi a b) + 20 (c - 1/2)^2 + 10 d + 5 e + noise, scaled to 0 ... 1 (Friedman 1991), of 8 numbers."""
    random = np.random.default_rng(0)
    x = random.uniform(size=(24_000, 8))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y += random.normal(size=len(y))
    y = (y - y.min()) / (y.max() - y.min())
    return _parts({"data": x.astype(np.float32), "target": y[:, np.newaxis].astype(np.float32)}, 20_000)


def two_classes() -> dict[str, Rows]:
    """Return two clouds of points a class in the plane, as four numbers that depend on the place linearly."""
    random = np.random.default_rng(0)
    centres = np.array([[[-3.0, 0.0], [1.0, 0.0]], [[-1.0, 1.0], [3.0, 1.0]]])  # they take turns: no line parts them
    label, cloud = random.integers(0, 2, (2, 10_000))
    place = centres[label, cloud] + random.normal(size=(10_000, 2))
    data = place @ random.normal(size=(2, 4))
    return _parts({"data": data.astype(np.float32), "label": label.astype(np.float32)}, 7_500)


def mnist_pairs() -> None:
    """Prepare 60,000 pairs of training digits and 10,000 of test digits; one in ten is of the same digit."""
    found = dataset.resolve("mnist")
    random = np.random.default_rng(0)
    parts = []
    for part in (found.train, found.test):
        first, second = random.integers(0, len(part), (2, len(part)))
        pairs = np.concatenate([part.images[first], part.images[second]], axis=1)
        parts.append(dataset.Part(pairs, (part.labels[first] == part.labels[second]).astype(np.int32)))
    path = dataset.data_home() / "mnist_pairs.h5"
    dataset.write_dataset(path, "mnist_pairs", ("different", "same"), *parts)
    print(path)


def write(name: str, parts: dict[str, Rows]) -> None:
    """Write each part to an HDF5 file with a list that names it."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        with h5py.File(folder / f"{part}.h5", "w") as file:
            for key, values in rows.items():
                file[key] = values
        (folder / f"{part}.txt").write_text(f"{part}.h5\n", encoding="utf-8")
        print(folder / f"{part}.txt")


def _parts(rows: Rows, train: int) -> dict[str, Rows]:
    pieces = {"train": slice(train), "test": slice(train, None)}
    return {part: {key: values[piece] for key, values in rows.items()} for part, piece in pieces.items()}


TABLES: dict[str, Callable[[], dict[str, Rows]]] = {
    "parity": parity,
    "regression": regression,
    "two_classes": two_classes,
}


def main() -> None:
    """Make what the command line names."""
    names = (*TABLES, "mnist_pairs")
    if len(sys.argv) < 2:
        raise UserError(f"say which: {', '.join(names)}")
    for name in sys.argv[1:]:
        if name in TABLES:
            write(name, TABLES[name]())
        elif name == "mnist_pairs":
            mnist_pairs()
        else:
            raise UserError(f"no example data '{name}'{did_you_mean(name, names)} ({', '.join(names)})")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
