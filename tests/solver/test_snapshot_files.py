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


MISMATCH = (
    r"m.caffemodel.*: Cannot copy param 0 weights from layer 'first'; shape mismatch. Source param shape is {}; target "
    r"param shape is {}. To learn this layer's parameters from scratch rather than copying from a saved net, rename "
    r"the layer.$"
)


def test_legacy_shapes_align_from_the_last_axis(tmp_path):
    """(1, 1, a, b) fits (a, b); (a, b, 1, 1) does not."""
    model = pb.NetParameter()
    entry = model.layer.add(name="first", type="InnerProduct")
    for values, shape in ((np.arange(9), (1, 1, 3, 3)), (np.arange(3), (1, 1, 1, 3))):
        entry.blobs.add(
            num=shape[0], channels=shape[1], height=shape[2], width=shape[3], data=values.astype(np.float32)
        )
    path = tmp_path / "m.caffemodel"
    binary.write(path, model)
    net = net_of(NET)
    snapshot.load_weights(net, path)
    assert np.array_equal(net.params["first"][0].data, np.arange(9).reshape(3, 3))
    entry.blobs[0].num, entry.blobs[0].channels, entry.blobs[0].height, entry.blobs[0].width = 3, 3, 1, 1
    binary.write(path, model)
    with pytest.raises(UserError, match=MISMATCH.format(r"3 3 1 1 \(9\)", r"3 3 \(9\)")):
        snapshot.load_weights(net, path)
    entry.blobs[0].CopyFrom(binary.array_to_blob(np.ones((1, 1, 3, 3))))  # not legacy: every axis counts
    binary.write(path, model)
    with pytest.raises(UserError, match=MISMATCH.format(r"1 1 3 3 \(9\)", r"3 3 \(9\)")):
        snapshot.load_weights(net, path)


def test_shapes_in_hdf5_files_are_compared_as_they_are(tmp_path):
    with h5py.File(tmp_path / "m.caffemodel.h5", "w") as file:
        file["data/first/0"], file["data/first/1"] = np.zeros((1, 3, 3)), np.zeros(3)
    with pytest.raises(UserError, match=MISMATCH.format(r"1 3 3 \(9\)", r"3 3 \(9\)")):
        snapshot.load_weights(net_of(NET), tmp_path / "m.caffemodel.h5")


def test_doubles_and_gradients_are_read(tmp_path):
    model = pb.NetParameter()
    entry = model.layer.add(name="first")
    entry.blobs.add(double_data=np.arange(9) / 3, double_diff=-np.arange(9), data=[1], shape={"dim": [3, 3]})
    entry.blobs.add(data=[1, 2, 3], diff=[4, 5, 6], shape={"dim": [3]})
    binary.write(tmp_path / "m.caffemodel", model)
    net = net_of(NET)
    net.flat.grads[...] = 7
    snapshot.load_weights(net, tmp_path / "m.caffemodel")
    weight, bias = net.params["first"]
    assert weight.data.ravel() == pytest.approx(np.arange(9) / 3)
    assert np.array_equal(weight.grad.ravel(), -np.arange(9))
    assert np.array_equal(bias.grad, [4, 5, 6])
    assert (net.params["deep/second"][0].grad == 7).all()


@SUFFIXES
def test_gradients_are_written_on_request(suffix, tmp_path):
    """With shared parameters too: every layer of an HDF5 file then has gradients, though only the owner has values."""
    net, path = net_of(SHARED), tmp_path / f"m.caffemodel{suffix}"
    randomise(net)
    net.flat.grads[...] = np.random.default_rng(1).normal(size=net.flat.size)
    snapshot.save_caffemodel(net, path, diffs=True)
    if suffix:
        with h5py.File(path) as file:
            assert {name: list(group) for name, group in file["data"].items()} == {"a": ["0", "1"], "b": ["1"], "x": []}
            assert {name: list(group) for name, group in file["diff"].items()} == {
                "a": ["0", "1"], "b": ["0", "1"], "x": [],
            }  # fmt: skip
            assert file["diff/b/0"][()] == pytest.approx(net.params["a"][0].grad, rel=1e-6)
    else:
        blobs = {layer.name: layer.blobs for layer in binary.read(path, pb.NetParameter).layer}
        for name, parameters in net.params.items():
            for blob, parameter in zip(blobs[name], parameters, strict=True):
                assert binary.diff_to_array(blob) == pytest.approx(parameter.grad, rel=1e-6)
                assert np.array_equal(binary.blob_to_array(blob), parameter.data)
    assert snapshot.load_weights(net_of(SHARED), path) == []


@SUFFIXES
def test_a_test_net_is_saved_whole_though_it_shares_with_the_training_net(suffix, tmp_path):
    train, path = net_of(SHARED), tmp_path / f"m.caffemodel{suffix}"
    randomise(train)
    test = net_of(SHARED, pb.TEST, share=train)
    snapshot.save_caffemodel(test, path)
    fresh = net_of(SHARED)
    snapshot.load_weights(fresh, path)
    assert fresh.flat.checksum() == train.flat.checksum()


