from __future__ import annotations

from pathlib import Path

import pytest

from batchbrew.errors import UserError
from batchbrew.flux_jobs.launchers import LAUNCHERS
from batchbrew.flux_jobs.quantities import parse_memory, parse_walltime
from batchbrew.flux_jobs.schedulers import SCHEDULERS
from batchbrew.flux_jobs.site import bundled_sites, find_site


@pytest.mark.parametrize("name", bundled_sites())
def test_bundled_sites_load(name: str) -> None:
    site = find_site(name)
    assert site.name == name
    assert site.scheduler in SCHEDULERS and site.launcher in LAUNCHERS


def test_every_scheduler_has_a_site_of_its_name() -> None:
    assert set(SCHEDULERS.names()) <= set(bundled_sites())
    assert all(find_site(name).scheduler == name for name in SCHEDULERS)


def test_umich_flux() -> None:
    site = find_site("umich_flux")
    assert (site.scheduler, site.account, site.queue, site.qos) == ("torque", "example_flux", "flux", "flux")
    assert site.procs and not site.inherit_environment and site.setup
    assert parse_memory(site.memory_per_core or "") == 4000
    assert parse_walltime(site.walltime or "") == 30 * 86400


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nscheduler: slurm\nsetup: [module load a, 'b \"c\"']\nenvironment: {A: b}\n")
    site = find_site(str(path))
    assert site.setup == ("module load a", 'b "c"') and site.environment == {"A": "b"}


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        find_site("umich_fluxx")
    assert str(caught.value) == (
        "unknown site 'umich_fluxx' - did you mean 'umich_flux'? (known: local, pbspro, slurm, torque, umich_flux; "
        "or give the path of a site file, ending in .yaml)"
    )


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"^\./none\.yaml: cannot read|^none\.yaml: cannot read"):
        find_site("./none.yaml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("scheduler: slrum", "scheduler: unknown scheduler 'slrum' - did you mean 'slurm'?"),
        ("launcher: mpirum", "launcher: unknown launcher 'mpirum' - did you mean 'mpirun'?"),
        ("acount: x", "unknown key 'acount' - did you mean 'account'?"),
        ("account: a b", "account 'a b' cannot stand in a job script's directive: use letters, digits"),
        ('account: "a\\n#SBATCH --uid=0"', "account 'a\\n#SBATCH --uid=0' cannot stand in a job script's directive"),
        ("name: my site", "name 'my site' cannot stand in a job script's directive"),
        ("cores_per_node: 0", "cores_per_node: input should be greater than or equal to 1 (found 0)"),
        ("memory_per_core: 4 apples", "'4 apples' is no memory size: write for example"),
        ("walltime: 12:30:00", 'write the walltime in quotes, "HH:MM:SS": YAML reads a bare 12:30:00 as a number'),
        ('walltime: "10:00"', "'10:00' is no walltime"),
        ("queue: batch", "scheduler 'slurm' does not take it: Slurm's word is 'partition'"),
        ("procs: true", "scheduler 'slurm' does not take it: it is Torque's"),
        ('directives: ["-p a\\n#SBATCH -q b"]', "holds a newline or control character: write one option a line"),
        ("directives: [constraint=x]", "is no option: begin with -"),
        ("setup: module load a", "setup: input should be a valid tuple (found 'module load a')"),
        ("environment: {A-B: x}", "environment: 'A-B' is no name of an environment variable"),
        ("environment: {A: 1}", "environment.A: input should be a valid string (found 1)"),
        ("signal_seconds: 0", "signal_seconds: input should be greater than or equal to 1"),
    ],
)
def test_mistakes_in_a_site_file(tmp_path: Path, line: str, message: str) -> None:
    key = line.partition(":")[0]
    others = [other for other in ("name: mine", "scheduler: slurm") if not other.startswith(key + ":")]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join([*others, line, ""]))
    with pytest.raises(UserError) as caught:
        find_site(str(path))
    assert str(caught.value).startswith(f"{path}:{len(others) + 1}:")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_every_key_a_scheduler_has_no_word_for_is_refused(tmp_path: Path, name: str) -> None:
    values = {"signal_seconds": "60", "exclusive": "true", "procs": "true", "requeue": "true"}
    for key, advice in SCHEDULERS.get(name).foreign.items():
        path = tmp_path / "mine.yaml"
        path.write_text(f"name: mine\nscheduler: {name}\n{key}: {values.get(key, 'word')}\n")
        with pytest.raises(UserError) as caught:
            find_site(str(path))
        assert f":3:1: {key}: scheduler '{name}' does not take it: {advice}" in str(caught.value)
