"""The nets and solvers that come along: they compute, they learn, and their sizes are the published ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.runner.check import check_file
from batchbrew.solver import load
from batchbrew.solver.data import dataset
from batchbrew.solver.net import Net
from batchbrew.solver.solvers import make_solver
from batchbrew.solver.synthetic import READERS, synthesize

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "netdefs"
FILES = sorted(FOLDER.glob("*.prototxt"))
SOLVERS = [path for path in FILES if path.stem.endswith("_solver")]
NETS = [path.stem for path in FILES if path not in SOLVERS]
BATCH = 4  # of the nets that read real, tiny data; those for ImageNet get one made-up picture


@dataclass(frozen=True)
class Published:
    """Sizes as published, rounded as they were: all values, those learned (where statistics are more), multiply-adds.

    ``parts`` are the parameters of what is published without the layers whose name begins with ``without``.
    """

    parameters: str
    multiply_adds: str
    source: str
    learned: str = ""
    without: str = ""
    parts: int = 0


CAFFE = "what Caffe 1.0 counts in its own example"
SZE = "Sze et al., Efficient Processing of Deep Neural Networks, 2017, table 2 (AlexNet 724 M, VGG-16 15.5 G, ResNet 3.9 G)"
HAND = "by hand, see BY_HAND"
PUBLISHED = {
    "alexnet": Published("60965224", "724M", f"Caffe's model; {SZE}"),
    "caffenet": Published("60965224", "724M", "Caffe's reference model"),
    "cifar10_full": Published("89578", "12.3M", CAFFE),
    "cifar10_quick": Published("145578", "12.4M", CAFFE),
    "cifar10_sigmoid_bn": Published("89709", "12.3M", CAFFE),
    "cifar10_tutorial": Published("1068298", "18.47M", f"the tutorial's text; multiply-adds {HAND}"),
    "cinic10_nf": Published("20581966", "1061.9M", HAND),
    "googlenet": Published(
        "13378280",
        "1591M",
        "Caffe's model: train_val, and deploy without the heads",
        without="loss1 loss2",
        parts=6998552,
    ),
    "hidden_layer": Published("282", "240", CAFFE),
    "lenet": Published("431080", "2.29M", CAFFE),
    "logistic_regression": Published("10", "8", CAFFE),
    "mlp": Published("101770", "101632", HAND),
    "mnist_autoencoder": Published("2837314", "2.83M", CAFFE),
    "mnist_siamese": Published("431102", "4.59M", CAFFE),
    "mobilenet": Published(
        "4253891", "569M", "the Caffe weights; Howard et al. 2017, table 8: 569 M, 4.2 M", learned="4.2M"
    ),
    "nin": Published("7.6M", "1.10G", f"the authors' Caffe model takes 29 MB; multiply-adds {HAND}"),
    "parity": Published("354", "320", HAND),
    "quick_start": Published("28426", "5.10M", HAND),
    "regression": Published("330113", "328832", HAND),
    "resnet20_cifar10": Published(
        "271117", "40.6M", "He et al. 2015, table 6; He Y. et al., Soft Filter Pruning, 2018: 4.06e7", learned="0.27M"
    ),
    "resnet50": Published("25610269", "3.86G", f"the published Caffe weights; He et al. 2015; {SZE}", learned="25.6M"),
    "resnet56_cifar10": Published(
        "857137", "125M", "He et al. 2015, table 6; Li et al., Pruning Filters, 2017: 1.25e8", learned="0.85M"
    ),
    "squeezenet1_0": Published("1248424", "861M", "Iandola et al. 2016, table 1; the authors' Caffe model"),
    "squeezenet1_1": Published("1235496", "388M", "the authors' Caffe model"),
    "vgg16": Published("138.4M", "15.5G", f"Simonyan and Zisserman 2014, table 2: 138 M; {SZE}"),
}


# Biases whose gradient is 0 but for rounding: a difference of two towers, or batch normalisation, takes them away again.
CANCELLED = {"mnist_siamese": {"ip2[1]", "feat[1]"}, "resnet50": {"conv1[1]"}}


def dense(*sizes: int) -> tuple[int, int]:
    """Return parameters and multiply-adds of a chain of dense layers."""
    work = sum(a * b for a, b in pairwise(sizes))
    return work + sum(sizes[1:]), work


def chain(*layers: tuple[int, int, int, int]) -> tuple[int, int]:
    """Return the same of convolutions (inputs, outputs, taps, places) with biases."""
    return sum(c * k * t + k for c, k, t, _ in layers), sum(c * k * t * p for c, k, t, p in layers)


def nin_block(inputs: int, outputs: int, taps: int, size: int, last: int = 0) -> list[tuple[int, int, int, int]]:
    return [(inputs, outputs, taps, size**2), (outputs, outputs, 1, size**2), (outputs, last or outputs, 1, size**2)]


def nf_block(inputs: int, outputs: int, size: int) -> list[tuple[int, int, int, int]]:
    places = size**2
    return [(inputs, outputs, 1, places), (inputs, outputs, 9, places), (outputs, outputs, 9, places)]


BY_HAND = {
    "cifar10_tutorial": (chain((3, 64, 25, 576), (64, 64, 25, 144)), dense(36 * 64, 384, 192, 10)),
    "cinic10_nf": (
        chain(
            *((3, 32, 9, 36**2), (32, 64, 9, 36**2)),
            *(*nf_block(64, 128, 18), *nf_block(128, 256, 18), *nf_block(256, 512, 9), *nf_block(512, 1024, 5)),
        ),
        dense(1024, 1024, 10),
        (4, 0),  # the weights of the four blocks
    ),
    "mlp": (dense(784, 128, 10),),
    "nin": (
        chain(
            *(*nin_block(3, 96, 121, 54), *nin_block(96, 256, 25, 27), *nin_block(256, 384, 9, 13)),
            *nin_block(384, 1024, 9, 6, 1000),
        ),
    ),
    "parity": (dense(8, 32, 2),),
    "quick_start": (chain((3, 16, 25, 1024), (16, 32, 25, 256), (32, 32, 9, 64)), dense(512, 10)),
    "regression": (dense(8, 128, 256, 512, 256, 128, 1),),
}


def tool(name: str) -> ModuleType:
    """Return the module of a file in tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the data of all nets but those of ImageNet: real in form, tiny, random."""
    folder = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("BATCHBREW_DATA", raising=False)
        random = np.random.default_rng(0)
        for name, shape in (("cifar10", (3, 32, 32)), ("cinic10", (3, 32, 32)), ("mnist", (1, 28, 28))):
            parts = [
                dataset.Part(random.integers(0, 256, (count, *shape), np.uint8), np.arange(count, dtype=np.int32) % 10)
                for count in (20, 10)
            ]
            dataset.write_dataset(folder / "datasets" / f"{name}.h5", name, list("0123456789"), *parts)
        examples = tool("example_data")
        for name, table in examples.TABLES.items():
            examples.write(name, table())
        examples.mnist_pairs()
        yield folder
    built.cache_clear()


@dataclass(frozen=True)
class Facts:
    """What a net was seen to be and do in both phases."""

    parameters: dict[str, int]  # by layer
    learned: int
    multiply_adds: float  # a picture
    losses: tuple[float, float]  # TRAIN, TEST
    outputs: tuple[set[str], set[str]]
    dead: list[str]  # learned parameters without any gradient


@cache
def built(name: str) -> Facts:
    """Build a net in both phases with its solver, run it, and forget it: some take gigabytes."""
    solver = load.read_solver(FOLDER / f"{name}_solver.prototxt")
    nets: list[Net] = []
    for phase in (pb.TRAIN, pb.TEST):
        file = load.solver_net(solver, FOLDER / f"{name}_solver.prototxt", phase)
        if any(layer.data_param.source.startswith("imagenet") for layer in file.param.layer):
            synthesize(file.param, file.path, batch=1)
        for layer in file.param.layer:
            if layer.type in READERS:
                getattr(layer, READERS[layer.type]).batch_size = BATCH
        nets.append(file.build(phase, share=nets[0] if nets else None))
    train, test = nets
    made = make_solver(solver, train)
    outputs = set(train.forward()), set(test.forward())
    losses = train.total_loss, test.total_loss
    train.zero_sums()
    train.backward()
    learned = [parameter for parameter in train.flat.parameters if parameter.lr_mult]
    dead = [parameter.label for parameter in learned if not parameter.grads.any()]
    before = train.flat.values[: 1 << 20].copy()
    made.apply(made.rate(0))
    assert not np.array_equal(train.flat.values[: 1 << 20], before)
    return Facts(
        {row.name: row.parameters for row in train.table()},
        sum(parameter.count for parameter in learned),
        sum(multiply_adds(train, i) for i in range(len(train.layers))) / train.batch,
        losses,
        outputs,
        dead,
    )


def multiply_adds(net: Net, number: int) -> int:
    bottoms, tops = (
        [net.wiring.shapes[t.number] for t in side[number]] for side in (net.wiring.bottoms, net.wiring.tops)
    )
    return net.layers[number].multiply_adds(bottoms, tops)


def shown(value: float, like: str) -> str:
    """Return a number with the unit and as many decimals as ``like``."""
    unit = like[-1] if like[-1] in "MG" else ""
    decimals = len(like.rstrip("MG").partition(".")[2])
    return f"{value / {'': 1, 'M': 1e6, 'G': 1e9}[unit]:.{decimals}f}{unit}"


def total(name: str) -> int:
    """Return the number of values of a net; the second tower of siamese nets has the parameters of the first."""
    return sum(count for layer, count in built(name).parameters.items() if not layer.endswith("_p"))


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_written_nets_are_those_of_the_tool() -> None:
    written = {net.name: net.text for net in tool("netdefs").NETS}
    assert {name: (FOLDER / f"{name}.prototxt").read_text(encoding="utf-8") for name in written} == written
    named = {name for name in NETS if "tools/netdefs.py" in (FOLDER / f"{name}.prototxt").read_text(encoding="utf-8")}
    assert named == set(written)


def test_every_net_has_a_solver_sizes_and_a_row_in_the_table() -> None:
    assert {path.stem for path in SOLVERS} >= {f"{name}_solver" for name in NETS}
    assert set(PUBLISHED) == set(rows()) == set(NETS)


@pytest.mark.parametrize("name", NETS)
def test_the_file_says_what_it_holds(name: str) -> None:
    source = (FOLDER / f"{name}.prototxt").read_text(encoding="utf-8")
    assert source.startswith("# ")
    assert text.parse(source, pb.NetParameter).name == name


TEST_SAMPLES = {
    "cifar10": 10_000,
    "cinic10": 90_000,
    "datasets/parity/all.txt": 256,
    "datasets/regression/test.txt": 4_000,
    "datasets/two_classes/test.txt": 2_500,
    "generated": 1_000,
    "imagenet_val_lmdb": 50_000,
    "mnist": 10_000,
    "mnist_pairs": 10_000,
}


@pytest.mark.parametrize("path", SOLVERS, ids=lambda path: path.stem)
def test_the_solver_fits_its_net(path: Path) -> None:
    """It tests on every test picture once, and ends with a test."""
    solver = load.read_solver(path)
    file = load.solver_net(solver, path, pb.TEST)
    layer = next(layer for layer in file.param.layer if layer.include and layer.include[0].phase == pb.TEST)
    reader: Any = getattr(layer, READERS[layer.type])
    assert solver.test_iter[0] * reader.batch_size == TEST_SAMPLES[reader.source]
    assert solver.max_iter % solver.test_interval == 0
    assert solver.snapshot_prefix == path.stem.removesuffix("_solver")
    assert solver.base_lr > 0


# --- nets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_the_net_computes_and_every_parameter_learns(name: str) -> None:
    facts = built(name)
    assert all(isfinite(loss) and loss > 0 for loss in facts.losses)
    assert set(facts.dead) <= CANCELLED.get(name, set())
    assert "loss" in facts.outputs[0]
    assert "loss" in facts.outputs[1]
    known = {"loss", "accuracy", "accuracy_top5", "l2_error", "loss1/loss", "loss2/loss"}
    assert facts.outputs[0] | facts.outputs[1] <= known, "a blob that nobody reads"


@pytest.mark.parametrize("name", NETS)
def test_the_net_has_the_published_size(name: str) -> None:
    facts, published = built(name), PUBLISHED[name]
    assert shown(total(name), published.parameters) == published.parameters, published.source
    assert shown(facts.multiply_adds, published.multiply_adds) == published.multiply_adds, published.source
    if published.learned:
        assert shown(facts.learned, published.learned) == published.learned, published.source
    elif name != "cifar10_sigmoid_bn":
        assert facts.learned == total(name)
    if published.without:
        beside = tuple(published.without.split())
        rest = sum(count for layer, count in facts.parameters.items() if not layer.startswith(beside))
        assert rest == published.parts, published.source


@pytest.mark.parametrize("name", BY_HAND)
def test_the_net_has_the_size_computed_by_hand(name: str) -> None:
    parameters, work = np.sum(BY_HAND[name], axis=0)
    assert (total(name), built(name).multiply_adds) == (parameters, work)


def rows() -> dict[str, list[str]]:
    """Return the cells of the README's table by net."""
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row for row in cells if len(row) == 7}


