"""What the tests of data layers share: real data bases and picture files, and nets of one source."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import plyvel
from engine_support import net_of

from batchbrew.protos import messages as pb
from batchbrew.solver.net import Net


def datum(picture: Any = None, label: int = 0, **fields: Any) -> bytes:
    """Return a Datum of bytes (C, H, W), made by the generated class."""
    if picture is not None:
        channels, height, width = np.shape(picture)
        fields |= {"channels": channels, "height": height, "width": width}
        fields["data"] = np.asarray(picture, np.uint8).tobytes()
    return pb.Datum(label=label, **fields).SerializeToString()


def write_lmdb(path: Path | str, records: Iterable[bytes], keys: Iterable[bytes] | None = None) -> str:
    """Write records under ``00000``, ``00001``, ... or ``keys``."""
    with lmdb.open(str(path), map_size=1 << 26) as env, env.begin(write=True) as transaction:
        for number, record in enumerate(records):
            transaction.put(list(keys)[number] if keys else b"%05d" % number, record)
    return str(path)


def write_leveldb(path: Path | str, records: Iterable[bytes]) -> str:
    """Write records under ``00000``, ``00001``, ..."""
    base = plyvel.DB(str(path), create_if_missing=True)
    for number, record in enumerate(records):
        base.put(b"%05d" % number, record)
    base.close()
    return str(path)


WRITERS = {"LMDB": write_lmdb, "LEVELDB": write_leveldb}


def write_picture(path: Path | str, picture: Any) -> None:
    """Write a picture (C, H, W), blue first, as the file its suffix names."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(np.transpose(picture, (1, 2, 0))))


def picture(height: int, width: int, seed: int = 0, channels: int = 3) -> Any:
    """Return random bytes (C, H, W)."""
    return np.random.default_rng(seed).integers(0, 256, (channels, height, width), np.uint8)


def source(kind: str, rest: str, tops: str = "data label", transform: str = "") -> str:
    """Return the prototxt of one data layer named d."""
    named = " ".join(f'top: "{top}"' for top in tops.split())
    return f'layer {{ name: "d" type: "{kind}" {named} {rest} {transform and f"transform_param {{ {transform} }}"} }}'


def source_net(
    kind: str, rest: str, tops: str = "data label", transform: str = "", phase: int = pb.TRAIN, **more: Any
) -> Net:
    """Return a net of one data layer."""
    return net_of(source(kind, rest, tops, transform), phase, **more)


def batches(net: Net, count: int, *names: str) -> list[Any]:
    """Return copies of what ``count`` forward passes yield, for one name or a tuple of several."""
    found = []
    for _ in range(count):
        net.forward()
        one = tuple(net.blobs[name].data.copy() for name in names or ("data",))
        found.append(one if len(one) > 1 else one[0])
    return found
