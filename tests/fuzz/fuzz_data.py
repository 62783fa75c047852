"""Data sets, data bases, pictures and lists as targets (see fuzz_base.py)."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from fuzz_base import ROOT, TARGETS, Bug, Target
from fuzz_mutations import BINARY, EXTREMES, TEXT, Ways

from batchbrew.errors import UserError
from batchbrew.protos import binary, datum, text
from batchbrew.protos import messages as pb
from batchbrew.runner import checkpoint
from batchbrew.solver.data.dataset import Part, write_dataset
from batchbrew.solver.data.prepared import open_dataset
from batchbrew.solver.net import Net

sys.path.insert(0, str(ROOT / "tests" / "solver"))
from data_support import picture, write_leveldb, write_lmdb, write_picture
from data_support import source as data_layer

PAGE = 4096


def spoil_pages(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Spoil where an LMDB keeps its structure: metas, the beginnings of pages, nodes."""
    if not data:
        return data
    for _ in range(rng.choice((1, 1, 2, 4))):
        page = rng.randrange(-(-len(data) // PAGE)) * PAGE
        at = min(page + rng.choice((rng.randrange(16), rng.randrange(200), rng.randrange(PAGE))), len(data) - 1)
        extreme = rng.choice(EXTREMES)
        byte = bytes([data[at] ^ 1 << rng.randrange(8)])
        changed = rng.choice((byte, extreme))
        data = data[:at] + changed + data[at + len(changed) :]
    return data


def records() -> list[bytes]:
    """Return Datums, small ones and some that need pages of their own."""
    small = [datum.serialize(picture(4, 5, i), i % 3) for i in range(150)]
    return [*small, *(datum.serialize(picture(50, 50, i), 1) for i in range(3)), datum.serialize(picture(4, 5, 9), 2)]


class _Source(Target):
    """One data layer, read for a few batches in both phases."""

    layer: ClassVar[tuple[str, str]]
    tops: ClassVar[str] = "data label"
    transform: ClassVar[str] = ""

    def run(self) -> None:
        kind, rest = self.layer
        source = data_layer(kind, rest.replace("FOLDER", str(self.folder)), self.tops, self.transform)
        for phase in (pb.TRAIN, pb.TEST):
            net = Net(text.parse(source.replace("FOLDER", str(self.folder)), pb.NetParameter), phase)
            for _ in range(3):
                net.forward()


@TARGETS.register("lmdb")
class Lmdb(_Source):
    """``data.mdb``, of which a Data layer reads all records."""

    ways: ClassVar[Ways] = (*(spoil_pages,) * 10, *BINARY)
    share = 3
    layer = ("Data", 'data_param { source: "FOLDER" backend: LMDB batch_size: 1 }')

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / "data.mdb"

    def seeds(self) -> list[bytes]:
        found = []
        for number, content in enumerate((records(), records()[:3], [])):
            write_lmdb(self.folder / f"good{number}", content)
            found.append((self.folder / f"good{number}" / "data.mdb").read_bytes())
        return found

    def run(self) -> None:
        from batchbrew.solver.data.lmdb_file import LmdbFile

        file = LmdbFile(self.folder)
        for record in range(len(file)):
            file.value(record)
        super().run()


@TARGETS.register("leveldb")
class LevelDb(_Source):
    """The one table of a LevelDB, read by a Data layer."""

    layer = ("Data", 'data_param { source: "FOLDER/base" backend: LEVELDB batch_size: 100 }')

    def seeds(self) -> list[bytes]:
        base = self.folder / "base"
        write_leveldb(base, records()[:150])
        write_leveldb(base, [])  # opened again, it writes its log to a table
        self.file = next(base.glob("*.ldb"))
        return [self.file.read_bytes()]

    def run(self) -> None:
        current = self.folder / "base" / "CURRENT"  # by this file an open data base is known again
        content = current.read_bytes()
        current.unlink()
        current.write_bytes(content)
        super().run()


@TARGETS.register("datum")
class Record(Target):
    """One record of a data base."""

    def seeds(self) -> list[bytes]:
        floats = datum.serialize(np.arange(12, dtype=np.float32).reshape(3, 2, 2), 1)
        return [records()[0], floats, datum.serialize_encoded(b"\x89PNG", 3)]

    def run(self) -> None:
        try:
            datum.parse(self.file.read_bytes()).picture()
        except ValueError as error:
            raise UserError(str(error)) from None


@TARGETS.register("hdf5-data")
class Hdf5(_Source):
    """A file of rows, read by an HDF5Data layer."""

    share = 2
    layer = ("HDF5Data", 'hdf5_data_param { source: "FOLDER/list" batch_size: 5 shuffle: true }')

    def seeds(self) -> list[bytes]:
        (self.folder / "list").write_text(str(self.file))
        found = []
        for number, options in enumerate(({}, {"chunks": (2, 3), "compression": "gzip"})):
            path = self.folder / f"good{number}.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset("data", data=np.arange(21, dtype=np.float32).reshape(7, 3), **options)
                file["label"] = np.arange(7)
            found.append(path.read_bytes())
        return found


@TARGETS.register("hdf5-list")
class Hdf5List(_Source):
    """The list of an HDF5Data layer."""

    ways = TEXT
    layer = ("HDF5Data", 'hdf5_data_param { source: "FOLDER/spoilt" batch_size: 5 }')

    def seeds(self) -> list[bytes]:
        with h5py.File(self.folder / "good.h5", "w") as file:
            file["data"], file["label"] = np.zeros((7, 3)), np.arange(7)
        return [f"{self.folder}/good.h5\n{self.folder}/good.h5\n".encode(), b"good.h5"]


@TARGETS.register("picture")
class Picture(_Source):
    """A JPEG or PNG file, read by an ImageData layer."""

    layer = ("ImageData", 'image_data_param { source: "FOLDER/list" batch_size: 1 }')

    def seeds(self) -> list[bytes]:
        (self.folder / "list").write_text(f"{self.file} 3\n")
        found = []
        for name in ("a.png", "b.jpg", "c.bmp"):
            write_picture(self.folder / name, picture(20, 30))
            found.append((self.folder / name).read_bytes())
        return found


@TARGETS.register("picture-list")
class PictureList(_Source):
    """The list of an ImageData layer."""

    ways = TEXT
    layer = ("ImageData", 'image_data_param { source: "FOLDER/spoilt" batch_size: 2 new_height: 8 new_width: 8 }')

    def seeds(self) -> list[bytes]:
        write_picture(self.folder / "a b.png", picture(8, 8))
        return [f"{self.folder}/a b.png {label}\n".encode() * 3 for label in (0, 7, -1)]


@TARGETS.register("window-list")
class WindowList(_Source):
    """The list of a WindowData layer."""

    ways = TEXT
    layer = ("WindowData", 'window_data_param { source: "FOLDER/spoilt" batch_size: 4 context_pad: 1 }')
    transform = "crop_size: 6"

    def seeds(self) -> list[bytes]:
        write_picture(self.folder / "a.png", picture(20, 30))
        windows = "1 0.9 2 3 12 13\n2 0.7 0 0 19 19\n0 0.1 5 5 9 9\n"
        return [f"# {number}\n{self.folder}/a.png\n3\n20\n30\n3\n{windows}".encode() for number in (0, 1)]


@TARGETS.register("mean")
class Mean(Target):
    """A mean picture, subtracted by a Data layer."""

    def seeds(self) -> list[bytes]:
        legacy = pb.BlobProto(num=1, channels=3, height=4, width=5, data=[1.5] * 60)
        return [legacy.SerializeToString(), binary.array_to_blob(np.ones((3, 4, 5))).SerializeToString()]

    def run(self) -> None:
        pictures = Part(np.zeros((6, 3, 4, 5), np.uint8), np.zeros(6, np.int32))
        source = data_layer("Data", "data_param { batch_size: 3 }", transform=f'mean_file: "{self.file}"')
        Net(text.parse(source, pb.NetParameter), pb.TEST, data=pictures).forward()


@TARGETS.register("dataset")
class Prepared(Target):
    """A prepared data set."""

    def seeds(self) -> list[bytes]:
        part = Part(np.arange(10 * 12, dtype=np.uint8).reshape(10, 3, 2, 2), np.arange(10, dtype=np.int32) % 3)
        write_dataset(self.folder / "good.h5", "small", ["a", "b", "c"], part, part)
        return [(self.folder / "good.h5").read_bytes()]

    def run(self) -> None:
        for part in (dataset := open_dataset(self.file, verify=True)).train, dataset.test:
            part.take(np.arange(len(part)))


@TARGETS.register("state")
class State(Target):
    """A run's saved state, which is refused or right."""

    share = 2

    def seeds(self) -> list[bytes]:
        texts: dict[str, Any] = {"run_id": "r", "trajectory": {"a": [1]}, "ledger": {"save": 0.5}}
        self.state = checkpoint.State(
            values=np.arange(5, dtype=np.float32), history=[np.ones(5, np.float32)], update=3, samples=36,
            record_offset=77, wall_seconds=1.5, **texts,
        )  # fmt: skip
        checkpoint.save(self.folder, self.state)
        return [(self.folder / checkpoint.NEWEST).read_bytes()]

    def run(self) -> None:
        checkpoint.is_state(self.file)
        found = checkpoint.load(self.file)
        if repr(found) != repr(self.state):
            raise Bug(f"read {found}")
