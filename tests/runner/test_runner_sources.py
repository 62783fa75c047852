"""Nets whose layers read what they name themselves: LMDB, HDF5 lists; and nets that cannot be cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from runner_support import MPIEXEC, NET, SOLVER, summary, values

from batchbrew.cli import run
from batchbrew.protos import messages as pb
from batchbrew.runner.folder import RunFolder

COUNTS = {"train": 40, "test": 18}
HDF5 = 'type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ source: "{}.txt" batch_size: 10 }}'
LMDB = (
    'type: "Data" top: "data" top: "label" transform_param {{ scale: 0.00390625 }} '
    'data_param {{ source: "{}_lmdb" batch_size: 10 backend: LMDB }}'
)
START, END = NET.index("layer { name"), NET.index('layer { name: "ip1"')


def net_with(layer: str) -> str:
    """Return the net with such a layer in each phase in the place of its data layer."""
    both = "".join(
        f'layer {{ name: "data" {layer.format(name)} include {{ phase: {name.upper()} }} }}\n' for name in COUNTS
    )
    return NET[:START] + both + NET[END:]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        labels = rng.integers(0, 4, count)
        pixels = rng.integers(0, 60, (count, 1, 4, 4)) + 60 * labels[:, None, None, None]
        with h5py.File(f"{name}.h5", "w") as file:
            file["data"] = (pixels * np.float32(0.00390625)).astype(np.float32)
            file["label"] = labels.astype(np.float32)
        Path(f"{name}.txt").write_text(f"{name}.h5\n")
        with lmdb.open(f"{name}_lmdb", map_size=1 << 20) as base, base.begin(write=True) as transaction:
            for i, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
                datum = pb.Datum(channels=1, height=4, width=4, data=picture.astype(np.uint8).tobytes(), label=label)
                transaction.put(f"{i:05d}".encode(), datum.SerializeToString())
    Path("solver.prototxt").write_text(
        SOLVER.replace("max_iter: 30", "max_iter: 100").replace("stepsize: 20", "stepsize: 50")
    )
    return tmp_path


def train(out: str, *more: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "batchbrew", "train", "--solver", "solver.prototxt", "--out", out, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_same_samples_from_lmdb_and_hdf5_train_alike(folder):
    for name, layer in (("hdf5", HDF5), ("lmdb", LMDB)):
        Path("net.prototxt").write_text(net_with(layer))
        train(name, "--seed", "3")
    one, other = (RunFolder(folder / name) for name in ("hdf5", "lmdb"))
    assert np.array_equal(values(one), values(other))
    assert summary(one)["final"]["accuracy"] > 0.8
    assert summary(one)["spec"]["train_samples"] == 40
    assert summary(one)["spec"]["test_samples"] == 18


@pytest.mark.mpi
@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec beside Python")
def test_two_nodes_read_the_same_lmdb(folder):
    Path("net.prototxt").write_text(net_with(LMDB))
    train("one")
    train("two", "--nodes", "2", "--oversubscribe")
    assert np.array_equal(values(RunFolder(folder / "one")), values(RunFolder(folder / "two")))


def test_a_net_that_cannot_be_cut_trains_on_one_node(folder):
    whole = net_with(HDF5).replace(
        'bottom: "ip2" bottom: "label" top: "loss"',
        'bottom: "ip2" bottom: "label" top: "loss" loss_param { normalization: NONE } loss_weight: 0.1',
    )
    extra = 'layer { name: "second" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "second" }\n'
    Path("net.prototxt").write_text(whole + extra)
    problem = train("two", "--nodes", "2", "--oversubscribe", code=2)
    assert "net.prototxt: its batch cannot be cut over 2 nodes: loss 'loss' has normalization NONE" in problem
    assert not (folder / "two").exists()
    train("one")
    assert summary(RunFolder(folder / "one"))["final"]["accuracy"] > 0.8


def test_weights_of_the_solver_file(folder):
    Path("net.prototxt").write_text(net_with(HDF5))
    Path("solver.prototxt").write_text(SOLVER + 'snapshot_prefix: "trained"\n')
    train("first")
    Path("solver.prototxt").write_text(SOLVER + 'weights: "trained_iter_30.caffemodel" snapshot_prefix: "again"\n')
    train("second", "--max-updates", "1")
    first, second = (summary(RunFolder(folder / name)) for name in ("first", "second"))
    assert second["best"]["accuracy"] >= first["final"]["accuracy"]
    Path("solver.prototxt").write_text(SOLVER + 'weights: "a,b"\n')
    assert "solver.prototxt: weights: give one file, or load several with --as-caffe" in train("third", code=2)


def test_as_caffe(folder, capsys):
    Path("net.prototxt").write_text(net_with(LMDB))
    Path("solver.prototxt").write_text(SOLVER + 'snapshot_prefix: "own" test_initialization: false\n')
    assert run(["train", "-solver", "solver.prototxt", "--as-caffe", "-gpu", "0"]) == 0
    log = capsys.readouterr().err
    for line in ("Starting Optimization", "Solving tiny", "Iteration 5, Testing net (#0)", "Optimization Done."):
        assert line in log
    assert Path("own_iter_30.caffemodel").exists()
    assert Path("own_iter_30.solverstate").exists()
    assert not Path("runs").exists()
    more = ["train", "--solver=solver.prototxt", "--snapshot=own_iter_30.solverstate", "--sigint_effect=none"]
    assert run(more) == 0
    assert "Resuming from own_iter_30.solverstate" in capsys.readouterr().err
    for extra, message in (
        (["--nodes", "2"], "--nodes is not for Caffe's loop"),
        (["--sighup_effect=halt"], 'Invalid signal effect "halt" was specified'),
        (["--weights", "own_iter_30.caffemodel"], "give a snapshot to resume training or weights to finetune"),
    ):
        assert run([*more, *extra]) == 2
        assert message in capsys.readouterr().err
