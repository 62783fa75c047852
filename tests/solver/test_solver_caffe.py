"""The update rules against the trajectories of Caffe 1.0, and snapshots that either can read."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from engine_support import KERNEL_SETS, REFERENCE, assert_close, solver_of

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver import schedules, snapshot
from batchbrew.solver.data.part import Part
from batchbrew.solver.net import Net
from batchbrew.solver.solvers import make_solver

BATCH = 8
NAMES = ("adadelta", "adagrad", "adam", "nesterov", "rmsprop", "sgd_clip", "sgd_exp_l1", "sgd_fixed", "sgd_inv",
         "sgd_iter_size", "sgd_multistep", "sgd_poly", "sgd_step")  # fmt: skip


def caffe_rate(param, iteration, done):
    """Return Caffe's multistep rate: one step an iteration at most. `done` holds the step reached."""
    if done[0] < len(param.stepvalue) and iteration >= param.stepvalue[done[0]]:
        done[0] += 1
    return param.base_lr * param.gamma ** done[0]


class Recorded:
    """One recorded run, and the same net and solver here."""

    def __init__(self, file, name, kernels="reference", chunk=None):
        self.group, self.name = file[name], name
        net = text.parse(self.group.attrs["net"], pb.NetParameter)
        net.layer[0].type = "Data"  # was HDF5Data, which reads the same numbers in file order
        net.layer[0].data_param.batch_size = net.layer[0].hdf5_data_param.batch_size
        part = Part(file["data"][()], file["label"][()].astype(np.int32))
        self.net = Net(net, pb.TRAIN, data=part, kernels=kernels, chunk=chunk)
        self.solver = make_solver(solver_of(self.group.attrs["solver"]), self.net)
        self.samples = len(part)
        self.done = [0]

    def start(self):
        for layer, blobs in self.group["after/0"].items():
            for index, values in blobs.items():
                self.net.params[layer][int(index)].data[...] = values[()]

    def step(self):
        """Do one update; return the loss of the last pass of iter_size, as Caffe's loss blob holds it."""
        passes = self.solver.param.iter_size
        self.net.zero_sums()
        last = 0.0
        for i in range(passes):
            first = (self.solver.iter * passes + i) * BATCH
            before = self.net.statistics["loss"].copy()
            self.net.accumulate((np.arange(first, first + BATCH)) % self.samples, 0)
            total, count = self.net.statistics["loss"] - before
            last = total / count
        rate = self.solver.rate(self.solver.iter)
        if self.solver.param.lr_policy == "multistep":
            rate = caffe_rate(self.solver.param, self.solver.iter, self.done)
        self.solver.apply(rate)
        return last

    def check(self, tolerance=1e-4):
        for layer, blobs in self.group[f"after/{self.solver.iter}"].items():
            for index, values in blobs.items():
                assert_close(self.net.params[layer][int(index)].data, values[()], tolerance,
                             f"{self.name} after {self.solver.iter}: {layer}[{index}]")  # fmt: skip


@pytest.fixture
def recordings():
    with h5py.File(REFERENCE / "caffe_solvers.h5") as file:
        yield file


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("name", NAMES)
def test_trajectory(recordings, name, kernels):
    run = Recorded(recordings, name, kernels)
    run.start()
    for iteration in range(20):
        loss = run.step()
        assert loss == pytest.approx(run.group["loss"][iteration], abs=1e-4), f"loss of iteration {iteration}"
        if run.solver.iter in (1, 2, 5, 10, 20):
            run.check()


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_trajectory_does_not_depend_on_the_chunk(recordings, chunk):
    run = Recorded(recordings, "nesterov", KERNEL_SETS[0], chunk)
    run.start()
    for _ in range(10):
        run.step()
    run.check()


def test_multistep_is_pure_where_caffe_lags(recordings):
    """Stepvalues 3, 9, 10: Caffe moves on by one step an update, so both agree here; with 9, 9 it would lag by one."""
    param = solver_of(recordings["sgd_multistep"].attrs["solver"])
    done = [0]
    assert [schedules.rate(param, i) for i in range(20)] == pytest.approx(
        [caffe_rate(param, i, done) for i in range(20)]
    )
    param.stepvalue[:] = [9, 9, 10]
    done = [0]
    caffe = [caffe_rate(param, i, done) / param.base_lr for i in range(13)]
    ours = [schedules.rate(param, i) / param.base_lr for i in range(13)]
    assert caffe[8:13] == pytest.approx([1, 0.1, 0.01, 0.001, 0.001])
    assert ours[8:13] == pytest.approx([1, 0.01, 0.001, 0.001, 0.001])


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("name", NAMES)
def test_resumes_from_the_files_caffe_wrote(recordings, name, kernels, tmp_path):
    run = Recorded(recordings, name, kernels)
    files = run.group["snapshot10"]
    for suffix, content in files.items():
        (tmp_path / f"snap_iter_10.{suffix}").write_bytes(content[()].tobytes())
    snapshot.restore(run.solver, next(tmp_path.glob("snap_iter_10.solverstate*")))
    assert run.solver.iter == 10
    run.check()
    run.done = [sum(run.solver.iter > value for value in run.solver.param.stepvalue)]
    for iteration in range(10, 20):
        assert run.step() == pytest.approx(run.group["loss"][iteration], abs=1e-4)
    run.check()