@pytest.mark.parametrize("name", NETS)
def test_the_table_tells_the_size_and_the_command(name: str) -> None:
    row = rows()[name]
    assert row[3] == f"{total(name):,}"
    work = built(name).multiply_adds / 1e6
    assert row[4] == (f"{work:,.0f}" if work >= 100 else f"{work:.2f}" if work >= 0.01 else "< 0.01")
    assert f"`batchbrew train --solver netdefs/{name}_solver.prototxt`" in row[5]


def test_the_autoencoder_is_tested_on_the_part_that_the_stage_names() -> None:
    file = load.read_net_file(FOLDER / "mnist_autoencoder.prototxt")
    found = dataset.resolve("mnist")
    for stage, part in (("test-on-test", found.test), ("test-on-train", found.train)):
        net = file.build(pb.TEST, stages=(stage,))
        net.forward()
        wanted = part.images[0].astype(np.float32) / 255
        np.testing.assert_allclose(net.blobs["data"].data[0], wanted, rtol=1e-6)


def test_shortcuts_of_residual_nets_for_cifar_append_zeros() -> None:
    net = load.read_net_file(FOLDER / "resnet20_cifar10.prototxt").build(pb.TRAIN)
    net.forward()
    whole, half = net.blobs["block1_3_sum"].data, net.blobs["block2_1_shortcut"].data
    assert np.array_equal(half[:, :16], whole[:, :, ::2, ::2])
    assert half.shape == (128, 32, 16, 16)
    assert not half[:, 16:].any()


