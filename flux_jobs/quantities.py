"""Times and sizes as users write them, and as schedulers want them."""

from __future__ import annotations

import re

from batchbrew.errors import UserError

_TIME = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", re.ASCII)
_SIZE = re.compile(r"(\d+)\s*([mg])i?b?", re.ASCII | re.IGNORECASE)


def parse_walltime(value: str | int, where: str = "walltime") -> int:
    """Return seconds of a walltime: ``"HH:MM:SS"``, ``"D-HH:MM:SS"`` or whole minutes.

    Two-part times are refused because schedulers disagree on them: ``"10:00"`` is ten minutes to Slurm.
    In YAML write the colons in quotes: a bare ``12:30:00`` is the number 45000 there.
    Raises UserError for anything else, and for no time at all.

    >>> parse_walltime("01:30:00"), parse_walltime("1-00:00:00"), parse_walltime(90), parse_walltime("90")
    (5400, 86400, 5400, 5400)
    """
    text = str(value).strip()
    match = _TIME.fullmatch(text)
    if match:
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    elif re.fullmatch(r"\d+", text, re.ASCII):
        total = 60 * int(text)
    else:
        raise UserError(f"{where}: '{value}' is no walltime: write \"HH:MM:SS\" or whole minutes")
    if total == 0:
        raise UserError(f"{where}: '{value}' leaves no time: write \"HH:MM:SS\" or whole minutes")
    return total


def format_walltime(seconds: int) -> str:
    """Return ``HH:MM:SS`` with as many hours as it takes, which all schedulers read alike.

    >>> format_walltime(5400), format_walltime(28 * 86400)
    ('01:30:00', '672:00:00')
    """
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def parse_memory(value: str, where: str = "memory") -> int:
    """Return MiB of a size such as ``"4000mb"`` or ``"4 GB"``; m and g are powers of 1024, as to the schedulers.

    Raises UserError for another unit, no unit or zero.

    >>> parse_memory("4000mb"), parse_memory("4G")
    (4000, 4096)
    """
    match = _SIZE.fullmatch(value.strip())
    if not match or int(match[1]) == 0:
        raise UserError(f'{where}: \'{value}\' is no memory size: write for example "4000mb" or "4gb"')
    return int(match[1]) * (1024 if match[2].lower() == "g" else 1)
