"""Wheel and sdist hold everything, and a wheel works away from the source tree."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = (
    "py.typed",
    "__main__.py",
    "protos/brew.desc",
    "protos/messages.pyi",
    "netdefs/cifar10_quick.prototxt",
    "netdefs/studies/quick_start.yaml",
    "solver/layers/convolution.py",
    "solver/kernels/reference/conv.py",
    "runner/strategies/allreduce.py",
    "flux_jobs/sites/slurm.yaml",
    "analysis/templates/report.html",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist of the project and the wheel made from that sdist alone."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_the_sdist_holds_the_sources(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (*NEEDED, "solver/kernels/gemm.h", "solver/kernels/avx512.c", "solver/kernels/_compiled.pyx"):
        assert f"src/batchbrew/{name}" in names
    assert {"setup.py", "pyproject.toml", "LICENSE", "README.md"} <= names


def test_the_wheel_works_on_its_own(built: Path, tmp_path: Path) -> None:
    wheel = next(built.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    for name in NEEDED:
        assert f"batchbrew/{name}" in names
    assert not any(name.split("/")[0] in {"protos", "solver", "runner", "analysis", "tests"} for name in names)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "BATCHBREW_DATA": str(tmp_path / "data")}
    inside = tmp_path / "site" / "batchbrew"
    command = [sys.executable, "-P", "-m", "batchbrew", "check", str(inside / "netdefs" / "quick_start.prototxt")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK" in done.stdout
    command[2:] = ["-c", "import batchbrew; print(batchbrew.__file__)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert Path(done.stdout.strip()).parent == inside


def test_a_second_copy_under_another_name_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import solver"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert "import this folder as batchbrew.solver" in done.stderr