@SUFFIXES
def test_permissive_sharing_comes_back(suffix, tmp_path):
    loose = 'param { name: "w" share_mode: PERMISSIVE } '
    source = inputs(x=(2, 6)) + ip("a", "x", "y", 1, rest=NAMED) + ip("b", "y", "z", 6, rest=loose)
    net, path = net_of(source), tmp_path / f"m.caffemodel{suffix}"
    randomise(net)
    snapshot.save_caffemodel(net, path)
    fresh = net_of(source)
    snapshot.load_weights(fresh, path)
    assert fresh.flat.checksum() == net.flat.checksum()
    assert fresh.params["b"][0].data.shape == (6, 1)


def test_of_two_layers_of_one_name_the_first_is_set(tmp_path):
    """Caffe looks up the first layer of a name for each layer of a binary file."""
    twins = inputs(x=(2, 3)) + ip("first", "x", "y") + ip("first", "y", "z")
    net = net_of(twins)
    before = [p.data.copy() for p in net.layers[2].parameters]
    model = pb.NetParameter()
    for value in (1, 2):
        entry = model.layer.add(name="first")
        entry.blobs.extend([binary.array_to_blob(np.full((3, 3), value)), binary.array_to_blob(np.full(3, value))])
    binary.write(tmp_path / "m.caffemodel", model)
    assert snapshot.load_weights(net, tmp_path / "m.caffemodel") == []
    assert (net.layers[1].parameters[0].data == 2).all()
    assert all(np.array_equal(p.data, old) for p, old in zip(net.layers[2].parameters, before, strict=True))


def test_names_that_hdf5_cannot_hold(tmp_path):
    path = tmp_path / "m.caffemodel.h5"
    nested = inputs(x=(2, 3)) + ip("a", "x", "y") + ip("a/b", "y", "z") + ip("a/b/0", "z", "v")
    with pytest.raises(UserError, match=r"layer 'a/b/0' \(InnerProduct\): HDF5 files cannot hold a layer of this name"):
        snapshot.save_caffemodel(net_of(nested), path)
    for name in ("", "/a", "a//b", "."):
        with pytest.raises(UserError, match=r"HDF5 files cannot hold a layer of this name, or two of one name"):
            snapshot.save_caffemodel(net_of(inputs(x=(2, 3)) + ip(name, "x", "y")), path)
    with pytest.raises(UserError, match=r"HDF5 files cannot hold a layer of this name, or two of one name"):
        snapshot.save_caffemodel(net_of(inputs(x=(2, 3)) + ip("a", "x", "y") + ip("a", "y", "z")), path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"gone/m.caffemodel.h5: cannot write: "):
        snapshot.save_caffemodel(net_of(NET), tmp_path / "gone" / "m.caffemodel.h5")


def test_groups_in_groups(tmp_path):
    """A layer whose name begins as another's does, as in SqueezeNet."""
    source = inputs(x=(2, 3)) + ip("a", "x", "y") + ip("a/b", "y", "z") + layer("a/relu", "ReLU", "z", "z")
    net, path = net_of(source), tmp_path / "m.caffemodel.h5"
    randomise(net)
    snapshot.save_caffemodel(net, path)
    fresh = net_of(source)
    assert snapshot.load_weights(fresh, path) == []
    assert fresh.flat.checksum() == net.flat.checksum()
    assert snapshot.load_weights(net_of(inputs(x=(2, 3)) + ip("a", "x", "y")), path) == ["a/b", "a/relu"]


@SUFFIXES
def test_caffes_manners_on_request(suffix, tmp_path):
    """Layers without blobs are reported too; not strict, a file of which nothing fits is no mistake."""
    path = tmp_path / f"m.caffemodel{suffix}"
    snapshot.save_caffemodel(net_of(NET + layer("r", "ReLU", "z", "r")), path)
    net = net_of(inputs(data=(2, 3)) + ip("other", "data", "y"))
    before = net.flat.checksum()
    assert snapshot.load_weights(net, path, strict=False) == (
        ["deep/second", "first", "r", "x"] if suffix else ["x", "first", "deep/second", "r"]
    )
    assert net.flat.checksum() == before
    snapshot.save_caffemodel(net_of(inputs(x=(2, 3)) + layer("r", "ReLU", "x", "r")), path)
    assert snapshot.load_weights(net, path, strict=False) == (["r", "x"] if suffix else ["x", "r"])
    with pytest.raises(UserError, match=r"holds no weights"):
        snapshot.load_weights(net, path)


