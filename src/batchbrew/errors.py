"""The one kind of error a user can cause, and how near names are offered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Report a mistake in the user's input as one line: what, where, what to do.

    The command line prints the text after ``batchbrew: error:`` and ends with exit code 2.

    >>> str(UserError("net.prototxt:3:5: unknown field"))
    'net.prototxt:3:5: unknown field'
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` - did you mean 'x'?`` for the known name nearest to ``name``, or an empty string.

    >>> did_you_mean("num_outputs", ["num_output", "pad"])
    " - did you mean 'num_output'?"
    >>> did_you_mean("zzz", ["num_output", "pad"])
    ''
    """
    names = list(known)
    by_lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f" - did you mean '{by_lower[near[0]]}'?" if near else ""
