from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runner_support import here, new_folder

from batchbrew.errors import UserError
from batchbrew.runner import environment, launch, pinning
from batchbrew.runner.progress import Follower, share_done
from batchbrew.runner.spec import Stop

BANNER = """--------------------------------------------------------------------------
There are not enough slots available in the system to satisfy the 9
slots that were requested by the application:

  python
--------------------------------------------------------------------------
"""


def fake_mpiexec(tmp_path, monkeypatch, body: str):
    path = tmp_path / "mpiexec"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setenv("BATCHBREW_MPIEXEC", str(path))


def test_one_node_needs_no_launcher():
    assert launch.command_for(1, ["worker", "x"]) == [sys.executable, "-m", "batchbrew", "worker", "x"]


def test_ranks_are_started_so_that_an_exception_ends_them_all(monkeypatch):
    monkeypatch.setenv("BATCHBREW_MPIEXEC", f"{sys.executable} --flag")
    command = launch.command_for(3, ["worker"])
    assert command == [sys.executable, "--flag", "-n", "3", sys.executable, "-m", "mpi4py", "-m", "batchbrew", "worker"]


def test_a_wrong_launcher_is_named(monkeypatch):
    monkeypatch.setenv("BATCHBREW_MPIEXEC", "/no/such/mpiexec")
    with pytest.raises(UserError, match="BATCHBREW_MPIEXEC: no program '/no/such/mpiexec': name the mpiexec"):
        launch.find_mpiexec()


def test_no_launcher_at_all(monkeypatch, tmp_path):
    monkeypatch.delenv("BATCHBREW_MPIEXEC", raising=False)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="several nodes need mpiexec: install an MPI"):
        launch.find_mpiexec()


def test_more_nodes_than_cores_are_refused_unless_allowed(monkeypatch):
    monkeypatch.setattr(launch, "affinity", lambda: [0, 1])
    assert launch.check_cores(2, 1, allowed=False) is False
    with pytest.raises(UserError) as found:
        launch.check_cores(3, 1, allowed=False)
    assert str(found.value).startswith(
        "3 nodes x 1 thread need 3 cores, but this machine has 2: use fewer nodes, or allow it"
    )
    assert launch.check_cores(3, 1, allowed=True) is True
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert launch.check_cores(3, 1, allowed=False) is False  # the allocation may span hosts: the ranks check


def test_oversubscription_is_seen_host_by_host():
    ranks = [("a", [0, 1]), ("a", [0, 1]), ("b", [0]), ("b", [0])]
    assert environment.oversubscribed_host(ranks, 1) == "b"
    assert environment.oversubscribed_host(ranks[:2], 1) is None
    assert environment.oversubscribed_host(ranks[:2], 2) == "a"


def test_threads_and_binding_of_the_ranks(monkeypatch):
    monkeypatch.delenv("PRTE_MCA_hwloc_default_binding_policy", raising=False)
    env = launch.environment_for(1, oversubscribed=False)
    assert {env[name] for name in environment.THREAD_VARIABLES} == {"1"}
    assert env["PRTE_MCA_hwloc_default_binding_policy"] == "core"
    assert "OMPI_MCA_mpi_yield_when_idle" not in env
    crowded = launch.environment_for(1, oversubscribed=True)
    assert crowded["PRTE_MCA_hwloc_default_binding_policy"] == "none"
    assert crowded["OMPI_MCA_mpi_yield_when_idle"] == "1"


@pytest.mark.parametrize(
    ("ranks", "threads", "wanted"),
    [
        ([("a", [3, 5])], 2, [[3, 5]]),  # a launcher gave it two
        ([("a", [0, 1, 2, 3])], 2, [[0, 1]]),
        ([("a", [0, 1, 2, 3, 4])] * 2, 2, [[0, 1], [2, 3]]),
        ([("a", [0, 1]), ("b", [0, 1]), ("a", [2, 3])], 2, [[0, 1], [0, 1], [2, 3]]),
        ([("a", [0, 1])] * 2 + [("b", [0, 1, 2, 3])], 2, [[], [], [0, 1]]),
        ([("a", [0, 2, 1, 3])] * 2, 2, [[0, 2], [1, 3]]),  # whole cores first
        ([("a", [0, 1])], 3, [[]]),
    ],
)
def test_places_of_threads(ranks, threads, wanted):
    assert pinning.places(ranks, threads) == wanted