def test_models_in_old_formats(tmp_path):
    """V0 and V1 binary models: blobs in ``layers``, shapes in four legacy fields."""
    blobs = [
        {"num": 1, "channels": 1, "height": 3, "width": 3, "data": np.arange(9)},
        {"num": 1, "channels": 1, "height": 1, "width": 3, "data": [7, 8, 9]},
    ]
    v1 = pb.NetParameter(layers=[{"name": "first", "type": "INNER_PRODUCT", "blobs": blobs}])
    v0 = pb.NetParameter(layers=[{"layer": {"name": "first", "type": "innerproduct", "num_output": 3, "blobs": blobs}}])
    for model in (v0, v1):
        binary.write(tmp_path / "m.caffemodel", model)
        net = net_of(NET)
        assert snapshot.load_weights(net, tmp_path / "m.caffemodel") == []
        assert np.array_equal(net.params["first"][0].data, np.arange(9).reshape(3, 3))
        assert np.array_equal(net.params["first"][1].data, [7, 8, 9])


def test_models_say_what_caffes_layers_add_to_their_definition(tmp_path):
    """The weight of a loss, the frozen statistics of BatchNorm, Splits, phases; blobs of the definition are dropped."""
    source = (
        inputs(x=(2, 3, 1, 1), t=(2, 3))
        + layer("bn", "BatchNorm", "x", "n")
        + ip("a", "n", "y", rest='phase: TEST blobs { data: 1 } ')
        + layer("e", "EuclideanLoss", "y t", "e")
        + layer("s", "SoftmaxWithLoss", "y l", "s prob")
    )  # fmt: skip
    source = inputs(l=(2,)) + source
    snapshot.save_caffemodel(net_of(source), tmp_path / "m.caffemodel")
    saved = {entry.name: entry for entry in binary.read(tmp_path / "m.caffemodel", pb.NetParameter).layer}
    assert list(saved) == ["l", "x", "t", "bn", "a", "y_a_0_split", "e", "s"]
    assert list(saved["e"].loss_weight) == [1]
    assert list(saved["s"].loss_weight) == [1, 0]
    assert [spec.lr_mult for spec in saved["bn"].param] == [0, 0, 0]
    assert [len(saved[name].blobs) for name in ("bn", "a", "y_a_0_split")] == [3, 2, 0]
    assert (saved["a"].phase, saved["e"].phase) == (pb.TEST, pb.TRAIN)
    assert saved["y_a_0_split"].type == "Split"
    assert list(saved["a"].param) == []


def test_a_failed_load_changes_nothing(tmp_path):
    wide = net_of(NET.replace("num_output: 2", "num_output: 4"))
    snapshot.save_caffemodel(wide, tmp_path / "m.caffemodel")
    net = net_of(NET)
    before = net.flat.checksum()
    with pytest.raises(
        UserError, match=r"m.caffemodel: Cannot copy param 0 weights from layer 'deep/second'; .* is 4 3 \(12\); "
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
    with pytest.raises(UserError, match=r"Incompatible number of blobs for layer first: the file has 1, the net 2"):
        snapshot.load_weights(net, path)


def test_old_and_damaged_models(tmp_path):
    path, net = tmp_path / "m.caffemodel", net_of(NET)
    old = pb.NetParameter()
    old.layers.add(name="first")
    binary.write(path, old)
    with pytest.raises(UserError, match=r"holds no weights; a .caffemodel was expected"):
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
        UserError,
        match=r"Incorrect length of history blobs: holds 4 history blobs, a SGD solver of this net needs 2 \(another net or solver",
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


def test_the_model_is_looked_for_in_the_working_directory_first(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    solver = solver_for(net_of(NET))
    for folder, value in ((".", 1), ("sub", 2)):
        solver.net.flat.values[...] = value
        snapshot.save_caffemodel(solver.net, f"{folder}/m.caffemodel")
    snapshot.save_solverstate(solver, "sub/m.solverstate", "m.caffemodel")
    assert snapshot.restore(solver, "sub/m.solverstate") == []
    assert (solver.net.params["first"][0].data == 1).all()


@SUFFIXES
@pytest.mark.parametrize(("policy", "step"), [
    ('"step" stepsize: 4', 2), ('"multistep" stepvalue: 3 stepvalue: 9 stepvalue: 10', 2), ('"fixed" stepvalue: 3', 0),
])  # fmt: skip
def test_the_step_of_the_policy_is_that_of_the_last_update(policy, step, suffix, tmp_path):
    solver = make_solver(solver_of(f"lr_policy: {policy} base_lr: 1"), net_of(NET))
    for iteration, wanted in ((10, step), (0, 0)):
        solver.iter = iteration
        snapshot.save_solverstate(solver, tmp_path / f"s.solverstate{suffix}", "")
        if suffix:
            with h5py.File(tmp_path / "s.solverstate.h5") as file:
                assert file["current_step"][()].tolist() == [wanted]
        else:
            assert binary.read(tmp_path / "s.solverstate", pb.SolverState).current_step == wanted


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
