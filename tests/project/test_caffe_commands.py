"""``batchbrew test``, ``time`` and ``device_query``: Caffe's flags in, Caffe's log lines out."""

from __future__ import annotations

import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from batchbrew.cli import run
from batchbrew.cli.arguments import normalise
from batchbrew.glog import LEAST_LEVEL
from batchbrew.protos import messages as pb
from batchbrew.solver import roofline
from batchbrew.solver.load import read_net_file
from batchbrew.solver.roofline import Machine
from batchbrew.solver.snapshot import save_caffemodel

PREFIX = r"[IW]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.cpp:\d+\] "
NET = """name: "little"
layer { name: "pixels" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt" batch_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3
  weight_filler { type: "gaussian" std: 1 } } }
layer { name: "only_training" type: "Silence" bottom: "label" include { phase: TRAIN } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 2 }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with h5py.File("train.h5", "w") as file:
        file["data"] = rng.normal(size=(10, 4)).astype(np.float32)
        file["label"] = rng.integers(0, 3, 10).astype(np.float32)
    Path("list.txt").write_text("train.h5\n")
    Path("net.prototxt").write_text(NET)
    save_caffemodel(read_net_file("net.prototxt").build(pb.TEST, seed=3), "net.caffemodel")
    return tmp_path


def lines_of(text: str) -> list[str]:
    """Return the texts of a log; every line must have the prefix."""
    found = [re.fullmatch(f"{PREFIX}(.*)", line) for line in text.splitlines()]
    assert all(found), text
    return [match[1] for match in found if match]


def test_scoring(folder, capsys):
    assert run(["test", "-model", "net.prototxt", "-weights=net.caffemodel", "-iterations", "2", "-gpu", "0"]) == 0
    lines = lines_of(capsys.readouterr().err)
    assert lines[:3] == ["--gpu=0 is not used: there is no GPU engine", "Use CPU.", "Running for 2 iterations."]
    net = read_net_file("net.prototxt").build(pb.TEST, seed=3)
    losses, accuracies = [], []
    for i in range(2):
        net.forward()
        losses.append(float(net.blobs["loss"].data))
        accuracies.append(float(net.blobs["accuracy"].data))
        assert lines[3 + 2 * i] == f"Batch {i}, accuracy = {accuracies[-1]:.6g}"
        assert lines[4 + 2 * i] == f"Batch {i}, loss = {losses[-1]:.6g}"
    loss = np.mean(losses)
    assert lines[7:] == [
        f"Loss: {2 * loss:.6g}",
        f"accuracy = {np.mean(accuracies):.6g}",
        f"loss = {loss:.6g} (* 2 = {2 * loss:.6g} loss)",
    ]


def test_timing(folder, capsys):
    assert run(["-model=net.prototxt", "time", "--iterations=2"]) == 0
    printed = capsys.readouterr()
    lines = lines_of(printed.err)
    assert lines[:2] == ["Use CPU.", "Performing Forward"]
    assert re.fullmatch(r"Initial loss: [\d.]+", lines[2])
    assert lines[3:6] == ["Performing Backward", "*** Benchmark begins ***", "Testing for 2 iterations."]
    for i in (1, 2):
        assert re.fullmatch(rf"Iteration: {i} forward-backward time: [\d.e-]+ ms\.", lines[5 + i])
    assert lines[8] == "Average time per layer: "
    layers = [re.fullmatch(r" *(\S+)\t(forward|backward): [\d.e-]+ ms\.", line) for line in lines[9:-5]]
    names = ["pixels", "label_pixels_1_split", "ip", "only_training", "loss"]
    assert [(m[1], m[2]) for m in layers if m] == [(n, way) for n in names for way in ("forward", "backward")]
    for line, what in zip(lines[-5:], ("Average Forward pass", "Average Backward pass", "Average Forward-Backward",
                                       "Total Time"), strict=False):  # fmt: skip
        assert re.fullmatch(rf"{what}: [\d.e-]+ ms\.", line)
    assert lines[-1] == "*** Benchmark ends ***"
    assert "InnerProduct" in printed.out


def test_the_table_of_times_says_how_near_each_layer_is_to_its_limit(folder, capsys, monkeypatch):
    machine = Machine("avx2", 1, 1e3, ((1 << 15, 2e3), (1 << 26, 1e3)))  # so slow that shares are whole numbers
    monkeypatch.setattr(roofline, "measure_machine", lambda kernels, clock, threads: machine)
    assert run(["time", "--model=net.prototxt", "--iterations=1"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert max(map(len, table)) <= 120
    assert table[2].split() == ["layer", "type", "time", *2 * ["ms", "GFLOP/s", "GB/s", "limit"]]
    rows = {line.split()[0]: line.split() for line in table[3:]}
    assert rows["ip"][1] == "InnerProduct"
    assert rows["ip"][-1] in ("FMA", "mem") and int(rows["ip"][-2]) > 0
    assert rows["loss"][-1] == "mem"
    assert len(rows["pixels"]) == 5  # a source has no limit, and nothing to do backward
    assert table[-1] == (
        "limits of 1 thread (avx2), measured: FMA 0 GFLOP/s; mem(ory) 0 GB/s for 32 KiB to 0 GB/s for 64 MiB"
    )
    monkeypatch.setattr(roofline, "measure_machine", lambda kernels, clock, threads: None)  # there is no compiler
    assert run(["time", "--model=net.prototxt", "--iterations=1"]) == 0
    assert "limits" not in capsys.readouterr().out


def test_threads_share_the_timed_work(folder, capsys):
    assert run(["time", "--model=net.prototxt", "--iterations=1", "--threads=2"]) == 0
    assert "limits of 2 threads" in capsys.readouterr().out


def test_timing_without_the_data(folder, capsys):
    source = NET.replace('type: "HDF5Data"', 'type: "Data"').replace("hdf5_data_param", "data_param")
    Path("net.prototxt").write_text(source)
    assert run(["time", "--model", "net.prototxt", "--synthetic"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "batchbrew: error: net.prototxt: layer 'pixels' (Data) does not say how large its pictures are: give the "
        "shape, as in --shape 3,32,32"
    )
    assert run(["time", "--model", "net.prototxt", "--synthetic", "--shape", "1,2,3", "--batch=2"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["test"], "Need a model definition to score: give --model"),
        (["test", "--model", "net.prototxt"], "Need model weights to score: give --weights"),
        (["time"], "Need a model definition to time: give --model"),
        (["time", "--model=net.prototxt", "--batch=3"], "--shape and --batch are for made-up samples: add --synthetic"),
        (["time", "--model=net.prototxt", "--synthetic", "--shape=3"],
         "--shape 3: give channels, height and width, as in 3,32,32"),
        (["test", "--flagfile=none"], "--flagfile none: cannot be read (No such file or directory)"),
    ],
)  # fmt: skip
def test_mistakes(folder, capsys, arguments, message):
    assert run(arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"batchbrew: error: {message}"


def test_stages_and_levels_reach_the_net(folder, capsys):
    Path("net.prototxt").write_text(NET.replace("include { phase: TRAIN }", 'include { stage: "quiet" min_level: 2 }'))
    assert run(["time", "--model=net.prototxt", "--stage=loud,quiet", "--level=2", "--iterations=1"]) == 0
    assert "only_training" in capsys.readouterr().err
    assert run(["time", "--model=net.prototxt", "--stage=quiet", "--iterations=1"]) == 0
    assert "only_training" not in capsys.readouterr().err


def test_what_the_work_is_done_on(capsys):
    assert run(["device_query", "-gpu", "all"]) == 0
    assert re.match(
        r"--gpu=all: no GPU is used: \d+ cores? \(.*\), kernels \w+ of .*reference\n", capsys.readouterr().out
    )


def test_flag_files_and_logging_flags(tmp_path, monkeypatch):
    flags = tmp_path / "flags"
    flags.write_text("# a comment\n-model=a.prototxt\n\n--iterations=3\n")
    monkeypatch.setenv(LEAST_LEVEL, "0")
    given = ["--logtostderr", "-log_dir", "/tmp", f"--flagfile={flags}", "time", "-minloglevel", "2", "--nologtostderr"]
    assert normalise(given) == ["time", "--model=a.prototxt", "--iterations=3"]
    assert os.environ[LEAST_LEVEL] == "2"
