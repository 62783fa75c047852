import pytest

from batchbrew.errors import UserError
from batchbrew.flux_jobs import directive
from batchbrew.flux_jobs.quantities import format_walltime, parse_memory, parse_walltime
from batchbrew.flux_jobs.variables import variable_name


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:01", 1), ("100:00:00", 360000), ("2-01:00:00", 176400), (" 30 ", 1800), (1, 60), ("0-0:10:00", 600)],
)
def test_walltime_is_read(text: str | int, seconds: int) -> None:
    assert parse_walltime(text) == seconds
    assert parse_walltime(format_walltime(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "10:00", "1:60:00", "-5", "1.5", "1h", "٣:00:00", "00:00:00\n#SBATCH -p x", None])
def test_walltime_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r'^walltime: .* is no walltime: write "HH:MM:SS" or whole minutes$'):
        parse_walltime(text)


@pytest.mark.parametrize("text", [0, "0", "00:00:00"])
def test_no_time_is_refused(text: str | int) -> None:
    with pytest.raises(UserError, match="leaves no time"):
        parse_walltime(text)


@pytest.mark.parametrize(("text", "mib"), [("4000mb", 4000), ("4gb", 4096), ("2 GiB", 2048), ("500M", 500)])
def test_memory_is_read(text: str, mib: int) -> None:
    assert parse_memory(text) == mib


@pytest.mark.parametrize("text", ["", "4", "4tb", "0mb", "4gb\n", "mb"])
def test_other_memory_is_refused(text: str) -> None:
    if text == "4gb\n":
        assert parse_memory(text) == 4096  # blanks around it are no part of it, and only the number goes on
        return
    with pytest.raises(UserError, match=r"^memory: .* is no memory size: write for example"):
        parse_memory(text)


@pytest.mark.parametrize("value", ["", "a b", "a\nb", "a#b", "$(id)", "`id`", "'a'", "-p", "ü", "a%j", "a\\b", "a;b"])
def test_identifier_refuses_what_a_directive_cannot_hold(value: str) -> None:
    with pytest.raises(UserError, match=r"^account .* cannot stand in a job script's directive: use letters"):
        directive.identifier("account", value)


@pytest.mark.parametrize("text", ["-p a\n#SBATCH --uid=0", "-p\r", "-p\u2028x", "-\0", "-p\x1b[2K"])
def test_directive_refuses_newlines(text: str) -> None:
    with pytest.raises(UserError, match="holds a newline or control character: write one option a line"):
        directive.line("#SBATCH", text)


def test_directive_wants_an_option() -> None:
    with pytest.raises(UserError, match=r"^directive '#PBS -V' is no option: begin with - and leave out #PBS$"):
        directive.line("#PBS", "#PBS -V")


@pytest.mark.parametrize("name", ["1", "A-B", "", "A B", "A=1", "é", "A\n"])
def test_variable_names_are_checked(name: str) -> None:
    with pytest.raises(UserError, match=r"^here: .* is no name of an environment variable: use letters"):
        variable_name(name, "here")
