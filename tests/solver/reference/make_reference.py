"""Copy the recordings of Caffe that the engine's tests use: ``python make_reference.py FOLDER_OF_RECORDINGS``.

Only cases whose layer types the engine has, without the large ones; of the solvers SGD and Nesterov.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py

import batchbrew.solver.layers  # noqa: F401 - registers the layer types
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.layer import LAYERS

HERE = Path(__file__).parent
LARGE = ("net_cifar10_quick", "net_cifar10_full", "net_lenet", "conv_rgb32")


def in_scope(prototxt: str) -> bool:
    return all(layer.type in LAYERS for layer in text.parse(prototxt, pb.NetParameter).layer)


def copy(source: h5py.Group, target: h5py.Group) -> None:
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            copy(item, target.create_group(name))
        elif item.size > 256:
            target.create_dataset(name, data=item[()], compression="gzip", shuffle=True, compression_opts=9)
        else:
            target.create_dataset(name, data=item[()])


def main(folder: Path) -> None:
    with h5py.File(folder / "layers.h5") as source, h5py.File(HERE / "caffe_layers.h5", "w", libver="latest") as target:
        for name, case in source.items():
            if name not in LARGE and in_scope(case.attrs["prototxt"]):
                copy(case, target.create_group(name))
    with (
        h5py.File(folder / "solvers.h5") as source,
        h5py.File(HERE / "caffe_solvers.h5", "w", libver="latest") as target,
    ):
        for name, item in source.items():
            if isinstance(item, h5py.Dataset):
                target.create_dataset(name, data=item[()])
            elif name.startswith("sgd_") or name == "nesterov":
                copy(item, target.create_group(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
