"""Rendered scripts, run by a real bash."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchbrew.errors import UserError
from batchbrew.flux_jobs.job import Job
from batchbrew.flux_jobs.schedulers import SCHEDULERS
from batchbrew.flux_jobs.script import render
from batchbrew.flux_jobs.site import Site
from batchbrew.flux_jobs.variables import THREAD_VARIABLES

# Prints, as JSON of hexadecimal bytes, what arrived: argv, working folder, environment.
DUMP = (
    "import json, os, sys; "
    "json.dump([[os.fsencode(a).hex() for a in sys.argv[1:]], os.fsencode(os.getcwd()).hex(), "
    "{k.hex(): v.hex() for k, v in os.environb.items()}, sys.stdin.read()], sys.stdout)"
)
HOSTILE = [
    "", " ", "a b", "it's", '"', "$(touch pwned)", "`touch pwned`", "${HOME}", "a\nb", "\n", "\r\n", "\t", "\\", "\\\n",
    "!!", "~", "*", "-n", "--", "; exit 3", "& exit 3", "#no", "#SBATCH --uid=0", "\n#SBATCH --uid=0\n#PBS -W x\n",
    "été", "日本語", "😀", "\u202e", "\u2028", "\udcff", "a=b", "'\"'\"'", "\x1b[2K", "\x7f", "EOF\nEOF",
]  # fmt: skip
TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30))
FOLDER = TEXT.filter(lambda text: text not in ("", ".", "..") and "/" not in text and len(os.fsencode(text)) < 200)


def make_job(workdir: Path, *arguments: str, **changes: Any) -> Job:
    values: dict[str, Any] = {"name": "j", "ranks": 1, "threads": 3, "output": Path("/tmp/job.log")}
    command = (sys.executable, "-I", "-S", "-c", DUMP, *arguments)
    return Job(command=command, workdir=workdir, **{**values, **changes})


def run(text: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "job.sh"
        script.write_bytes(os.fsencode(text))
        return subprocess.run(["bash", script], capture_output=True, timeout=30, check=False, **options)


def bare(name: str, **keys: Any) -> Site:
    return Site(name="bare", scheduler=name, **keys)


def arrived(job: Job, site: Site) -> tuple[list[str], str, dict[str, str], str]:
    ended = run(render(job, site, SCHEDULERS.get(site.scheduler)()), input=b"echo swallowed\n")
    assert ended.returncode == 0, ended.stderr
    argv, cwd, environment, read = json.loads(ended.stdout)

    def plain(text: str) -> str:
        return os.fsdecode(bytes.fromhex(text))

    return [plain(a) for a in argv], plain(cwd), {plain(k): plain(v) for k, v in environment.items()}, read


@settings(max_examples=40, deadline=None)
@given(arguments=st.lists(TEXT, max_size=6), folder=FOLDER, value=TEXT)
def test_everything_arrives_unchanged(arguments: list[str], folder: str, value: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        workdir = Path(root).resolve() / folder
        workdir.mkdir()
        job = make_job(workdir, *arguments, environment={"ODD": value}, path_folders=(str(workdir),))
        argv, cwd, environment, read = arrived(job, bare("local"))
        assert list(workdir.iterdir()) == []
    assert argv == arguments
    assert cwd == str(workdir)
    assert environment["ODD"] == value
    assert environment["PATH"].startswith(f"{workdir}:")
    assert read == ""  # the command cannot eat the script or the terminal
    assert all(environment[name] == "3" for name in THREAD_VARIABLES)


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_every_hostile_text_at_once_is_valid_bash(name: str, tmp_path: Path) -> None:
    odd = "".join(text for text in HOSTILE if "/" not in text)
    workdir = tmp_path / odd.encode(errors="surrogateescape")[:200].decode(errors="ignore")
    workdir.mkdir()
    job = make_job(workdir, *HOSTILE, name=odd, environment={"ODD": odd})
    site, scheduler = bare(name), SCHEDULERS.get(name)()
    text = render(job, site, scheduler)
    head = text[: text.index("\nset -euo pipefail\n")].splitlines()
    assert head == ["#!/bin/bash -l", *scheduler.directives(job, site), *([""] if head[-1] == "" else [])]
    ended = subprocess.run(["bash", "-n"], input=os.fsencode(text), capture_output=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    argv, cwd, environment, _ = arrived(job, site)
    assert (argv, cwd, environment["ODD"]) == (HOSTILE, str(workdir), odd)


def test_the_launcher_reaches_the_job_as_shell_words(tmp_path: Path) -> None:
    site = bare("slurm", launcher="srun", launcher_options=("--mpi=pmix", "--comment=a b"), cores_per_node=8)
    _, _, environment, _ = arrived(make_job(tmp_path), site)
    assert shlex.split(environment["BATCHBREW_MPIEXEC"]) == [
        "srun", "--cpus-per-task=3", "--cpu-bind=cores", "--kill-on-bad-exit=1", "--mpi=pmix", "--comment=a b",
    ]  # fmt: skip
    assert environment["SRUN_CPUS_PER_TASK"] == "3"
    assert environment["SLURM_EXPORT_ENV"] == "ALL"


def test_setup_runs_in_the_workdir_with_unset_variables_allowed(tmp_path: Path) -> None:
    setup = ("export SEEN=$PWD${NEVER_SET}", "export OMP_NUM_THREADS=99", "if true\nthen export TWO=lines\nfi")
    _, _, environment, _ = arrived(make_job(tmp_path), bare("local", setup=setup))
    assert environment["SEEN"] == str(tmp_path) and environment["TWO"] == "lines"
    assert environment["OMP_NUM_THREADS"] == "3"


def test_the_jobs_variables_win_over_the_sites(tmp_path: Path) -> None:
    site = bare("local", environment={"A": "site", "B": "site", "OMP_NUM_THREADS": "site"})
    _, _, environment, _ = arrived(make_job(tmp_path, environment={"A": "job"}), site)
    assert (environment["A"], environment["B"], environment["OMP_NUM_THREADS"]) == ("job", "site", "3")


def test_a_failing_setup_line_ends_the_job(tmp_path: Path) -> None:
    ended = run(render(make_job(tmp_path), bare("local", setup=("false",)), SCHEDULERS.get("local")()))
    assert (ended.returncode, ended.stdout) == (1, b"")


def test_the_exit_code_is_the_commands(tmp_path: Path) -> None:
    job = Job("j", ("bash", "-c", "exit 75"), 1, 1, tmp_path, Path("/log"))
    assert run(render(job, bare("local"), SCHEDULERS.get("local")())).returncode == 75


def test_a_signal_to_the_script_reaches_the_command(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))\n"
        "print('ready', flush=True)\n"
        "time.sleep(30)"
    )
    job = Job("j", (sys.executable, "-I", "-S", "-c", code), 1, 1, tmp_path, Path("/log"))
    script = tmp_path / "job.sh"
    script.write_text(render(job, bare("local"), SCHEDULERS.get("local")()))
    with subprocess.Popen(["bash", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(timeout=20) == 75


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_limits_hold_for_every_scheduler(name: str, tmp_path: Path) -> None:
    site = bare(name, cores_per_node=4, walltime="01:00:00")
    scheduler = SCHEDULERS.get(name)()
    with pytest.raises(UserError, match="5 threads a rank do not fit on a node of 4 cores"):
        render(make_job(tmp_path, threads=5), site, scheduler)
    with pytest.raises(UserError, match="ask for 4 or 6 ranks"):
        render(make_job(tmp_path, threads=1, ranks=5), site, scheduler)
    with pytest.raises(UserError, match=r"walltime 01:00:01 is over its limit of 01:00:00"):
        render(make_job(tmp_path, walltime_seconds=3601), site, scheduler)


def test_nul_in_setup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^site 'bare': setup holds a NUL character: remove it$"):
        render(make_job(tmp_path), bare("local", setup=("a\0",)), SCHEDULERS.get("local")())
