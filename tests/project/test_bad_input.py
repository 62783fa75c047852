"""Bad input, end to end: one line on stderr, exit code 2, no traceback, nothing written or overwritten.

Each case spoils one thing of a small working set-up and runs one command line.
"""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from batchbrew.cli import run
from batchbrew.protos import messages as pb
from batchbrew.solver.data.dataset import Part, write_dataset

NET = """name: "tiny"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "pictures.h5" batch_size: 10 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "pictures.h5" batch_size: 10 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 max_iter: 5 test_interval: 5\n'
STUDY = """study: tiny
solver: solver.prototxt
grid: {batch: [10, 20], nodes: [1], seed: [1]}
target: {accuracy: 0.5}
stop: {epochs: 2}
evaluate_every: {samples: 20}
calibrate: false
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHBREW_DATA", str(tmp_path / "datasets"))
    rng = np.random.default_rng(0)
    parts = [
        Part(rng.integers(0, 256, (n, 1, 6, 6), dtype=np.uint8), rng.integers(0, 3, n, dtype=np.int32))
        for n in (60, 20)
    ]
    write_dataset(tmp_path / "pictures.h5", "pictures", ("a", "b", "c"), *parts)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def snapshot_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


def swap(file: str, old: str, new: str):
    def spoil(folder: Path) -> None:
        path = folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return spoil


def write(file: str, content: bytes):
    def spoil(folder: Path) -> None:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)

    return spoil


def cut_data(folder: Path) -> None:
    path = folder / "pictures.h5"
    path.write_bytes(path.read_bytes()[:-500])


def other_hdf5(folder: Path) -> None:
    with h5py.File(folder / "pictures.h5", "w") as file:
        file["something"] = np.zeros(3)


def wrong_history(folder: Path) -> None:
    state = pb.SolverState(iter=3)
    state.history.add().data.append(1.0)
    (folder / "x.solverstate").write_bytes(state.SerializeToString())


def wrong_shape(folder: Path) -> None:
    model = pb.NetParameter(name="m")
    layer = model.layer.add(name="conv", type="Convolution")
    for dims in ((4, 1, 5, 5), (4,)):
        blob = layer.blobs.add()
        blob.shape.dim.extend(dims)
        blob.data.extend([0.0] * int(np.prod(dims)))
    (folder / "x.caffemodel").write_bytes(model.SerializeToString())


