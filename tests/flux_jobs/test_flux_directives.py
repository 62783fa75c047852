"""The directives of every scheduler for three jobs, letter by letter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchbrew.errors import UserError
from batchbrew.flux_jobs.job import Job
from batchbrew.flux_jobs.schedulers import SCHEDULERS
from batchbrew.flux_jobs.site import Site


def make_job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "name": "cifar10 batch study",
        "command": ("true",),
        "ranks": 1,
        "threads": 1,
        "workdir": Path("/home/me"),
        "output": Path("/scratch/out/job.log"),
    }
    return Job(**{**values, **changes})


FULL = make_job(ranks=16, threads=2, walltime_seconds=36 * 3600 + 90, memory_mib=2000)
MINIMAL = make_job(name="x")
NO_WALLTIME = make_job(ranks=4, threads=3)

FULL_SITE: dict[str, dict[str, Any]] = {
    "slurm": {"account": "acc", "partition": "compute", "qos": "normal", "cores_per_node": 16, "exclusive": True,
              "requeue": True, "signal_seconds": 120, "directives": ("--constraint=haswell",)},
    "pbspro": {"account": "acc", "queue": "workq", "cores_per_node": 16, "exclusive": True, "requeue": True,
               "inherit_environment": True, "directives": ("-m abe",)},
    "torque": {"account": "acc_flux", "queue": "flux", "qos": "flux", "cores_per_node": 16, "exclusive": True,
               "procs": True, "requeue": True, "inherit_environment": True, "directives": ("-m abe",)},
    "local": {"cores_per_node": 32},
}  # fmt: skip

GOLDEN: dict[str, tuple[list[str], list[str], list[str]]] = {
    "slurm": (
        [
            "#SBATCH --job-name=cifar10-batch-study",
            "#SBATCH --account=acc",
            "#SBATCH --partition=compute",
            "#SBATCH --qos=normal",
            "#SBATCH --nodes=2",
            "#SBATCH --ntasks=16",
            "#SBATCH --ntasks-per-node=8",
            "#SBATCH --cpus-per-task=2",
            "#SBATCH --mem-per-cpu=2000M",
            "#SBATCH --time=36:01:30",
            "#SBATCH --exclusive",
            "#SBATCH --output=/scratch/out/job.log",
            "#SBATCH --open-mode=append",
            "#SBATCH --requeue",
            "#SBATCH --signal=B:USR1@120",
            "#SBATCH --export=NONE",
            "#SBATCH --constraint=haswell",
        ],
        [
            "#SBATCH --job-name=x",
            "#SBATCH --ntasks=1",
            "#SBATCH --cpus-per-task=1",
            "#SBATCH --output=/scratch/out/job.log",
            "#SBATCH --open-mode=append",
            "#SBATCH --no-requeue",
            "#SBATCH --export=NONE",
        ],
        [
            "#SBATCH --job-name=cifar10-batch-study",
            "#SBATCH --ntasks=4",
            "#SBATCH --cpus-per-task=3",
            "#SBATCH --output=/scratch/out/job.log",
            "#SBATCH --open-mode=append",
            "#SBATCH --no-requeue",
            "#SBATCH --export=NONE",
        ],
    ),
    "pbspro": (
        [
            "#PBS -N cifar10-batch-s",
            "#PBS -S /bin/bash",
            "#PBS -A acc",
            "#PBS -q workq",
            "#PBS -l select=2:ncpus=16:mpiprocs=8:ompthreads=2:mem=32000mb",
            "#PBS -l place=scatter:excl",
            "#PBS -l walltime=36:01:30",
            "#PBS -j oe",
            "#PBS -o /scratch/out/job.log",
            "#PBS -r y",
            "#PBS -V",
            "#PBS -m abe",
        ],
        [
            "#PBS -N x",
            "#PBS -S /bin/bash",
            "#PBS -l select=1:ncpus=1:mpiprocs=1:ompthreads=1",
            "#PBS -l place=free",
            "#PBS -j oe",
            "#PBS -o /scratch/out/job.log",
            "#PBS -r n",
        ],
        [
            "#PBS -N cifar10-batch-s",
            "#PBS -S /bin/bash",
            "#PBS -l select=4:ncpus=3:mpiprocs=1:ompthreads=3",
            "#PBS -l place=free",
            "#PBS -j oe",
            "#PBS -o /scratch/out/job.log",
            "#PBS -r n",
        ],
    ),
    "torque": (
        [
            "#PBS -N cifar10-batch-s",
            "#PBS -S /bin/bash",
            "#PBS -A acc_flux",
            "#PBS -q flux",
            "#PBS -l qos=flux",
            "#PBS -l nodes=2:ppn=16",
            "#PBS -l pmem=2000mb",
            "#PBS -l walltime=36:01:30",
            "#PBS -l naccesspolicy=singlejob",
            "#PBS -j oe",
            "#PBS -o /scratch/out/job.log",
            "#PBS -r y",
            "#PBS -V",
            "#PBS -m abe",
        ],
        [
            "#PBS -N x",
            "#PBS -S /bin/bash",
            "#PBS -l nodes=1:ppn=1",
            "#PBS -j oe",
            "#PBS -o /scratch/out/job.log",
            "#PBS -r n",
        ],
        [
            "#PBS -N cifar10-batch-s",
            "#PBS -S /bin/bash",
            "#PBS -l nodes=4:ppn=3",
            "#PBS -j oe",
            "#PBS -o /scratch/out/job.log",
            "#PBS -r n",
        ],
    ),
    "local": ([], [], []),
}


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_directives(name: str) -> None:
    scheduler = SCHEDULERS.get(name)()
    full_site = Site(name="full", scheduler=name, **FULL_SITE[name])
    bare_site = Site(name="bare", scheduler=name)
    full, minimal, no_walltime = GOLDEN[name]
    assert scheduler.directives(FULL, full_site) == full
    assert scheduler.directives(MINIMAL, bare_site) == minimal
    assert scheduler.directives(NO_WALLTIME, bare_site) == no_walltime


def test_torque_asks_for_single_cores_where_the_site_says_so() -> None:
    site = Site(name="flux", scheduler="torque", procs=True, cores_per_node=12)
    assert "#PBS -l procs=13" in SCHEDULERS.get("torque")().directives(make_job(ranks=13), site)


@pytest.mark.parametrize("name", SCHEDULERS.names())
@pytest.mark.parametrize("text", ["a\n#SBATCH --uid=0", "'; rm -rf ~", "2nd été", "", "$(id)", "x" * 300, "😀"])
def test_job_names_are_made_safe(name: str, text: str) -> None:
    job, site = make_job(name=text), Site(name="bare", scheduler=name)
    lines = SCHEDULERS.get(name)().directives(job, site)
    assert len(lines) == len(GOLDEN[name][1])
    for line in lines[:1]:
        shown = line.partition("=")[2] or line.partition("-N ")[2]
        assert shown and shown.isascii() and shown[0].isalpha() and shown.replace("-", "").replace("_", "").isalnum()
        assert len(shown) <= (15 if "#PBS" in line else 64)


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "local"])
@pytest.mark.parametrize("folder", ["/my work", "/a\n#SBATCH --uid=0", "/it's", "/host:x", "/été", '/"#'])
def test_a_log_in_an_odd_folder_is_named_from_that_folder(name: str, folder: str) -> None:
    lines = SCHEDULERS.get(name)().directives(
        make_job(output=Path(folder) / "job.log"), Site(name="bare", scheduler=name)
    )
    assert [line for line in lines if line.endswith(("=job.log", "-o job.log"))]
    assert not any(folder in line for line in lines)


@pytest.mark.parametrize("folder", ["/100%j", "/a\\b"])
def test_slurm_patterns_in_the_log_path_are_refused(folder: str) -> None:
    with pytest.raises(UserError, match=r"^Slurm would read the % or \\ in the log's path .* choose another --out$"):
        SCHEDULERS.get("slurm")().directives(
            make_job(output=Path(folder) / "job.log"), Site(name="bare", scheduler="slurm")
        )


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "local"])
@pytest.mark.parametrize(
    ("key", "value"), [("account", "a\n#PBS -W x"), ("directives", ("-V\n#PBS -A other",)), ("account", "a b")]
)
def test_unchecked_site_values_are_still_refused(name: str, key: str, value: Any) -> None:
    """A site made without validation cannot smuggle a line in either."""
    site = Site(name="bare", scheduler=name).model_copy(update={key: value})
    with pytest.raises(UserError, match=r"cannot stand in a job script's directive|holds a newline"):
        SCHEDULERS.get(name)().directives(make_job(), site)


@pytest.mark.parametrize(
    ("name", "answer", "job_id"),
    [("slurm", "4217;cluster\n", "4217"), ("slurm", "4217\n", "4217"), ("pbspro", "12.pbs01\n", "12.pbs01"),
     ("torque", "12.nyx.engin.umich.edu\n", "12.nyx.engin.umich.edu"), ("local", "anything", "")],
)  # fmt: skip
def test_job_id(name: str, answer: str, job_id: str) -> None:
    assert SCHEDULERS.get(name)().job_id(answer) == job_id