@pytest.mark.parametrize("suffix", ["", ".h5"])
@pytest.mark.parametrize("name", ["nesterov", "sgd_multistep", "adam", "adadelta"])
def test_own_snapshot_continues_bit_for_bit(recordings, name, suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    straight, first, second = (Recorded(recordings, name, KERNEL_SETS[0]) for _ in range(3))
    for run in (straight, first):
        run.start()
        for _ in range(10):
            run.step()
    snapshot.save_caffemodel(first.net, f"a.caffemodel{suffix}")
    snapshot.save_solverstate(first.solver, f"a.solverstate{suffix}", f"a.caffemodel{suffix}")
    snapshot.restore(second.solver, f"a.solverstate{suffix}")
    second.done = [2]
    for run in (straight, second):
        for _ in range(10):
            run.step()
    assert straight.net.flat.checksum() == second.net.flat.checksum()
    assert all(np.array_equal(a, b) for a, b in zip(straight.solver.history, second.solver.history, strict=True))


def blobs_of(message):
    """Return all blobs of a model or state as arrays, and take their values out of the message."""
    found = []
    for holder in (*getattr(message, "layer", ()), message):
        for blob in (*getattr(holder, "blobs", ()), *getattr(holder, "history", ())):
            found.append(np.array(blob.data))
            blob.ClearField("data")
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if name != "adam"])
def test_snapshot_has_the_structure_of_caffes(recordings, name, tmp_path, monkeypatch):
    """Field by field the files Caffe wrote: layer definitions, shapes, history order, learned_net, current_step."""
    monkeypatch.chdir(tmp_path)
    run = Recorded(recordings, name)
    run.start()
    for _ in range(10):
        run.step()
    snapshot.save_caffemodel(run.net, "snap_iter_10.caffemodel")
    snapshot.save_solverstate(run.solver, "snap_iter_10.solverstate", "snap_iter_10.caffemodel")
    for suffix, cls in (("caffemodel", pb.NetParameter), ("solverstate", pb.SolverState)):
        theirs = cls.FromString(run.group[f"snapshot10/{suffix}"][()].tobytes())
        ours = cls.FromString((tmp_path / f"snap_iter_10.{suffix}").read_bytes())
        for mine, caffes in zip(blobs_of(ours), blobs_of(theirs), strict=True):
            assert_close(mine, caffes, what=suffix)
        if suffix == "caffemodel":
            del ours.layer[0], theirs.layer[0]  # Data here, HDF5Data there
        assert ours.SerializeToString() == theirs.SerializeToString()


def test_hdf5_snapshot_agrees_with_caffes(recordings, tmp_path):
    run = Recorded(recordings, "adam")
    run.start()
    for _ in range(10):
        run.step()
    snapshot.save_caffemodel(run.net, tmp_path / "ours.caffemodel.h5")
    snapshot.save_solverstate(run.solver, tmp_path / "ours.solverstate.h5", "snap_iter_10.caffemodel.h5")
    for suffix in ("caffemodel.h5", "solverstate.h5"):
        (tmp_path / f"theirs.{suffix}").write_bytes(run.group[f"snapshot10/{suffix}"][()].tobytes())
        with h5py.File(tmp_path / f"ours.{suffix}") as ours, h5py.File(tmp_path / f"theirs.{suffix}") as theirs:
            names, own_names = [], []
            theirs.visit(names.append)
            ours.visit(own_names.append)
            assert own_names == names
            for name in names:
                if isinstance(theirs[name], h5py.Dataset):
                    assert (ours[name].dtype, ours[name].shape) == (theirs[name].dtype, theirs[name].shape)
                    if name == "learned_net":
                        assert ours[name][()] == theirs[name][()]
                    else:
                        assert_close(ours[name], theirs[name], what=name)


def test_hdf5_snapshot_has_the_structure_of_caffes(recordings, tmp_path):
    run = Recorded(recordings, "sgd_fixed")
    run.start()
    run.step()
    snapshot.save_caffemodel(run.net, tmp_path / "m.caffemodel.h5")
    snapshot.save_solverstate(run.solver, tmp_path / "m.solverstate.h5", "m.caffemodel.h5")
    with h5py.File(tmp_path / "m.caffemodel.h5") as file:
        assert sorted(file["data"]) == ["conv", "d", "ip", "loss", "pool", "relu"]
        assert {name: list(group) for name, group in file["data"].items() if len(group)} == {
            "conv": ["0", "1"], "ip": ["0", "1"],
        }  # fmt: skip
        assert file["data/conv/0"].shape == (3, 2, 3, 3)
        assert file["data/conv/0"].dtype == np.float32
        assert np.array_equal(file["data/ip/0"][()], run.net.params["ip"][0].data)
    with h5py.File(tmp_path / "m.solverstate.h5") as file:
        assert file["iter"].shape == (1,)
        assert file["iter"][0] == 1
        assert file["current_step"].dtype == np.int32
        assert file["learned_net"].dtype.kind == "S"  # fixed length, with the zero that C readers stop at
        assert file["learned_net"].dtype.itemsize == len("m.caffemodel.h5") + 1
        assert file["learned_net"][()] == b"m.caffemodel.h5"
        assert [file[f"history/{i}"].shape for i in range(4)] == [(3, 2, 3, 3), (3,), (4, 27), (4,)]
