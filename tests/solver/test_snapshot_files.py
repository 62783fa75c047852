"""Model and state files: what is loaded where, and what is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from engine_support import RECORDINGS, inputs, layer, net_of, randomise, solver_of

from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.solver import load, snapshot
from batchbrew.solver.data.part import Part
from batchbrew.solver.solvers import make_solver

NETDEFS = Path(__file__).parents[2] / "netdefs"
IP = "inner_product_param {{ num_output: {} }}"


def ip(name, bottom, top, out=3, rest=""):
    return layer(name, "InnerProduct", bottom, top, rest + IP.format(out))


NET = 'name: "small" ' + inputs(x=(2, 3)) + ip("first", "x", "y") + ip("deep/second", "y", "z", 2)
NAMED = 'param { name: "w" } '
SHARED = inputs(x=(2, 3)) + ip("a", "x", "y", rest=NAMED) + ip("b", "y", "z", rest=NAMED)
SUFFIXES = pytest.mark.parametrize("suffix", ["", ".h5"])


def solver_for(net):
    return make_solver(solver_of('lr_policy: "fixed" base_lr: 0.1 momentum: 0.9'), net)


@SUFFIXES
@pytest.mark.parametrize("source", [NET, SHARED])
def test_round_trip(source, suffix, tmp_path):
    """Layer names with slashes and parameters shared by name come back, and nothing else is left in the folder."""
    path = tmp_path / f"m.caffemodel{suffix}"
    written, read = net_of(source), net_of(source)
    randomise(written)
    snapshot.save_caffemodel(written, path)
    assert snapshot.load_weights(read, path) == []
    assert read.flat.checksum() == written.flat.checksum()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@SUFFIXES
def test_layers_that_the_net_has_not_are_reported(suffix, tmp_path):
    path = tmp_path / f"m.caffemodel{suffix}"
    written = net_of(NET)
    randomise(written)
    snapshot.save_caffemodel(written, path)
    less = net_of(inputs(x=(2, 3)) + ip("first", "x", "y") + ip("other", "y", "z"))
    other = less.params["other"][0].data.copy()
    assert snapshot.load_weights(less, path) == ["deep/second"]
    assert np.array_equal(less.params["first"][0].data, written.params["first"][0].data)
    assert np.array_equal(less.params["other"][0].data, other)


def test_legacy_shapes_align_from_the_last_axis(tmp_path):
    """(1, 1, a, b) fits (a, b); (a, b, 1, 1) does not."""
    model = pb.NetParameter()
    entry = model.layer.add(name="first", type="InnerProduct")
    for values, shape in ((np.arange(9), (1, 1, 3, 3)), (np.arange(3), (1, 1, 1, 3))):
        entry.blobs.add(
            num=shape[0], channels=shape[1], height=shape[2], width=shape[3], data=values.astype(np.float32)
        )
    path = tmp_path / "old.caffemodel"
    binary.write(path, model)
    net = net_of(NET)
    snapshot.load_weights(net, path)
    assert np.array_equal(net.params["first"][0].data, np.arange(9).reshape(3, 3))
    entry.blobs[0].num, entry.blobs[0].channels, entry.blobs[0].height, entry.blobs[0].width = 3, 3, 1, 1
    binary.write(path, model)
    with pytest.raises(
        UserError, match=r"its shape is \(3, 3, 1, 1\), the net's is \(3, 3\); to learn this layer anew"
    ):
        snapshot.load_weights(net, path)


def test_a_failed_load_changes_nothing(tmp_path):
    wide = net_of(NET.replace("num_output: 2", "num_output: 4"))
    snapshot.save_caffemodel(wide, tmp_path / "m.caffemodel")
    net = net_of(NET)
    before = net.flat.checksum()
    with pytest.raises(
        UserError, match=r"m.caffemodel: cannot copy blob 0 of layer 'deep/second': its shape is \(4, 3\), "
    ):
        snapshot.load_weights(net, tmp_path / "m.caffemodel")
    assert net.flat.checksum() == before


@SUFFIXES
def test_what_is_no_model(suffix, tmp_path):
    net, path = net_of(NET), tmp_path / f"m.caffemodel{suffix}"
    with pytest.raises(UserError, match=r"m.caffemodel.*: no such model file"):
        snapshot.load_weights(net, path)
    snapshot.save_solverstate(solver_for(net), path, "x.caffemodel")
    with pytest.raises(UserError, match=r"is an HDF5 file but no model \(no group 'data'\)|is a SolverState"):
        snapshot.load_weights(net, path)
    snapshot.save_caffemodel(net_of(inputs(x=(2, 3)) + ip("other", "x", "y")), path)
    with pytest.raises(UserError, match=r"no layer of this model is in the net \(model: other\)"):
        snapshot.load_weights(net, path)
    bare = NET.replace("num_output: 3", "bias_term: false num_output: 3")
    snapshot.save_caffemodel(net_of(bare), path)
    with pytest.raises(UserError, match=r"layer 'first' has 1 blobs, the net's has 2"):
        snapshot.load_weights(net, path)


def test_old_and_damaged_models(tmp_path):
    path, net = tmp_path / "m.caffemodel", net_of(NET)
    old = pb.NetParameter()
    old.layers.add(name="first")
    binary.write(path, old)
    with pytest.raises(UserError, match=r"is a model in an old format \(layers\)"):
        snapshot.load_weights(net, path)
    binary.write(path, pb.NetParameter(name="bare"))
    with pytest.raises(UserError, match=r"holds no weights; a .caffemodel was expected \(a .solverstate is given with"):
        snapshot.load_weights(net, path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n and nothing more")
    with pytest.raises(UserError, match=r"m.caffemodel: damaged HDF5 model: "):
        snapshot.load_weights(net, path)
    path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(UserError, match=r"m.caffemodel"):
        snapshot.load_weights(net, path)


@SUFFIXES
def test_what_is_no_state(suffix, tmp_path):
    net = net_of(NET)
    solver, path = solver_for(net), tmp_path / f"s.solverstate{suffix}"
    with pytest.raises(UserError, match=r"s.solverstate.*: no such snapshot"):
        snapshot.restore(solver, path)
    snapshot.save_caffemodel(net, path)
    with pytest.raises(UserError, match=r"is no solver state \(no 'iter' and 'history'\)|is a NetParameter"):
        snapshot.restore(solver, path)
    snapshot.save_solverstate(solver, path, tmp_path / "gone.caffemodel")
    with pytest.raises(UserError, match=r"names the model file '.*gone.caffemodel', which is not there"):
        snapshot.restore(solver, path)
    other = solver_for(net_of(inputs(x=(2, 3)) + ip("first", "x", "y")))
    with pytest.raises(
        UserError, match=r"holds 4 history blobs, a SGD solver of this net needs 2 \(another net or solver"
    ):
        snapshot.restore(other, path)
    wide = solver_for(net_of(NET.replace("num_output: 2", "num_output: 4")))
    with pytest.raises(UserError, match=r"a history blob has shape \(2, 3\) where deep/second\[0\] has \(4, 3\)"):
        snapshot.restore(wide, path)


def test_a_state_without_iteration(tmp_path):
    path = tmp_path / "s.solverstate"
    binary.write(path, pb.SolverState(learned_net="m.caffemodel"))
    with pytest.raises(
        UserError, match=r"is no solver state; a .solverstate was expected \(weights are given with --weights\)"
    ):
        snapshot.restore(solver_for(net_of(NET)), path)


def test_a_damaged_hdf5_state(tmp_path):
    path = tmp_path / "s.solverstate.h5"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"s.solverstate.h5: damaged HDF5 solver state: "):
        snapshot.restore(solver_for(net_of(NET)), path)
    with h5py.File(path, "w") as file:
        file["iter"] = np.array([3])
        file["history/7"] = np.zeros(3)
    with pytest.raises(UserError, match=r"s.solverstate.h5: damaged HDF5 solver state: "):
        snapshot.restore(solver_for(net_of(NET)), path)


def test_the_model_is_found_beside_its_state(tmp_path):
    net = net_of(NET)
    randomise(net)
    solver = solver_for(net)
    solver.iter = 7
    snapshot.save_caffemodel(net, tmp_path / "m.caffemodel")
    snapshot.save_solverstate(solver, tmp_path / "m.solverstate", "/elsewhere/m.caffemodel")
    fresh = solver_for(net_of(NET))
    snapshot.restore(fresh, tmp_path / "m.solverstate")
    assert fresh.iter == 7
    assert fresh.net.flat.checksum() == net.flat.checksum()


def test_caffes_own_cifar10_quick_model_loads():
    path = RECORDINGS / "cifar10_quick" / "cifar10_quick_iter_4000.solverstate"
    if not path.exists():
        pytest.skip("the full recordings of Caffe are not beside the project")
    param = load.read_solver(NETDEFS / "cifar10_quick_solver.prototxt")
    file = load.solver_net(param, NETDEFS / "cifar10_quick_solver.prototxt", pb.TRAIN)
    for entry in file.param.layer:
        if entry.type == "Data":
            entry.transform_param.ClearField("mean_file")
    part = Part(np.zeros((2, 3, 32, 32), np.uint8), np.zeros(2, np.int32))
    solver = make_solver(param, file.build(pb.TRAIN, data=part))
    snapshot.restore(solver, path)
    assert solver.iter == 4000
    assert abs(solver.net.params["conv1"][0].data).max() > 0.01
