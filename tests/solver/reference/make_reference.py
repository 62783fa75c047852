"""Copy the recordings of Caffe that the engine's tests use: ``python make_reference.py FOLDER [layers|solvers]``.

All solvers, and all layers but the large cases.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py

HERE = Path(__file__).parent
LARGE = ("net_cifar10_quick", "net_cifar10_full", "net_lenet", "conv_rgb32")


def copy(source: h5py.Group, target: h5py.Group) -> None:
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            copy(item, target.create_group(name))
        elif item.size > 256:
            target.create_dataset(name, data=item[()], compression="gzip", shuffle=True, compression_opts=9)
        else:
            target.create_dataset(name, data=item[()])


def layers(source: h5py.File, target: h5py.File) -> None:
    for name, case in source.items():
        if name not in LARGE:
            copy(case, target.create_group(name))


PARTS = {"layers": layers, "solvers": copy}


def main(folder: Path, parts: list[str]) -> None:
    for part in parts or PARTS:
        with (
            h5py.File(folder / f"{part}.h5") as source,
            h5py.File(HERE / f"caffe_{part}.h5", "w", libver="latest") as target,
        ):
            PARTS[part](source, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
