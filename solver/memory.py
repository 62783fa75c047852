"""How much memory there is: what needs more is refused in one line, before the system ends the process."""

from __future__ import annotations

import os
import resource
from functools import cache
from pathlib import Path

from batchbrew.errors import UserError

GIB = 1 << 30
_CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@cache
def installed() -> int:
    """Return the bytes of memory of this machine, or of the container the process runs in."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP:
        text = path.read_text().strip() if path.is_file() else ""
        limits += [int(text)] if text.isdecimal() else []
    return min(limits)


def require(size: int, what: str) -> None:
    """Raise UserError if ``what``, of ``size`` bytes, cannot fit into memory.

    >>> require(1 << 60, "the blobs of this net")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    batchbrew.errors.UserError: the blobs of this net would take 1,073,741,824.0 GiB of memory, there are ... GiB
    """
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    there = installed() if own == resource.RLIM_INFINITY else min(installed(), own)
    if size > there:
        raise UserError(f"{what} would take {size / GIB:,.1f} GiB of memory, there are {there / GIB:,.1f} GiB")
