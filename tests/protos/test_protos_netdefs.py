"""The nets and solvers that come with the project: they parse, and their sizes are those of the README."""

import re
from math import ceil, prod
from pathlib import Path

import pytest

from batchbrew import netdefs
from batchbrew.protos import messages as pb
from batchbrew.protos import text

FOLDER = Path(netdefs.__file__).parent
FILES = sorted(FOLDER.glob("*.prototxt"))
NETS = [path for path in FILES if not path.stem.endswith("_solver")]
SOLVERS = [path for path in FILES if path.stem.endswith("_solver")]
INPUTS = {"cifar10": (3, 32, 32), "generated": (3, 32, 32), "mnist": (1, 28, 28)}
ROW = re.compile(r"\| `(\w+\.prototxt)` \| (.*) \| (\w+) \| ([\d,]+)[^|]* \| ([\d.]+) \|")
TABLE = {row[1]: row for row in map(ROW.match, (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()) if row}


def in_phase(net, phase):
    return [layer for layer in net.layer if not layer.include or any(rule.phase == phase for rule in layer.include)]


def sizes(net):
    """Return (parameters, multiply-adds an image) by Caffe's rules for the extents of outputs."""
    parameters = work = 0
    shapes = {}
    for layer in in_phase(net, pb.TRAIN):
        shape = shapes.get(layer.bottom[0], ()) if layer.bottom else ()
        if layer.type == "Data":
            shape = INPUTS[layer.data_param.source]
        elif layer.type == "Convolution":
            param = layer.convolution_param
            kernel, pad = param.kernel_size[0], (param.pad or [0])[0]
            weights = param.num_output * shape[0] * kernel**2
            shape = (param.num_output, *(extent + 2 * pad - kernel + 1 for extent in shape[1:]))
            parameters += weights + param.num_output * param.bias_term
            work += weights * shape[1] * shape[2]
        elif layer.type == "Pooling":
            param = layer.pooling_param
            shape = (shape[0], *(ceil((extent - param.kernel_size) / param.stride) + 1 for extent in shape[1:]))
        elif layer.type == "InnerProduct":
            outputs = layer.inner_product_param.num_output
            parameters += outputs * (prod(shape) + 1)
            work += outputs * prod(shape)
            shape = (outputs,)
        elif layer.type == "BatchNorm":
            parameters += 2 * shape[0] + 1
        for top in layer.top:
            shapes[top] = shape
    return parameters, work


def test_every_file_is_in_the_table():
    listed = set(TABLE)
    for row in TABLE.values():
        listed |= set(re.findall(r"`(\w+\.prototxt)`", row[2]))
    assert listed == {path.name for path in FILES}


@pytest.mark.parametrize("path", NETS, ids=lambda path: path.stem)
def test_net_has_the_size_of_the_table(path):
    net = text.read(path, pb.NetParameter)
    parameters, work = sizes(net)
    row = TABLE[path.name]
    assert net.name == path.stem
    assert row[3] == net.layer[0].data_param.source
    assert row[4] == f"{parameters:,}"
    assert row[5] == f"{work / 1e6:.2f}"


@pytest.mark.parametrize("path", NETS, ids=lambda path: path.stem)
def test_net_is_whole_in_both_phases(path):
    net = text.read(path, pb.NetParameter)
    for phase, outputs in ((pb.TRAIN, {"loss"}), (pb.TEST, {"loss", "accuracy"})):
        known, unused = set(), set()
        for layer in in_phase(net, phase):
            assert set(layer.bottom) <= known, layer.name
            unused -= set(layer.bottom)
            known |= set(layer.top)
            unused |= set(layer.top)
        assert unused == outputs
        data = [layer for layer in in_phase(net, phase) if layer.type == "Data"]
        assert len(data) == 1
        assert data[0].data_param.batch_size > 0


@pytest.mark.parametrize("path", SOLVERS, ids=lambda path: path.stem)
def test_solver_fits_its_net(path):
    solver = text.read(path, pb.SolverParameter)
    net = text.read(FOLDER / solver.net, pb.NetParameter)
    data = {layer.include[0].phase: layer.data_param for layer in net.layer if layer.type == "Data"}
    test_samples = {"cifar10": 10_000, "mnist": 10_000, "generated": 1_000}[data[pb.TEST].source]
    assert list(solver.test_iter) == [test_samples // data[pb.TEST].batch_size]
    assert solver.lr_policy in ("fixed", "step", "inv")
    assert solver.base_lr > 0
    assert solver.max_iter % solver.test_interval == 0
    assert solver.snapshot_prefix == path.stem.removesuffix("_solver")
