"""The shape of the project: who may import whom, and what no file may hold."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protos", "netdefs", "solver", "runner", "analysis", "flux_jobs")
LEAVES = {"errors", "registry", "config", "glog", "atomic", "__version__"}
MAY_IMPORT = {
    "protos": {"protos"},
    "netdefs": {"netdefs"},
    "solver": {"solver", "protos"},
    "runner": {"runner", "solver", "protos"},
    "analysis": {"analysis"},
    "flux_jobs": {"flux_jobs", "runner.study"},
}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return what a module imports, in full: `import a.b` as a.b, `from a import b` as a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    for path in modules(package):
        for name in imported(path):
            parts = name.split(".")
            assert parts[0] not in PACKAGES, f"{path}: write batchbrew.{name}"
            if parts[0] != "batchbrew" or len(parts) == 1 or parts[1] in LEAVES:
                continue
            allowed = any(".".join(parts[1:]).startswith(prefix) for prefix in MAY_IMPORT[package])
            assert allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_only_the_runner_knows_mpi_and_nobody_pyplot() -> None:
    for package in PACKAGES:
        for path in modules(package):
            names = imported(path)
            assert not any(name.startswith("matplotlib.pyplot") for name in names), path
            if package != "runner":
                assert not any(name.split(".")[0] == "mpi4py" for name in names), path


def test_the_solver_reads_no_clock() -> None:
    for path in modules("solver"):
        assert not {name.split(".")[0] for name in imported(path)} & {"time", "datetime"}, path


@pytest.mark.parametrize("package", PACKAGES)
def test_links_lead_to_the_top_level_folders(package: str) -> None:
    assert (ROOT / "src" / "batchbrew" / package).resolve() == ROOT / package
    assert "__name__.startswith" in (ROOT / package / "__init__.py").read_text()


def test_no_file_is_long_or_holds_unfinished_work() -> None:
    for folder in (*PACKAGES, "src/batchbrew"):
        for path in (ROOT / folder).glob("**/*.py") if folder in PACKAGES else (ROOT / folder).glob("*.py"):
            source = path.read_text(encoding="utf-8")
            assert source.count("\n") <= 300, f"{path}: {source.count(chr(10))} lines"
            assert not re.search(r"\b(TODO|FIXME|XXX)\b", source), path


def test_links_between_documents_work() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *(p for f in PACKAGES for p in (ROOT / f).rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: no {target}"