TRAIN = ["train", "--solver", "solver.prototxt", "--out", "out"]
STUDIED = ["study", "run", "study.yaml", "--out", "out"]
NOTHING = None
CASES = {
    # nets
    "net: unknown field": (swap("net.prototxt", "num_output: 4", "num_outputs: 4"), TRAIN,
                           "net.prototxt:7:23: ConvolutionParameter has no field 'num_outputs' - did you mean 'num_output'?"),
    "net: unknown type": (swap("net.prototxt", '"Convolution"', '"Convolutoin"'), TRAIN, "did you mean 'Convolution'?"),
    "net: unknown bottom": (swap("net.prototxt", 'bottom: "conv" top: "ip"', 'bottom: "cnov" top: "ip"'), TRAIN,
                            "net.prototxt:8:1: unknown bottom blob 'cnov' (layer 'ip', bottom index 0) - did you mean 'conv'?"),
    "net: missing brace": (swap("net.prototxt", "batch_size: 10 } }", "batch_size: 10 }"), TRAIN, "net.prototxt:"),
    "net: kernel too large": (swap("net.prototxt", "kernel_size: 3", "kernel_size: 9"), TRAIN, "larger than"),
    "net: no num_output": (swap("net.prototxt", "num_output: 4", ""), TRAIN, "num_output must be at least 1"),
    "net: group does not divide": (swap("net.prototxt", "kernel_size: 3", "kernel_size: 3 group: 3"), TRAIN, "group 3"),
    "net: top twice": (swap("net.prototxt", 'top: "ip"', 'top: "conv"'), TRAIN, "net.prototxt:"),
    "net: filler": (swap("net.prototxt", '"xavier"', '"xaiver"'), TRAIN, "did you mean 'xavier'?"),
    "net: include and exclude": (swap("net.prototxt", "include { phase: TEST } }", "include { phase: TEST } exclude { phase: TRAIN } }"),
                                 TRAIN, "not both"),
    "net: batch size 0": (swap("net.prototxt", "batch_size: 10", "batch_size: 0"), TRAIN, "batch_size"),
    "net: enum in quotes": (swap("net.prototxt", "phase: TRAIN", 'phase: "TRAIN"'), TRAIN, "net.prototxt:2:"),
    "net: missing file": (swap("solver.prototxt", "net.prototxt", "nat.prototxt"), TRAIN, "no such file 'nat.prototxt'"),
    "net: a binary file": (write("net.prototxt", b"\x0a\x04tiny\x00\xff\xfe"), TRAIN, "net.prototxt: is a binary file"),
    "net: empty file": (write("net.prototxt", b""), TRAIN, "net.prototxt: the file is empty"),
    # solvers
    "solver: unknown field": (swap("solver.prototxt", "momentum", "momentom"), TRAIN, "did you mean 'momentum'?"),
    "solver: unknown policy": (swap("solver.prototxt", '"fixed"', '"fxied"'), TRAIN, "did you mean 'fixed'?"),
    "solver: no policy": (swap("solver.prototxt", 'lr_policy: "fixed"', ""), TRAIN, "lr_policy is missing"),
    "solver: unknown type": (swap("solver.prototxt", "base_lr", 'type: "SGDD" base_lr'), TRAIN, "did you mean 'SGD'?"),
    "solver: momentum": (swap("solver.prototxt", "momentum: 0.9", "momentum: 1.5"), TRAIN, "momentum must lie in [0, 1)"),
    "solver: step without stepsize": (swap("solver.prototxt", '"fixed"', '"step"'), TRAIN, "stepsize must be at least 1"),
    "solver: negative rate": (swap("solver.prototxt", "base_lr: 0.01", "base_lr: -1"), TRAIN, "base_lr must be"),
    "solver: regularization": (swap("solver.prototxt", "base_lr", 'regularization_type: "L3" base_lr'), TRAIN, "regularization_type"),
    "solver: a word for a number": (swap("solver.prototxt", "max_iter: 5", "max_iter: five"), TRAIN, "solver.prototxt:1:"),
    "solver: two nets": (swap("solver.prototxt", "base_lr", 'train_net: "net.prototxt" base_lr'), TRAIN, "exactly one of net"),
    "solver: endless": (swap("solver.prototxt", "max_iter: 5", ""), TRAIN, "without max_iter nothing ends the run"),
    "solver: is a net": (NOTHING, ["train", "--solver", "net.prototxt", "--out", "out"], "SolverParameter has no field 'name'"),
    # studies
    "study: unknown key": (swap("study.yaml", "target:", "traget:"), STUDIED, "study.yaml:4:1: unknown key 'traget' - did you mean 'target'?"),
    "study: unknown rule": (swap("study.yaml", "seed: [1]", "seed: [1], lr_rule: linaer"), STUDIED, "did you mean 'linear'?"),
    "study: rule without base": (swap("study.yaml", "seed: [1]", "seed: [1], lr_rule: linear"), STUDIED, "needs lr.base_batch"),
    "study: batch of 0": (swap("study.yaml", "[10, 20]", "[0]"), STUDIED, "study.yaml:3:"),
    "study: fewer samples than nodes": (swap("study.yaml", "nodes: [1]", "nodes: [16]"), STUDIED, "cannot be cut into 16 nodes"),
    "study: target above 1": (swap("study.yaml", "accuracy: 0.5", "accuracy: 50"), STUDIED, "study.yaml:4:"),
    "study: two units": (swap("study.yaml", "{samples: 20}", "{samples: 20, epochs: 1}"), STUDIED, "exactly one of"),
    "study: strategy": (swap("study.yaml", "calibrate: false", "strategy: alreduce"), STUDIED, "did you mean 'allreduce'?"),
    "study: key twice": (swap("study.yaml", "calibrate: false", "study: again"), STUDIED, "key 'study' is given twice"),
    "study: not YAML": (swap("study.yaml", "grid: {", "grid: {{"), STUDIED, "study.yaml:4:1: not valid YAML"),
    "study: override": (swap("study.yaml", "calibrate: false", "solver_overrides: {base_lrr: 1}"), STUDIED, "did you mean 'base_lr'?"),
    "study: solver missing": (swap("study.yaml", "solver.prototxt", "other.prototxt"), STUDIED, "other.prototxt"),
    # data
    "data: unknown name": (swap("net.prototxt", '"pictures.h5"', '"cifra10"'), TRAIN, "did you mean 'cifar10'?"),
    "data: not prepared": (swap("net.prototxt", '"pictures.h5"', '"mnist"'), TRAIN, "batchbrew data"),
    "data: short": (cut_data, TRAIN, "pictures.h5"),
    "data: foreign HDF5": (other_hdf5, TRAIN, "pictures.h5"),
    "data: not HDF5": (write("pictures.h5", b"hello" * 200), TRAIN, "pictures.h5"),
    "data: raw folder damaged": (write("raw/data_batch_1.bin", b"x" * 100), ["data", "make", "cifar10", "--from", "raw"], "raw"),
    "data: an evil pickle": (write("cifar-10-batches-py/data_batch_1", b"cos\nsystem\n(S'true'\ntR."),
                             ["data", "make", "cifar10", "--from", "cifar-10-batches-py"], "cifar-10-batches-py"),
    "data: idx of another kind": (write("mn/train-images-idx3-ubyte", b"\0\0\x08\x01" + b"\0" * 20),
                                  ["data", "make", "mnist", "--from", "mn"], "mn"),
    "data: too many classes": (swap("net.prototxt", "num_output: 3", "num_output: 2"), TRAIN,
                              "net.prototxt:11:1: layer 'loss' (SoftmaxWithLoss): scores 2 classes, but the data has labels up to 2"),
    # snapshots
    "snapshot: missing": (NOTHING, [*TRAIN, "--snapshot", "none.solverstate"], "none.solverstate"),
    "snapshot: garbage": (write("x.solverstate", b"garbage!"), [*TRAIN, "--snapshot", "x.solverstate"], "x.solverstate"),
    "snapshot: other history": (wrong_history, [*TRAIN, "--snapshot", "x.solverstate"], "x.solverstate"),
    "weights: other shape": (wrong_shape, [*TRAIN, "--weights", "x.caffemodel"], "x.caffemodel"),
    "weights: a prototxt": (NOTHING, [*TRAIN, "--weights", "net.prototxt"], "net.prototxt"),
    "weights and snapshot": (NOTHING, [*TRAIN, "--weights", "a", "--snapshot", "b"], "not both"),
    # command line
    "command: unknown": (NOTHING, ["trian"], "did you mean 'train'?"),
    "command: unknown option": (NOTHING, [*TRAIN, "--node", "2"], "--nodes"),
    "command: not a number": (NOTHING, [*TRAIN, "--nodes", "two"], "--nodes"),
    "command: too many nodes": (NOTHING, [*TRAIN, "--nodes", "999", "--batch", "9990"], "cores"),
    "command: target": (NOTHING, [*TRAIN, "--target", "acuracy=1"], "accuracy=0.7 or loss=0.9"),
    "command: no study folder": (NOTHING, ["report", "."], "batchbrew: error"),
    "command: scheduler": (NOTHING, ["submit", "study.yaml", "--scheduler", "slrum", "--dry-run", "--out", "out"], "did you mean 'slurm'?"),
    "command: site": (NOTHING, ["submit", "study.yaml", "--site", "nowhere", "--dry-run", "--out", "out"], "nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_line_exit_2_and_nothing_written(here, capfd, case):
    spoil, arguments, text = CASES[case]
    if spoil is not None:
        spoil(here)
    before = snapshot_of(here)
    assert run(arguments) == 2
    out, err = capfd.readouterr()
    assert err.startswith("batchbrew: error: "), err
    assert err.count("\n") == 1, err
    assert "Traceback" not in out + err
    assert text in err
    assert snapshot_of(here) == before


def test_the_set_up_itself_works(here, capfd):
    assert run(["check", "net.prototxt", "solver.prototxt", "study.yaml"]) == 0
    assert capfd.readouterr().out.count("OK") == 3


def test_there_are_enough_cases():
    assert len(CASES) >= 40