# --- what is learned, and what is said ------------------------------------------------------------------------------


def trained(name: str, updates: int) -> float:
    """Return the accuracy on the test data after some updates of the net's own solver."""
    path = FOLDER / f"{name}_solver.prototxt"
    solver = load.read_solver(path)
    net = load.solver_net(solver, path, pb.TRAIN).build(pb.TRAIN, seed=1)
    test = load.solver_net(solver, path, pb.TEST).build(pb.TEST, share=net)
    made = make_solver(solver, net)
    for update in range(updates):
        net.zero_sums()
        net.accumulate(np.arange(net.batch) + update * net.batch, 0)
        made.apply(made.rate(update))
    test.zero_sums()
    test.evaluate(np.arange(solver.test_iter[0] * test.batch))
    right, samples = test.statistics["accuracy"]
    assert samples == solver.test_iter[0] * test.batch
    return float(right / samples)


def test_parity_is_learned() -> None:
    assert trained("parity", 1000) == 1


def test_a_hidden_layer_parts_what_no_line_parts() -> None:
    line, bent = trained("logistic_regression", 3000), trained("hidden_layer", 3000)
    assert 0.65 < line < 0.75
    assert bent > line + 0.05


def test_check_finds_the_nets_right_whose_data_are_known() -> None:
    for name in NETS:
        source = (FOLDER / f"{name}.prototxt").read_text(encoding="utf-8")
        if "imagenet" not in source:
            assert check_file(FOLDER / f"{name}.prototxt").startswith(f"net '{name}': ")