def test_second_hardware_threads_come_last(tmp_path, monkeypatch):
    monkeypatch.setattr(pinning, "_SIBLINGS", tmp_path)
    for cpu in range(4):
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text("0-1\n" if cpu < 2 else "2,3\n")
    assert pinning._by_core([0, 1, 2, 3, 9]) == [0, 2, 9, 1, 3]


def test_threads_are_pinned_only_where_there_are_several_and_it_is_wanted():
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from runner_support import make_spec\n"
        "from batchbrew.runner import pinning; from batchbrew.runner.world import OneRank\n"
        "before = os.sched_getaffinity(0)\n"
        "for changes in ({'threads': 1}, {'threads': 2, 'pin': False}, {'threads': len(before) + 1}):\n"
        "    pinning.pin(OneRank(), make_spec(**changes)); assert os.sched_getaffinity(0) == before, changes\n"
        "if len(before) > 1:\n"
        "    found = pinning.pin(OneRank(), make_spec(threads=2)); assert os.sched_getaffinity(0) == {found[0][0]}\n"
    )
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], check=True)


def test_exit_codes_and_errors_pass_through(tmp_path, monkeypatch, capfd):
    body = "print('batchbrew: error: node 1: x', file=sys.stderr)\n" * 2 + f"sys.stderr.write({BANNER!r})\nsys.exit(2)"
    fake_mpiexec(tmp_path, monkeypatch, body)
    assert launch.launch(2, 1, ["worker"], oversubscribe=True) == 2
    assert capfd.readouterr().err == "batchbrew: error: node 1: x\n"


def test_a_launcher_that_cannot_start_ranks_is_explained(tmp_path, monkeypatch, capfd):
    fake_mpiexec(tmp_path, monkeypatch, f"sys.stderr.write({BANNER!r})\nsys.exit(1)")
    with pytest.raises(UserError) as found:
        launch.launch(2, 1, ["worker"], oversubscribe=True)
    assert str(found.value) == (
        "2 ranks could not be run: There are not enough slots available in the system to satisfy the 9 slots that were "
        "requested by the application:"
    )
    assert capfd.readouterr().err == ""


def test_ctrl_c_ends_the_ranks(tmp_path, monkeypatch):
    note = tmp_path / "pid"
    fake_mpiexec(tmp_path, monkeypatch, f"open({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")

    def tick():
        if note.exists() and note.read_text():
            raise KeyboardInterrupt

    ticks = iter(range(1000))
    with pytest.raises(KeyboardInterrupt):
        launch.launch(2, 1, ["worker"], oversubscribe=True, tick=lambda: tick() if next(ticks) < 900 else None)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_killed_launcher_leaves_no_ranks_behind(tmp_path, monkeypatch):
    note = tmp_path / "pid"
    fake_mpiexec(tmp_path, monkeypatch, f"open({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")
    code = "from batchbrew.runner.launch import launch; launch(2, 1, ['worker'], True)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    while not (note.exists() and note.read_text()):
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        try:
            os.kill(int(note.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the launcher's child is still there")


def test_the_progress_follows_a_growing_record(tmp_path):
    folder = new_folder(tmp_path / "run")
    follower = Follower(folder.record)
    assert list(follower.new_lines()) == []
    folder.record.write_text('{"kind": "header"}\n{"kind": "seg')
    assert [line["kind"] for line in follower.new_lines()] == ["header"]
    with folder.record.open("a") as stream:
        stream.write('ment"}\n')
    assert [line["kind"] for line in follower.new_lines()] == ["segment"]
    folder.record.unlink()
    here(folder)
    assert not [line for line in follower.new_lines() if line["kind"] == "end"]  # it lost its place in the new file
    assert [line["kind"] for line in follower.new_lines()][-1] == "end"


def test_share_done_is_that_of_the_nearest_limit(tmp_path):
    spec = new_folder(tmp_path, stop=Stop(updates=100, epochs=1.0, seconds=50.0)).spec()
    assert share_done(spec, {"update": 10, "samples": 120, "train_seconds": 1.0}) == pytest.approx(120 / 203)
    assert share_done(spec, {"update": 10, "samples": 12, "train_seconds": 60.0}) == 1.0
