"""Submitting: the script on disk, the scheduler's programs, and what can go wrong with them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchbrew.errors import UserError
from batchbrew.flux_jobs.schedulers import SCHEDULERS
from batchbrew.flux_jobs.submit import Submission, choose_site, submit


def send(folder: Path, **changes: Any) -> Submission:
    values: dict[str, Any] = {"out": folder / "out it's", "nodes": 2, "threads": 1, "walltime": "10:00:00"}
    return submit(folder / "study.yaml", **{**values, **changes})


def program(folder: Path, name: str, text: str) -> None:
    """Put a stand-in for a cluster's program on the path."""
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_a_dry_run_writes_the_script_and_starts_nothing(name: str, tmp_path: Path) -> None:
    done = send(tmp_path, scheduler=name, dry_run=True)
    assert (done.job_id, done.exit_code) == (None, None)
    assert done.script == tmp_path / "out it's" / "job.sh"
    assert done.script.read_text() == done.text
    assert stat.S_IMODE(done.script.stat().st_mode) == 0o700
    assert [path.name for path in done.script.parent.iterdir()] == ["job.sh"]
    assert send(tmp_path, scheduler=name, dry_run=True) == done


@pytest.mark.parametrize(("site", "name"), [("slurm", "sbatch"), ("pbspro", "qsub"), ("umich_flux", "qsub")])
def test_the_schedulers_program_gets_the_script(site: str, name: str, tmp_path: Path, programs: Path) -> None:
    program(programs, name, f'printf "%s\\n" "$PWD" "$@" >{programs}/seen; echo "4217.server"')
    done = send(tmp_path, site=site)
    assert done.job_id == "4217.server" and done.exit_code is None
    seen = (programs / "seen").read_text().splitlines()
    assert seen[0] == str(done.script.parent) and seen[-1] == "job.sh"


@pytest.mark.parametrize(("site", "name"), [("slurm", "sbatch"), ("torque", "qsub")])
def test_a_missing_program(site: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as caught:
        send(tmp_path, site=site)
    folder = str(tmp_path / "out it").replace("'", "")
    assert str(caught.value).startswith(
        f"'{name}' is not on this machine: submit from a login node of site '{site}' with: cd '{folder}"
    )
    assert "\n" not in str(caught.value)


def test_a_refusing_scheduler_is_quoted(tmp_path: Path, programs: Path) -> None:
    program(programs, "sbatch", 'echo "sbatch: error: invalid" >&2; echo "  account" >&2; exit 1')
    with pytest.raises(
        UserError, match=r"^'sbatch' refused .*job\.sh \(exit code 1\): sbatch: error: invalid account$"
    ):
        send(tmp_path, site="slurm")


def test_a_program_that_cannot_start(tmp_path: Path, programs: Path) -> None:
    (programs / "sbatch").write_bytes(b"\x7fELFnot")
    (programs / "sbatch").chmod(0o755)
    with pytest.raises(UserError, match=r"^cannot run 'sbatch': Exec format error: submit by hand: cd "):
        send(tmp_path, site="slurm")


def test_a_scheduler_that_does_not_answer(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs, "sbatch", "exec sleep 30")
    monkeypatch.setattr(sys.modules["batchbrew.flux_jobs.submit"], "ANSWER_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"gave no answer in 0\.2 s: see whether the job is queued before submitting"):
        send(tmp_path, site="slurm")


def test_a_local_job_runs_here(tmp_path: Path, programs: Path) -> None:
    site = tmp_path / "mine.yaml"
    site.write_text(f"name: mine\nscheduler: local\npython: {programs}/python\n")
    program(programs, "python", f'printf "%s\\n" "$@" >{programs}/seen; exit 75')
    done = send(tmp_path, site=str(site))
    assert (done.job_id, done.exit_code) == (None, 75)
    assert (programs / "seen").read_text().splitlines() == [
        "-m", "batchbrew", "study", "run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out it's"),
    ]  # fmt: skip


def test_settings_made_here_go_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHBREW_DATA", "/data sets")
    monkeypatch.setenv("BATCHBREW_MPIEXEC", "mine")
    monkeypatch.setenv("OTHER", "not this")
    text = send(tmp_path, site="slurm", dry_run=True).text
    assert "export BATCHBREW_DATA='/data sets'\n" in text and "OTHER" not in text
    assert "export BATCHBREW_MPIEXEC='srun " in text and "mine" not in text
    assert "BATCHBREW_DATA" not in send(tmp_path, site="slurm", dry_run=True, environment={}).text


def test_choosing_a_site() -> None:
    assert choose_site(None, None).name == "local"
    assert choose_site("pbspro", None).name == "pbspro"
    assert choose_site("torque", "umich_flux").name == "umich_flux"
    with pytest.raises(UserError) as caught:
        choose_site("slurm", "umich_flux")
    assert str(caught.value) == (
        "site 'umich_flux' is run by torque, not by slurm: leave out --scheduler or name another --site"
    )
    with pytest.raises(UserError, match=r"^unknown scheduler 'slrum' - did you mean 'slurm'\?"):
        choose_site("slrum", "umich_flux")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/out/job.sh: cannot write the job script: Not a directory$"):
        send(tmp_path, out=tmp_path / "file" / "out", dry_run=True)
    (tmp_path / "taken" / "job.sh").mkdir(parents=True)
    with pytest.raises(UserError, match=r"taken/job\.sh: cannot write the job script: Is a directory$"):
        send(tmp_path, out=tmp_path / "taken", dry_run=True)
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["job.sh"]


def test_a_path_that_is_no_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9")
    done = send(tmp_path, out=out, scheduler="local", dry_run=True)
    assert b"caf\xe9" in done.script.read_bytes()


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="Slurm's sbatch is not installed (apt: slurm-client)")
def test_the_real_sbatch_reads_the_directives(tmp_path: Path) -> None:
    done = send(tmp_path, site="slurm", dry_run=True)
    environment = dict(os.environ)
    if "SLURM_CONF" not in environment:
        (tmp_path / "slurm.conf").write_text("ClusterName=x\nSlurmctldHost=localhost\nAuthType=auth/none\n")
        environment["SLURM_CONF"] = str(tmp_path / "slurm.conf")
    # It prints what it understood, then tries for a long while to reach a controller: not waited for.
    with subprocess.Popen(
        ["sbatch", "-vv", "job.sh"], cwd=done.script.parent, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "end of defined options" in line:
                break
        process.kill()
    understood = dict(re.findall(r"^sbatch: (\S+) +: (.*)$", "".join(lines), re.MULTILINE))
    wanted = {
        "job-name": "study", "ntasks": "2", "cpus-per-task": "1", "time": "10:00:00", "open-mode": "a",
        "signal": "B:USR1@120", "export": "NONE", "requeue": "requeue", "output": f"{done.script.parent}/job.log",
    }  # fmt: skip
    assert {key: understood.get(key) for key in wanted} == wanted
