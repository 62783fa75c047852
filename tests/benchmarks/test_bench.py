"""The benchmark: its arithmetic, and one small run against a stand-in for PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import figure
import pytest
from bench import parse
from processes import Processes, available_bytes
from results import Results, Row, flatness, read, scaling
from worker import END, measure, serve, settle

HERE = Path(__file__).parent
BENCHMARKS = HERE.parents[1] / "benchmarks"


def results() -> Results:
    return Results(
        machine={"torch": "9.9"},
        peak={1: 100e9, 2: 200e9},
        work={"lenet": 50e6},
        rows=[
            Row("lenet", 1, 1, 1, 500.0, {"a": 250.0, "b": 200.0}),
            Row("lenet", 1, 1, 8, 900.0, {"a": 600.0, "b": 1000.0}),
            Row("lenet", 1, 1, 100, 1000.0, {}, {"a": "no room"}),
            Row("lenet", 1, 1, 8192, None, {"a": 1.0}),
            Row("lenet", 2, 1, 100, 1900.0, {"a": 1900.0}),
        ],
        memory={"lenet": {64: 100, 8192: 110}},
    )


def test_ratios():
    found = results()
    rows = found.block("lenet", 1, 1)
    assert [row.ratio for row in rows] == [2.0, 0.9, None, None]
    assert rows[1].best == ("b", 1000.0)
    assert flatness(rows) == 0.9
    assert flatness(rows[:1]) is None
    assert scaling(found, "lenet", 2) == {100: 1.9}
    assert found.ceiling("lenet", 2) == 4000.0
    assert found.ceiling("lenet", 3) is None
    assert found.blocks() == [("lenet", 1, 1), ("lenet", 2, 1)]


def test_results_are_kept_and_drawn(tmp_path, monkeypatch):
    results().write(tmp_path / "x.json")
    assert read(tmp_path / "x.json") == results()
    monkeypatch.setattr(sys, "argv", ["figure.py", str(tmp_path / "x.json"), str(tmp_path / "out")])
    figure.main()
    picture = (tmp_path / "out" / "throughput.svg").read_text()
    assert "lenet, 2 ranks" in picture and "PyTorch at its best" in picture
    assert (tmp_path / "out" / "throughput.png").read_bytes().startswith(b"\x89PNG")


def test_a_window_is_filled_after_warming_up():
    made = []

    def run(count):
        made.append(count)
        return [0.125] * count

    assert measure(run, 1.0, settle(run, 1.0)) == 0.125
    assert made == [1, 2, 8]
    made.clear()
    measure(run, 0.01, settle(run, 0.01))
    assert made == [1, 1]  # a step longer than the window


def test_exceptions_are_answers_where_nobody_else_waits(capsys):
    def answer(request):
        raise ValueError(f"no\n {request['batch']}")

    lines = [json.dumps({"batch": 3}), json.dumps(END), "never read"]
    serve(lines, answer)
    assert json.loads(capsys.readouterr().out) == {"error": "ValueError: no 3"}
    with pytest.raises(ValueError, match="no"):
        serve(lines, answer, rank=1, ranks=2)
    assert capsys.readouterr().out == ""


def test_processes_are_started_anew_and_asked_for_their_memory():
    peer = Processes([sys.executable, str(HERE / "bench_peer.py")], lambda: [{}])
    assert peer.ask(batch=1, layout="channels_last")["seconds"] == 1.0
    assert peer.needs(4096) == 0
    peer.ask(batch=2, layout="channels_last")
    assert peer.needs(8) == 3000  # 1000 bytes a sample beyond what batch 1 took, three times as much again
    peer.ask(batch=1, layout="channels_last")
    assert peer.needs(8) == 3000  # the memory of the largest batch so far is still there
    assert peer.ask(batch=8, layout="channels_last") == {"error": "ended with code 1: torch.cannot"}
    assert peer.ask(batch=1, layout="contiguous_format")["seconds"] == 0.5
    peer.close()
    assert available_bytes() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nets=lent"], "unknown net 'lent' (known: cifar10_quick, cifar10_full, lenet, resnet20_cifar10)"),
        (["--batches=1,x"], "argument --batches: invalid numbers value: '1,x'"),
    ],
)
def test_wrong_options(capsys, arguments, message):
    with pytest.raises(SystemExit):
        parse(arguments)
    assert capsys.readouterr().err.splitlines()[-1].endswith(message)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "bench.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_an_interpreter_without_torch_is_refused():
    for python, why in (("/no/where", "cannot be run (No such file or directory)"), ("false", "cannot import torch")):
        done = bench("--python", python)
        assert (done.returncode, done.stderr) == (2, f"bench: error: --python {python}: {why}\n")


def test_a_small_run(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec echo 9.9\nexec {sys.executable} {HERE}/bench_peer.py\n')
    python.chmod(0o755)
    out = tmp_path / "out.json"
    small = ["--quick", "--nets=lenet", "--batches=8,4", "--threads=1", "--ranks=1", "--seconds=0.001"]
    done = bench(*small, "--python", str(python), "--json", str(out))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].endswith("against PyTorch 9.9")
    assert lines[3].startswith("lenet, 1 thread, FMA peak ")
    assert lines[5].split()[0] == "4" and lines[5].endswith("contiguous_format, malloc tuned")
    assert lines[7].startswith("        left out: channels_last, malloc tuned; ") and lines[7].endswith("torch.cannot")
    found = read(out)
    assert [row.batch for row in found.rows] == [4, 8]
    assert found.rows[0].best == ("contiguous_format, malloc tuned", 8.0)
    assert found.rows[0].ours and found.rows[1].ours and not found.rows[1].peer
    assert found.peak[1] > 0 and found.work["lenet"] > 1e6
