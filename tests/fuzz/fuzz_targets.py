"""Nets, solvers, models and states as targets (see fuzz_base.py)."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import Any

import fuzz_data  # noqa: F401 - registers its targets
import numpy as np
from fuzz_base import ROOT, TARGETS, Bug, Target, command
from fuzz_mutations import TEXT, change_field, change_number, inflate_number, repeat_line, swap_word
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver import snapshot
from batchbrew.solver.net import Net
from batchbrew.solver.solvers import make_solver

Array = NDArray[Any]

SMALL = """name: "small"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "ip/deep" type: "InnerProduct" bottom: "c" top: "y" inner_product_param { num_output: 3 } }
"""
SOLVER = 'base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 3'
OLDER = [
    'input: "x" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
    'layers { layer { name: "p" type: "padding" pad: 2 } bottom: "x" top: "p" }\n'
    'layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 stride: 2 blobs_lr: 1 blobs_lr: 2 '
    'weight_decay: 1 weight_filler { type: "gaussian" std: 0.1 } } bottom: "p" top: "c" }\n'
    'layers { layer { name: "q" type: "pool" pool: MAX kernelsize: 2 } bottom: "c" top: "q" }\n',
    'input: "x" input_shape { dim: 2 dim: 3 }\n'
    'layers { name: "i" type: INNER_PRODUCT bottom: "x" top: "y" param: "w" blob_share_mode: STRICT blobs_lr: 1 '
    "inner_product_param { num_output: 2 } }\n"
    'layers { name: "s" type: SOFTMAX bottom: "y" top: "z" include { phase: TEST } }\n',
    'layer { name: "d" type: "Data" top: "d" top: "l" data_param { source: "mnist" batch_size: 4 } }\n'
    'layer { name: "b" type: "BatchNorm" bottom: "d" top: "b" param { lr_mult: 1 } param { } param { name: "n" } }\n',
]


class _Texts(Target):
    ways = TEXT

    def seeds(self) -> list[bytes]:
        shipped = [(ROOT / "netdefs" / f"{name}.prototxt").read_bytes() for name in ("lenet", "mlp", "quick_start")]
        return [SMALL.encode(), *(source.encode() for source in OLDER), *shipped]


@TARGETS.register("net")
class NetText(_Texts):
    """Nets in text: checked on the command line, which builds them in both phases."""

    share = 3

    def run(self) -> None:
        command("check", self.file)


@TARGETS.register("upgrade")
class UpgradeText(_Texts):
    """Nets in text: written in the current format."""

    def run(self) -> None:
        command("upgrade", "net", self.file, self.folder / "new")


@TARGETS.register("upgrade-model")
class UpgradeModel(Target):
    """Binary nets of all generations: written in the current format."""

    def seeds(self) -> list[bytes]:
        nets = [text.parse(source, pb.NetParameter) for source in [SMALL, *OLDER]]
        nets[1].layers[1].layer.blobs.add(num=1, channels=2, height=1, width=1, data=[1, 2])
        return [net.SerializeToString() for net in nets]

    def run(self) -> None:
        command("upgrade", "net", self.file, self.folder / "new.prototxt")


@TARGETS.register("solver")
class SolverText(Target):
    """Solvers in text, with their nets: checked on the command line."""

    ways = TEXT
    share = 2

    def seeds(self) -> list[bytes]:
        folder = ROOT / "netdefs"
        shipped = [
            path.read_text().replace('net: "', f'net: "{folder}/').encode()
            for path in (folder / f"{name}_solver.prototxt" for name in ("mlp", "lenet", "cifar10_quick"))
        ]
        whole = f'{SOLVER} net: "{ROOT}/netdefs/mlp.prototxt" test_iter: 2 test_interval: 2 iter_size: 2 stepvalue: 3'
        inline = [f"{SOLVER} solver_type: ADAM net_param {{ {source} }}" for source in [SMALL, *OLDER]]
        return [*shipped, whole.encode(), *(source.encode() for source in inline)]

    def run(self) -> None:
        command("check", self.file)
        command("upgrade", "solver", self.file, self.folder / "new")


class _Snapshot(Target):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.param = text.parse(SMALL, pb.NetParameter)
        self.net = Net(self.param, pb.TEST)
        self.solver = make_solver(text.parse(SOLVER, pb.SolverParameter), self.net)

    def good(self, suffix: str) -> tuple[bytes, bytes]:
        """Return a model and a solver state."""
        model, state = self.folder / f"model{suffix}", self.folder / f"state{suffix}"
        snapshot.save_caffemodel(self.net, model)
        snapshot.save_solverstate(self.solver, state, model)
        return model.read_bytes(), state.read_bytes()


@TARGETS.register("caffemodel")
class Model(_Snapshot):
    """Binary models, loaded into a net."""

    share = 2

    def seeds(self) -> list[bytes]:
        old = pb.NetParameter(layers=[{"name": "ip/deep", "type": "INNER_PRODUCT"}], input=["x"])
        old.layers[0].blobs.add(num=1, channels=1, height=1, width=3, data=[1, 2, 3])
        return [self.good("")[0], old.SerializeToString()]

    def run(self) -> None:
        snapshot.load_weights(self.net, self.file)


@TARGETS.register("solverstate")
class State(_Snapshot):
    """Binary solver states, restored."""

    def seeds(self) -> list[bytes]:
        return [self.good("")[1]]

    def run(self) -> None:
        snapshot.restore(self.solver, self.file)


@TARGETS.register("caffemodel.h5")
class HDF5Model(_Snapshot):
    """HDF5 models, loaded into a net."""

    share = 2

    def seeds(self) -> list[bytes]:
        return [self.good(".h5")[0]]

    def run(self) -> None:
        snapshot.load_weights(self.net, self.file)


@TARGETS.register("solverstate.h5")
class HDF5State(_Snapshot):
    """HDF5 solver states, restored."""

    share = 2

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / "spoilt.h5"

    def seeds(self) -> list[bytes]:
        return [self.good(".h5")[1]]

    def run(self) -> None:
        snapshot.restore(self.solver, self.file)


@TARGETS.register("layers")
class Layers(Target):
    """One net for each layer type, built in both phases and, if it is small, run; C and NumPy must agree."""

    ways = (*(change_field,) * 8, inflate_number, change_number, swap_word, repeat_line)
    share = 4

    def seeds(self) -> list[bytes]:
        sys.path.insert(0, str(ROOT / "tests" / "solver"))
        from engine_support import inputs
        from test_gradients import CASES

        found = [(shapes, source) for cases in CASES.values() for shapes, source in cases]
        found += [({name: (*shape, 2) for name, shape in shapes.items()}, source) for shapes, source in found]
        return [(inputs(**shapes) + source).encode() for shapes, source in found]

    def run(self) -> None:
        param = text.read(self.file, pb.NetParameter)
        finite = not re.search(r": -?(inf|nan)", text.dump(param))
        for phase in (pb.TRAIN, pb.TEST):
            nets = [Net(param, phase, kernels=kernels) for kernels in (None, "reference")]
            work = sum(row.mflop for row in nets[0].table()) * nets[0].batch
            sizes = [np.prod(row.shape, dtype=float) for row in nets[0].table()]
            if work < 200 and max(sizes, default=0.0) < 1e6:
                compiled, reference = (_values(net) for net in nets)
                for name, values in reference.items() if finite else ():
                    _compare(name, compiled[name], values)


def _values(net: Net) -> dict[str, Array]:
    """Run a net forward and backward on small whole numbers; return its blobs, their and the parameters' gradients."""
    with contextlib.suppress(UserError):
        for parameter in net.flat.parameters:
            parameter.data[...] = np.arange(parameter.count).reshape(parameter.shape) % 5 - 1
        for name in net.wiring.tensors:
            if name not in net.outputs:
                blob = net.blobs[name]
                blob.data[...] = np.arange(blob.data.size).reshape(blob.shape) % 3
        net.forward()
        net.backward()
    found = {f"{name}.data": blob.data for name, blob in net.blobs.items()}
    found |= {f"{name}.diff": blob.diff for name, blob in net.blobs.items()}
    return found | {p.label: p.grad for p in net.flat.parameters}


def _compare(name: str, found: Array, wanted: Array) -> None:
    if found.shape != wanted.shape:
        raise Bug(f"{name}: shape {found.shape}, reference {wanted.shape}")
    with np.errstate(all="ignore"):
        fair = np.isfinite(wanted) & (np.abs(wanted) < 1e6)
        gap = np.abs(found - wanted)[fair].max(initial=0.0)
        if not gap <= 1e-3 * max(1.0, np.abs(wanted[fair]).max(initial=0.0)):
            raise Bug(f"{name}: differs by {gap} from the reference")
