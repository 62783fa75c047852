"""The command line, with the real engine on a tiny net."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from runner_support import MPIEXEC, NET, SOLVER, STUDY, TINY_TEST, losses, summary, values, write_files

from batchbrew.cli import run
from batchbrew.cli.arguments import normalise
from batchbrew.runner.folder import RunFolder
from batchbrew.runner.launch import environment_for


@pytest.fixture
def files(tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def batchbrew(*arguments, code=0, limit=60):
    command = [sys.executable, "-m", "batchbrew", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["train", "-solver=a", "-out", "b"], ["train", "--solver=a", "--out", "b"]),
        (["train", "--max_updates=3"], ["train", "--max-updates=3"]),
        (["train", "--target", "accuracy=0.5", "--lr", "-0.5"], ["train", "--target", "accuracy=0.5", "--lr", "-0.5"]),
        (["-h"], ["-h"]),
        (["check", "--", "-odd_name"], ["check", "--", "-odd_name"]),
    ],
)
def test_caffes_way_of_writing_flags(given, expected):
    assert normalise(given) == expected


def test_help_imports_nothing_heavy():
    code = (
        "import sys, contextlib, io; from batchbrew.cli import run\n"
        "with contextlib.redirect_stdout(io.StringIO()): assert run(['--help']) == 0\n"
        "heavy = {'numpy', 'h5py', 'mpi4py', 'matplotlib', 'google.protobuf', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_are_set_before_numpy():
    code = (
        "import os, sys, batchbrew.__main__; assert 'numpy' not in sys.modules; "
        "names = 'OMP_NUM', 'OPENBLAS_NUM', 'MKL_NUM', 'VECLIB_MAXIMUM', 'NUMEXPR_NUM'; "
        "print(*[os.environ[name + '_THREADS'] for name in names])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1"] * 5


TRAIN = ["train", "--solver", "solver.prototxt"]
BAD = [
    (["trian"], "unknown command 'trian' - did you mean 'train'? (known: "),
    (["train"], "Missing option '--solver'"),
    (["train", "--solver", "none.prototxt"], "none.prototxt: "),
    ([*TRAIN, "--batch", "0"], "Invalid value for '--batch'"),
    ([*TRAIN, "--nodes", "20", "--oversubscribe"], "a global batch of 10 cannot be cut into 20"),
    ([*TRAIN, "--target", "top5=1"], "--target top5=1: give accuracy=0.7 or loss=0.9"),
    ([*TRAIN, "--data", "cifra10"], "unknown data set 'cifra10' - did you mean 'cifar10'?"),
    ([*TRAIN, "--snapshot", "a", "--weights", "b"], "give --snapshot to go on from a saved"),
    ([*TRAIN, "--weights", "b"], "b: cannot read: No such file"),
    ([*TRAIN, "--nodes", "9", "--batch", "90"], "9 nodes x 1 thread need 9 cores, but this"),
    ([*TRAIN, "--threads", "0"], "Invalid value for '--threads'"),
    ([*TRAIN, "--threads", "two"], "Invalid value for '--threads'"),
    ([*TRAIN, "--threads", "999"], "1 node x 999 threads need 999 cores, but this"),
    ([*TRAIN, "--threads", "2", "--as-caffe"], "--threads is not for Caffe's loop (--as-caffe, "),
    (["train", "--solver", "net.prototxt"], "net.prototxt:2:1: SolverParameter has no field 'name'"),
    (["study", "run", "none.yaml", "--out", "o"], "none.yaml: cannot read"),
    (["study", "status", "."], ".: is no study folder (it has no study.json)"),
    (["check", "none.prototxt"], "none.prototxt: no such file"),
    (["report", "."], ""),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments)[:60] for arguments, _ in BAD])
def test_mistakes_are_one_line_and_exit_code_2(files, capsys, arguments, message):
    before = sorted(files.rglob("*"))
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"batchbrew: error: {message}")
    assert err.count("\n") == 1
    assert sorted(files.rglob("*")) == before  # refused before anything was written


def test_check_says_what_is_right_and_what_is_not(files, capsys):
    (files / "bad.prototxt").write_text(NET.replace('bottom: "ip1" top: "ip2"', 'bottom: "ipx" top: "ip2"'))
    assert run(["check", "net.prototxt", "solver.prototxt", "study.yaml", "bad.prototxt"]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "net.prototxt: OK (net 'tiny': 6 layers, 340 parameters)",
        "solver.prototxt: OK (SGD solver of net.prototxt: 340 parameters)",
        "study.yaml: OK (study 'tiny': 16 runs of net.prototxt)",
    ]
    assert re.match(r"batchbrew: error: bad\.prototxt:\d+:\d+: .*ipx", err)


def test_train_shows_the_net_and_the_identity_and_records(files):
    done = batchbrew("train", "-solver=solver.prototxt", "--out", "run", "--seed=3")
    assert "global 10 = 1 node x 10 x accumulate 1" in done.stdout
    assert re.search(r"InnerProduct +ip1 +16 +272 +0\.0", done.stdout)
    assert f"note: test_iter is not used: every evaluation counts exactly all {TINY_TEST} test samples" in done.stdout
    result = summary(RunFolder(files / "run"))
    assert result["outcome"] == "updates"
    assert result["update"] == 30
    assert result["spec"]["seed"] == 3
    assert result["final"]["accuracy"] > 0.8
    assert (files / "run" / "net.prototxt").read_text() == NET
    assert (files / "run" / "solver.prototxt").read_text() == SOLVER
    header = json.loads((files / "run" / "record.jsonl").read_text().splitlines()[0])
    assert header["net"]["parameters"] == 340
    assert [row["name"] for row in header["net"]["layers"]][:2] == ["data", "ip1"]
    again = batchbrew("train", "--solver", "solver.prototxt", "--out", "run", "--seed", "3")
    assert "run is finished: updates after 30 updates" in again.stdout
    other = batchbrew("train", "--solver", "solver.prototxt", "--out", "run", "--seed", "4", code=2)
    assert "holds another run" in other.stderr


@pytest.mark.mpi
def test_two_nodes_train_as_one(files):
    one = batchbrew("train", "--solver", "solver.prototxt", "--out", "one", "--batch", "20", "--log", "quiet")
    assert one.stdout == one.stderr == ""
    two = batchbrew("train", "--solver", "solver.prototxt", "--batch", "20", "--nodes", "2", "--oversubscribe")
    assert "global 20 = 2 nodes x 10 x accumulate 1" in two.stdout
    assert "max_iter, test_interval and lr_policy are taken as samples (15 updates of 20)" in two.stdout
    folder = next((files / "runs").iterdir())
    assert folder.name.startswith("b020-n2-s1-none-")
    np.testing.assert_allclose(losses(RunFolder(folder)), losses(RunFolder(files / "one")), rtol=1e-4)
    np.testing.assert_allclose(values(RunFolder(folder)), values(RunFolder(files / "one")), rtol=1e-3, atol=1e-5)


def test_caffes_log_and_snapshots(files):
    (files / "solver.prototxt").write_text(SOLVER + 'snapshot: 20\nsnapshot_prefix: "snap"\n')
    done = batchbrew("train", "--solver", "solver.prototxt", "--out", "run", "--log", "caffe")
    log = [line for line in done.stderr.splitlines() if line.startswith("I")]
    assert all(re.match(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.cpp:\d+\] ", line) for line in log)
    texts = [line.split("] ", 1)[1] for line in log]
    assert texts[:2] == ["Solving tiny", "Learning Rate Policy: step"]
    assert [text for text in texts if "Testing net" in text] == [
        f"Iteration {i}, Testing net (#0)" for i in range(0, 31, 5)
    ]
    shown = [text for text in texts if re.match(r"Iteration \d+ \(\S+ iter/s, \S+s/5 iters\), loss = \d", text)]
    assert [int(text.split()[1]) for text in shown] == [0, 5, 10, 15, 20, 25]
    assert "Iteration 20, lr = 0.05" in texts
    assert any(re.match(r"    Test net output #0: accuracy = [\d.]+$", text) for text in texts)
    assert any(re.match(r"    Test net output #1: loss = (\S+) \(\* 1 = \1 loss\)$", text) for text in texts)
    assert f"Snapshotting to binary proto file {files}/snap_iter_20.caffemodel" in texts
    assert texts[-1] == "Optimization Done."
    assert sorted(path.name for path in files.glob("snap_iter*")) == [
        f"snap_iter_{i}.{kind}" for i in (20, 30) for kind in ("caffemodel", "solverstate")
    ]
    rest = batchbrew("train", "--solver", "solver.prototxt", "--out", "rest", "--snapshot", "snap_iter_20.solverstate")
    assert "updates after 30 updates" in rest.stdout
    np.testing.assert_allclose(values(RunFolder(files / "rest")), values(RunFolder(files / "run")), rtol=1e-6)
    fine = batchbrew("train", "--solver", "solver.prototxt", "--out", "fine", "--weights", "snap_iter_30.caffemodel")
    first = json.loads((files / "fine" / "record.jsonl").read_text().splitlines()[2])
    assert first["update"] == 0
    assert first["outputs"] == summary(RunFolder(files / "run"))["final"], fine.stdout


SMALL = STUDY.replace("[10, 20]", "[10]").replace("[none, linear]", "[none]").replace(
    "lr: {base_batch: 10, warmup: {epochs: 0.5}}\n", ""
)  # fmt: skip


@pytest.mark.mpi
def test_a_study_interrupted_and_repeated_runs_each_cell_once(files):
    (files / "study.yaml").write_text(SMALL.replace("accuracy: 0.9", "accuracy: 1.0"))
    command = [sys.executable, "-m", "batchbrew", "study", "run", "study.yaml", "--out", "out", "--no-report"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  background jobs ignore it
    )
    end = time.monotonic() + 40
    while not list(files.glob("out/runs/*/DONE")) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.lstrip("\n") == "batchbrew: interrupted; the same command goes on from the last checkpoint\n"
    finished = {path.parent.name: path.stat().st_mtime_ns for path in files.glob("out/runs/*/DONE")}
    assert 1 <= len(finished) < 4
    status = batchbrew("study", "status", "out").stdout
    assert f"{len(finished)} " in status.splitlines()[-1]
    done = batchbrew("study", "run", "study.yaml", "--out", "out", "--no-report")
    assert f"tiny: 4 runs, {len(finished)} finished, {4 - len(finished)} to do" in done.stdout
    after = {path.parent.name: path.stat().st_mtime_ns for path in files.glob("out/runs/*/DONE")}
    planned = {entry["run_id"] for entry in json.loads((files / "out" / "study.json").read_text())["runs"]}
    assert set(after) == planned
    assert {name: after[name] for name in finished} == finished  # none was run twice
    assert "4 finished, 0 to do" in batchbrew("study", "run", "study.yaml", "--out", "out", "--no-report").stdout


@pytest.mark.mpi
def test_a_diverging_cell_does_not_stop_the_study(files):
    text = SMALL.replace("seed: [1, 2]", "seed: 1") + "solver_overrides: {base_lr: 1.0e+30}\n"
    (files / "study.yaml").write_text(text.replace("nodes: [1, 2]", "nodes: [2, 1]"))
    done = batchbrew("study", "run", "study.yaml", "--out", "out", "--no-report")
    assert done.stdout.count("diverged after") == 2
    for folder in (files / "out" / "runs").iterdir():
        assert summary(RunFolder(folder))["outcome"] == "diverged"
        assert np.isfinite(values(RunFolder(folder))).all()
    assert "2 runs (2 diverged)" in batchbrew("study", "status", "out").stdout


@pytest.mark.mpi
def test_the_calibration_has_what_the_theory_needs(files, monkeypatch):
    (files / "study.yaml").write_text(SMALL)
    batchbrew("calibrate", "study.yaml", "--out", "out")
    found = json.loads((files / "out" / "calibration.json").read_text())
    assert found["format"] == 1
    assert {1, 5, 10} <= {entry["batch"] for entry in found["compute"]}
    assert found["message_bytes"] in {entry["bytes"] for entry in found["allreduce"]}
    assert {entry["nodes"] for entry in found["allreduce"]} == {2}
    assert max(entry["samples"] for entry in found["set_size"]) <= found["train_samples"]
    assert found["base_batch"] == 10
    for part in ("compute", "allreduce", "set_size"):
        assert all(entry["seconds"] and min(entry["seconds"]) > 0 for entry in found[part])


def test_a_folder_belongs_to_one_study(files, capsys):
    (files / "out").mkdir()
    (files / "out" / "study.json").write_text('{"name": "other"}')
    assert run(["study", "run", "study.yaml", "--out", "out"]) == 2
    assert capsys.readouterr().err == (
        "batchbrew: error: out: holds the study 'other', this one is 'tiny': use another --out\n"
    )


def test_submit_prints_the_script(files):
    done = batchbrew("submit", "study.yaml", "--out", "out", "--scheduler", "slurm", "--dry-run")
    assert "#SBATCH" in done.stdout
    assert "study run" in done.stdout


def test_data_is_listed(capsys):
    assert run(["data", "list"]) == 0
    assert "generated" in capsys.readouterr().out


def test_statistics_over_part_of_the_batch_are_named(files):
    norm = 'layer { name: "bn1" type: "BatchNorm" bottom: "ip1" top: "ip1" }\nlayer { name: "relu1"'
    (files / "net.prototxt").write_text(NET.replace('layer { name: "relu1"', norm))
    done = batchbrew("train", "--solver", "solver.prototxt", "--out", "run", "--batch", "20", "--accumulate", "2")
    note = "batchbrew: note: bn1 take statistics over 10 samples at once, not over the global batch\n"
    assert note in done.stderr
    header = json.loads((files / "run" / "record.jsonl").read_text().splitlines()[0])
    assert header["statistics_batch"] == {"layers": ["bn1"], "batch": 10}


@pytest.mark.mpi
def test_batch_norm_statistics_are_averaged_over_the_nodes(files):
    norm = 'layer { name: "bn1" type: "BatchNorm" bottom: "ip1" top: "ip1" }\nlayer { name: "relu1"'
    (files / "net.prototxt").write_text(NET.replace('layer { name: "relu1"', norm))
    batchbrew(
        "train", "--solver", "solver.prototxt", "--out", "run", "--batch", "20", "--nodes", "2", "--oversubscribe"
    )
    assert summary(RunFolder(files / "run"))["outcome"] == "updates"  # equal checksums at every evaluation


def test_what_has_no_effect_is_said(files):
    (files / "solver.prototxt").write_text(SOLVER + "solver_mode: GPU\ndebug_info: true\ndevice_id: 0\n")
    done = batchbrew("train", "--solver", "solver.prototxt", "--out", "run", "--max-updates", "1")
    assert "note: not used: debug_info, device_id\n" in done.stdout
    assert "note: solver_mode: GPU is not used: training runs on CPU cores\n" in done.stdout


@pytest.mark.mpi
def test_a_scheduler_may_start_the_ranks_itself(files):
    arguments = ["train", "--solver", "solver.prototxt", "--out", "run", "--oversubscribe"]
    command = [str(MPIEXEC), "-n", "2", sys.executable, "-m", "mpi4py", "-m", "batchbrew", *arguments]
    for expected in ("global 10 = 2 nodes x 5 x accumulate 1", "run is finished: updates after 30 updates"):
        done = subprocess.run(
            command, env=environment_for(1, True), capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.count(expected) == 1
    assert summary(RunFolder(files / "run"))["spec"]["nodes"] == 2
    bad = subprocess.run(
        [*command, "--target", "x=1"],
        env=environment_for(1, True),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert bad.returncode == 2
    assert bad.stderr.count("batchbrew: error: --target x=1: give accuracy=0.7 or loss=0.9") == 1
    nested = ["study", "run", "study.yaml", "--out", "out"]
    done = subprocess.run(
        [*command[:8], *nested], env=environment_for(1, True), capture_output=True, text=True, timeout=60, check=False
    )
    assert "start 'batchbrew study run' once, without mpiexec or srun" in done.stderr
