"""When something is due that happens every so many samples: pure functions of the position in the stream."""

from __future__ import annotations


def crossed(before: int, now: int, every: int | None) -> bool:
    """Return whether a multiple of ``every`` lies in (before, now].

    >>> crossed(90, 100, 50), crossed(100, 140, 50), crossed(0, 10, None)
    (True, False, False)
    """
    return every is not None and now // every > before // every


def updates_to(samples: int, every: int | None, batch: int) -> int | None:
    """Return after how many updates of ``batch`` the next multiple of ``every`` is crossed, None for never.

    >>> updates_to(90, 100, 16), updates_to(100, 100, 50)
    (1, 2)
    """
    if every is None:
        return None
    missing = (samples // every + 1) * every - samples
    return -(-missing // batch)


def shortest(*lengths: int | None) -> int:
    """Return the smallest of the given numbers of updates; None stands for no bound.

    >>> shortest(None, 7, 3)
    3
    """
    return max(1, min(length for length in lengths if length is not None))
