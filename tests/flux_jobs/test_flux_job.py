"""Jobs, their layout over machines, and the limits of a site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchbrew.errors import UserError
from batchbrew.flux_jobs.job import Job, job_for_study
from batchbrew.flux_jobs.layout import layout
from batchbrew.flux_jobs.site import Site, find_site


def tiny(cores: int | None = 12, **keys: Any) -> Site:
    return Site(name="tiny", scheduler="slurm", cores_per_node=cores, **keys)


@given(ranks=st.integers(1, 300), threads=st.integers(1, 12))
def test_a_layout_is_even_and_fits(ranks: int, threads: int) -> None:
    try:
        place = layout(ranks, threads, tiny())
    except UserError as error:
        better = [int(word) for word in str(error).split(": ask for ")[1].split() if word.isdigit()]
        assert len(better) == 2 and all(layout(number, threads, tiny()) for number in better)
        return
    assert place is not None
    assert place.machines * place.ranks_per_machine == ranks
    assert place.cores_per_machine <= 12
    assert (place.machines - 1) * (12 // threads) < ranks


def test_unknown_machines_have_no_layout() -> None:
    assert layout(13, 40, tiny(None)) is None


def test_ranks_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        layout(13, 1, tiny())
    assert str(caught.value) == (
        "site 'tiny': 13 ranks of 1 thread need 2 nodes of 12 cores and are no multiple of 2: ask for 12 or 14 ranks"
    )


def test_a_rank_larger_than_a_machine_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        layout(1, 13, tiny())
    assert str(caught.value) == (
        "site 'tiny': 13 threads a rank do not fit on a node of 12 cores: ask for at most 12 threads"
    )


def study_job(site: Site, **changes: Any) -> Job:
    values: dict[str, Any] = {"nodes": 4, "threads": 2, "walltime": "10:00:00", "out": Path("results")}
    return job_for_study(Path("my study.yaml"), **{**values, **changes}, site=site)


def test_a_studys_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = tiny(memory_per_core="2gb", python="/opt/python")
    job = study_job(site, environment={"A": "study"})
    study, out = str(tmp_path / "my study.yaml"), str(tmp_path / "results")
    assert job.command == ("/opt/python", "-m", "batchbrew", "study", "run", study, "--out", out)
    assert (job.name, job.ranks, job.threads, job.walltime_seconds, job.memory_mib) == ("my study", 4, 2, 36000, 2048)
    assert (job.workdir, job.output) == (tmp_path, tmp_path / "results" / "job.log")
    assert job.environment == {"A": "study"}
    assert job.path_folders == ()


def test_the_programs_of_a_virtual_environment_come_first(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    site = tiny(python=str(tmp_path / "bin" / "python"))
    assert study_job(site).path_folders == (str(tmp_path / "bin"),)


def test_the_python_that_submits_is_the_default() -> None:
    assert study_job(find_site("local")).command[0] == sys.executable


def test_walltime_over_the_limit() -> None:
    with pytest.raises(UserError) as caught:
        study_job(find_site("umich_flux"), walltime="1000:00:00")
    assert str(caught.value) == (
        "site 'umich_flux': walltime 1000:00:00 is over its limit of 720:00:00: ask for less; "
        "what is not finished then is run by submitting the study again"
    )
    assert study_job(find_site("umich_flux"), walltime="720:00:00").walltime_seconds == 720 * 3600


def test_walltime_shorter_than_the_signal() -> None:
    with pytest.raises(UserError, match=r"walltime 00:02:00 is no longer than its signal_seconds \(120\)"):
        study_job(find_site("slurm").model_copy(update={"signal_seconds": 120}), walltime=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranks": 0}, "job 'j': nodes is 0: ask for at least 1"),
        ({"threads": -1}, "job 'j': threads is -1: ask for at least 1"),
        ({"workdir": Path("here")}, "job 'j': workdir 'here' is a relative path: give it from / on"),
        ({"output": Path("log")}, "job 'j': output 'log' is a relative path: give it from / on"),
        ({"command": ()}, "job 'j': the command is empty: name the program to run"),
        ({"command": ("",)}, "job 'j': the command is empty: name the program to run"),
        ({"command": ("a", "\0")}, "job 'j': an argument, path or variable holds a NUL character: remove it"),
        ({"environment": {"A": "\0"}}, "job 'j': an argument, path or variable holds a NUL character: remove it"),
        ({"environment": {"A;id": ""}}, "job 'j': 'A;id' is no name of an environment variable"),
    ],
)
def test_impossible_jobs_are_refused(changes: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {
        "name": "j", "command": ("true",), "ranks": 1, "threads": 1, "workdir": Path("/"), "output": Path("/log"),
    }  # fmt: skip
    with pytest.raises(UserError) as caught:
        Job(**{**values, **changes})
    assert str(caught.value).startswith(message)
