"""Numbers as people read them."""

from __future__ import annotations

import math

from batchbrew.analysis.intervals import Interval

NOTHING = "–"


def number(value: float | None, digits: int = 3, *, short: bool = False) -> str:
    """Return ``value`` with ``digits`` significant digits, thousands set apart; a dash for NaN and None.

    Whole numbers are written without a point; ``short`` leaves all trailing zeros away.

    >>> number(12345.6), number(0.012345), number(5.0), number(2.6), number(2.6, short=True), number(float("inf"))
    ('12\u202f346', '0.0123', '5', '2.60', '2.6', '∞')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if abs(value) < 1e-4:
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    places = max(0, digits - 1 - int(exponent))
    # Four-digit numbers stay together, as in ISO 80000: 1024, but 12 345.
    grouping = "," if abs(value) >= 9999.5 else ""
    shown = f"{value:{grouping}.{places}f}".replace(",", "\u202f").replace("-", "−")
    if "." in shown and (short or value == int(value)):
        shown = shown.rstrip("0").rstrip(".")
    return shown


def interval(found: Interval | None, scale: float = 1.0, digits: int = 3) -> str:
    """Return ``[low, high]`` or an empty string.

    >>> interval(Interval(1.25, 2.5))
    '[1.25, 2.50]'
    """
    if found is None:
        return ""
    return f"[{number(found.low * scale, digits)}, {number(found.high * scale, digits)}]"


def with_interval(value: float | None, found: Interval | None, scale: float = 1.0) -> str:
    """Return the number followed by its interval where there is one."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{number(value * scale)} {interval(found, scale)}".rstrip()


def percent(share: float) -> str:
    """Return a share in percent.

    >>> percent(0.5882)
    '59 %'
    """
    return f"{number(100.0 * share, 2)} %"


def duration(seconds: float) -> str:
    """Return seconds in the unit that reads best.

    >>> duration(0.00042), duration(0.25), duration(42.5), duration(200), duration(7330)
    ('420 µs', '250 ms', '42.5 s', '3 min 20 s', '2 h 2 min')
    """
    if math.isnan(seconds):
        return NOTHING
    if math.isinf(seconds):
        return "∞"
    if seconds < 1e-3:
        return f"{number(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{number(seconds * 1e3)} ms"
    if seconds < 120:
        return f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def count(n: int, noun: str) -> str:
    """Return a number with its noun in singular or plural.

    >>> count(1, "node"), count(3, "node")
    ('1 node', '3 nodes')
    """
    return f"{number(n, 9)} {noun}" + ("" if n == 1 else "s")


def local_batch(batch: int, nodes: int) -> str:
    """Return the samples a node takes per update; two numbers when the batch cannot be shared evenly.

    >>> local_batch(128, 4), local_batch(100, 3)
    ('32', '33–34')
    """
    low, rest = divmod(batch, nodes)
    return f"{low}–{low + 1}" if rest else str(low)
