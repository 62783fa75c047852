"""Every prototxt of a checkout of Caffe, over made-up samples: CAFFE_ROOT=folder pytest ..."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from batchbrew.protos import messages as pb
from batchbrew.solver import load
from batchbrew.solver.load import NetFile, read_net_file, read_solver
from batchbrew.solver.net import Net
from batchbrew.solver.pycaffe import allow_python_layers
from batchbrew.solver.stepper import Stepper
from batchbrew.solver.stepper.construction import log_net
from batchbrew.solver.synthetic import synthesize

ROOT = Path(os.environ.get("CAFFE_ROOT") or os.devnull).resolve()
pytestmark = pytest.mark.skipif(
    not (ROOT / "models").is_dir(), reason="CAFFE_ROOT does not name a checkout of Caffe with models and examples"
)
BATCH = 2  # of the passes: the batches of the files would take gigabytes
TRAIN, TEST = pb.TRAIN, pb.TEST
CIFAR, MNIST, PAIRS, ROWS = (3, 32, 32), (1, 28, 28), (2, 28, 28), (4,)
MODELS, EXAMPLES = "models/", "examples/"


@dataclass(frozen=True)
class Facts:
    """What Caffe makes of a net: number of layers and of Splits among them, bytes it logs, outputs, parameters."""

    phase: int
    layers: int
    splits: int
    memory: int
    outputs: str
    values: int
    blobs: int
    shape: tuple[int, ...] | None = None  # of the pictures that the file does not tell
    stages: tuple[str, ...] = ()


HEADS = "loss1/top-1 loss1/top-5 loss2/top-1 loss2/top-5 loss3/top-1 loss3/top-5"
LOSSES = "loss1/loss1 loss2/loss2 loss3/loss3"
ALEX, FLICKR, PASCAL = (60965224, 16), (56950164, 16), (56954261, 16)
FULL, LENET = (89578, 8), (431080, 8)
ENCODER = (3, 5948008, "cross_entropy_loss l2_error", 2837314, 16, MNIST)

NETS: dict[str, list[Facts]] = {
    "examples/cifar10/cifar10_quick": [Facts(TEST, 13, 0, 319824, "prob", 145578, 10)],
    "examples/cifar10/cifar10_quick_train_test": [
        Facts(TRAIN, 13, 0, 31978804, "loss", 145578, 10, CIFAR),
        Facts(TEST, 14, 2, 31987608, "accuracy loss", 145578, 10, CIFAR),
    ],
    "examples/cifar10/cifar10_full": [Facts(TEST, 14, 0, 360528, "prob", *FULL)],
    "examples/cifar10/cifar10_full_train_test": [
        Facts(TRAIN, 14, 0, 36049204, "loss", *FULL, CIFAR),
        Facts(TEST, 15, 2, 36058008, "accuracy loss", *FULL, CIFAR),
    ],
    "examples/cifar10/cifar10_full_sigmoid_train_test": [
        Facts(TRAIN, 12, 0, 35468056, "loss", *FULL, CIFAR),
        Facts(TEST, 13, 2, 319620008, "accuracy loss", *FULL, CIFAR),
    ],
    "examples/cifar10/cifar10_full_sigmoid_train_test_bn": [
        Facts(TRAIN, 15, 0, 40145204, "loss", 89709, 14, CIFAR),
        Facts(TEST, 16, 2, 401540008, "accuracy loss", 89709, 14, CIFAR),
    ],
    "examples/mnist/lenet": [Facts(TEST, 9, 0, 5172224, "prob", *LENET)],
    "examples/mnist/lenet_train_test": [
        Facts(TRAIN, 9, 0, 5169924, "loss", *LENET, MNIST),
        Facts(TEST, 10, 2, 8086808, "accuracy loss", *LENET, MNIST),
    ],
    "examples/mnist/mnist_autoencoder": [
        Facts(TRAIN, 19, *ENCODER),
        Facts(TEST, 19, *ENCODER, ("test-on-train",)),
        Facts(TEST, 19, *ENCODER, ("test-on-test",)),
    ],
    "examples/hdf5_classification/train_val": [
        Facts(TRAIN, 3, 0, 284, "loss", 10, 2, ROWS),
        Facts(TEST, 4, 2, 528, "accuracy loss", 10, 2, ROWS),
    ],
    "examples/hdf5_classification/nonlinear_train_val": [
        Facts(TRAIN, 5, 0, 3484, "loss", 282, 4, ROWS),
        Facts(TEST, 6, 2, 3728, "accuracy loss", 282, 4, ROWS),
    ],
    "examples/hdf5_classification/nonlinear_auto_train": [Facts(TRAIN, 6, 2, 3728, "accuracy loss", 282, 4, ROWS)],
    "examples/hdf5_classification/nonlinear_auto_test": [Facts(TEST, 6, 2, 3728, "accuracy loss", 282, 4, ROWS)],
    "examples/siamese/mnist_siamese": [Facts(TEST, 9, 0, 807840000, "feat", 431102, 10)],
    "examples/siamese/mnist_siamese_train_test": [
        Facts(TRAIN, 19, 0, 10742020, "loss", 431102, 10, PAIRS),
        Facts(TEST, 19, 0, 16784404, "loss", 431102, 10, PAIRS),
    ],
    "examples/net_surgery/conv": [Facts(TEST, 2, 0, 150592, "conv", 78, 2)],
    "examples/net_surgery/bvlc_caffenet_full_conv": [Facts(TEST, 24, 0, 34863212, "prob", *ALEX)],
    "examples/pycaffe/linreg": [Facts(TRAIN, 5, 0, 1284, "loss", 140, 4)],
    "examples/feature_extraction/imagenet_val": [Facts(TEST, 26, 2, 343807608, "accuracy loss", *ALEX)],
    "examples/finetune_pascal_detection/pascal_finetune_trainval_test": [
        Facts(TRAIN, 24, 0, 878109188, "(automatic)", *PASCAL),
        Facts(TEST, 25, 2, 878131720, "(automatic) accuracy", *PASCAL),
    ],
    "models/bvlc_alexnet/train_val": [
        Facts(TRAIN, 24, 0, 2129727492, "loss", *ALEX),
        Facts(TEST, 25, 2, 416362808, "accuracy loss", *ALEX),
    ],
    "models/bvlc_alexnet/deploy": [Facts(TEST, 24, 0, 83232440, "prob", *ALEX)],
    "models/bvlc_reference_caffenet/train_val": [
        Facts(TRAIN, 24, 0, 1757220868, "loss", *ALEX),
        Facts(TEST, 25, 2, 343607608, "accuracy loss", *ALEX),
    ],
    "models/bvlc_reference_caffenet/deploy": [Facts(TEST, 24, 0, 68681400, "prob", *ALEX)],
    "models/finetune_flickr_style/train_val": [
        Facts(TRAIN, 24, 0, 343011204, "loss", *FLICKR),
        Facts(TEST, 25, 2, 343019608, "accuracy loss", *FLICKR),
    ],
    "models/finetune_flickr_style/deploy": [Facts(TEST, 24, 0, 68603000, "prob", *FLICKR)],
    "models/bvlc_reference_rcnn_ilsvrc13/deploy": [Facts(TEST, 23, 0, 68609400, "fc-rcnn", 57687624, 16)],
    "models/bvlc_googlenet/train_val": [
        Facts(TRAIN, 159, 10, 1795091980, LOSSES, 13378280, 128),
        Facts(TEST, 165, 13, 2806632436, f"{LOSSES} {HEADS}", 13378280, 128),
    ],
    "models/bvlc_googlenet/deploy": [Facts(TEST, 143, 9, 551533440, "prob", 6998552, 116)],
}  # fmt: skip
INLINE = [
    Facts(TRAIN, 10, 2, 5175560, "accuracy loss", *LENET, MNIST),
    Facts(TEST, 10, 2, 8086808, "accuracy loss", *LENET, MNIST),
    Facts(TEST, 10, 2, 8086808, "accuracy loss", *LENET, MNIST),
]
CONSOLIDATED = "examples/mnist/lenet_consolidated_solver.prototxt"
WRITTEN_BY_A_NOTEBOOK = re.compile(r"mnist/lenet_auto_(train|test)\.prototxt")


def files() -> list[Path]:
    """Return the prototxt files that come with Caffe."""
    return sorted(path for folder in ("examples", "models") for path in (ROOT / folder).rglob("*.prototxt"))


def nets() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in files() if "solver" not in path.name]


def solvers() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in files() if "solver" in path.name]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder to write in, with Python layers as the examples have them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "pycaffe" / "layers"))
    allow_python_layers()
    yield
    allow_python_layers(False)


def test_nothing_is_left_out():
    assert set(nets()) == {f"{name}.prototxt" for name in NETS}
    assert len(solvers()) == 25


def check_built(net: Net, facts: Facts, capsys) -> None:
    """Hold a net, not yet run, against the facts."""
    capsys.readouterr()
    log_net(net)
    figures = re.findall(r"Memory required for data: (\d+)", capsys.readouterr().err)
    splits = sum(layer.type == "Split" for layer in net.layers)
    assert (len(net.layers) - splits, splits) == (facts.layers, facts.splits)
    assert int(figures[-1]) == facts.memory
    assert net.outputs == sorted(facts.outputs.split())
    assert (sum(p.count for p in net.flat.parameters), len(net.flat.parameters)) == (facts.values, facts.blobs)


def check_run(net: Net) -> None:
    """Run a net forward and backward: all finite, and gradients wherever something is learned."""
    for number in net.wiring.written:
        for top in net.wiring.tops[number]:
            shape = (min(BATCH, net.wiring.shapes[top.number][0]), *net.wiring.shapes[top.number][1:])
            net.whole.resize(top.name, shape)[...] = np.random.default_rng(0).normal(size=shape)
    made = net.forward()
    assert all(np.isfinite(array).all() for array in made.values())
    net.backward()
    if net.wiring.weights:
        assert np.isfinite(net.flat.grads).all()
        assert net.flat.grads.any()


@pytest.mark.parametrize("name", NETS)
def test_net(name, capsys):
    for facts in NETS[name]:
        full, small = (read_net_file(ROOT / f"{name}.prototxt") for _ in range(2))
        synthesize(full.param, full.path, facts.shape)
        synthesize(small.param, small.path, facts.shape, BATCH)
        built = full.build(facts.phase, stages=facts.stages)
        check_built(built, facts, capsys)
        check_run(small.build(facts.phase, stages=facts.stages, share=built))


def test_nets_inside_a_solver(capsys):
    solver = read_solver(ROOT / CONSOLIDATED)
    synthesize(solver.net_param, CONSOLIDATED, MNIST)
    found = [load.train_net(solver, CONSOLIDATED), *load.test_nets(solver, CONSOLIDATED)]
    for file, facts in zip(found, INLINE, strict=True):
        net = file.build(file.param.state.phase)
        check_built(net, facts, capsys)
        check_run(net)


def stand_in(name: str) -> pb.NetParameter:
    """Return the net that a solver names, over few made-up samples."""
    known = WRITTEN_BY_A_NOTEBOOK.sub("examples/mnist/lenet_train_test.prototxt", name)
    file: NetFile = read_net_file(ROOT / known)
    synthesize(file.param, known, NETS[known.removesuffix(".prototxt")][0].shape, BATCH)
    return file.param


@pytest.mark.parametrize("name", solvers())
def test_solver(name):
    solver = read_solver(ROOT / name)
    for field in ("net", "train_net"):
        if solver.HasField(field):
            getattr(solver, f"{field}_param").CopyFrom(stand_in(getattr(solver, field)))
            solver.ClearField(field)
    if solver.HasField("net_param"):
        synthesize(solver.net_param, name, MNIST, BATCH)
    solver.test_net_param.extend(stand_in(file) for file in solver.test_net)
    solver.ClearField("test_net")
    solver.test_initialization = False
    Path(solver.snapshot_prefix or ".").parent.mkdir(parents=True, exist_ok=True)
    stepper = Stepper(solver, name, seed=1)
    before = stepper.net.flat.values.copy()
    stepper.step(1)
    assert stepper.iter == 1
    assert not np.array_equal(before, stepper.net.flat.values)
    assert np.isfinite(stepper.net.flat.values).all()
    if stepper.test_nets:
        stepper.param.test_iter[0] = 1
        assert stepper.test(0)
