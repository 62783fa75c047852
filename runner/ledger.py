"""Where the seconds went: one account each, so that training time is never mixed with anything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

ACCOUNTS = ("data", "compute", "reduce", "wait", "update", "evaluate", "save", "resize")


class Ledger:
    """Seconds per account since the run began, over all restarts, and the wall time.

    Of a synchronous run, data + compute + reduce + wait + update is the training time; evaluate, save and resize are
    not part of it.

    >>> ledger = Ledger()
    >>> ledger.add({"compute": 2.0, "reduce": 0.5})
    >>> ledger.totals["compute"], ledger.totals["save"]
    (2.0, 0.0)
    """

    def __init__(self, totals: Mapping[str, float] | None = None, wall_seconds: float = 0.0) -> None:
        self.totals = dict.fromkeys(ACCOUNTS, 0.0) | dict(totals or {})
        self._wall_before = wall_seconds
        self._begin = perf_counter()

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add seconds to accounts; an unknown account is a programming error (KeyError)."""
        for account, value in seconds.items():
            self.totals[account] = self.totals[account] + value

    @contextmanager
    def time(self, account: str) -> Iterator[None]:
        """Add the duration of the ``with`` block to ``account``."""
        begin = perf_counter()
        try:
            yield
        finally:
            self.add({account: perf_counter() - begin})

    @property
    def wall_seconds(self) -> float:
        """Return the time since the run began, without the gaps between restarts."""
        return self._wall_before + perf_counter() - self._begin
