"""What may stand in a ``#SBATCH`` or ``#PBS`` line.

These lines are comments to the shell, so nothing in them can be quoted for it, and each scheduler has its own idea of
quotes, ``#`` and ``%`` in them. So a value is checked, never escaped, and every line is checked once more.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from batchbrew.errors import UserError

_IDENTIFIER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:+/-]*", re.ASCII)
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+=-]*", re.ASCII)


def identifier(key: str, value: str) -> str:
    """Return ``value`` if it can stand in a directive as it is; ``key`` names it in the UserError otherwise.

    >>> identifier("account", "example_flux")
    'example_flux'
    """
    if not _IDENTIFIER.fullmatch(value):
        raise UserError(
            f"{key} {value!r} cannot stand in a job script's directive: "
            "use letters, digits and _ . @ : + / - only, starting with a letter, digit or _"
        )
    return value


def line(prefix: str, text: str) -> str:
    """Return ``prefix text`` as one directive.

    Raises UserError if ``text`` holds a newline or another control character, which would end or hide the directive,
    or does not begin with a dash.

    >>> line("#PBS", "-q flux")
    '#PBS -q flux'
    """
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in text):
        raise UserError(f"directive {text!r} holds a newline or control character: write one option a line")
    if not text.startswith("-"):
        raise UserError(f"directive {text!r} is no option: begin with - and leave out {prefix}")
    return f"{prefix} {text}"


def job_name(text: str, longest: int) -> str:
    """Return ``text`` as a job name every scheduler takes: ASCII letters, digits, _ and -, beginning with a letter.

    >>> job_name("2 nodes: été", 15)
    'b2-nodes-t'
    >>> job_name("...", 15)
    'batchbrew'
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "-", text, flags=re.ASCII).strip("-")
    if not name:
        name = "batchbrew"
    if not name[0].isalpha():
        name = "b" + name
    return name[:longest].rstrip("-")


def output_file(path: Path) -> str:
    """Return how a directive names the log file ``path`` (absolute).

    A path with blanks, quotes, ``%`` (Slurm's patterns) or ``:`` (PBS's host) is named by its last part alone, which
    schedulers look for in the folder the job is submitted from; ``submit`` submits from the log's folder.

    >>> output_file(Path("/scratch/me/out/job.log")), output_file(Path("/scratch/my work/job.log"))
    ('/scratch/me/out/job.log', 'job.log')
    """
    text = str(path)
    return text if _PLAIN_PATH.fullmatch(text) else identifier("output", path.name)
