"""Tables: tidy ones for CSV and JSON, and views of them for people."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = str | float | int | bool | None


@dataclass(frozen=True)
class Table:
    """One row an observation, one column a variable; units stand in the column names.

    >>> Table("t", ("nodes", "time_seconds"), ((1, 2.5), (2, None))).csv()
    'nodes,time_seconds\\n1,2.5\\n2,\\n'
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def csv(self) -> str:
        """Return comma-separated text, equal byte for byte for equal numbers; nothing for None and NaN."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return out.getvalue()

    def records(self) -> list[dict[str, Value]]:
        """Return one object a row, with null for what is not a finite number."""
        return [dict(zip(self.columns, map(plain, row), strict=True)) for row in self.rows]


@dataclass(frozen=True)
class View:
    """A table for reading: a caption, column headings and cells that are texts.

    The first column heads its row. ``numeric`` marks the columns to align right; ``marks`` names a
    style for single rows (base, censored, diverged, missing, running).
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...] = ()
    marks: tuple[str, ...] = ()


def table(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Value]]) -> Table:
    """Return the table of mappings, columns in the order given; what a row lacks is None."""
    return Table(name, tuple(columns), tuple(tuple(row.get(c) for c in columns) for row in rows))


def plain(value: Value) -> Value:
    """Return ``value`` as JSON can hold it: ten significant digits, None for NaN and infinity."""
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value


def _cell(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    # Ten digits: more than any measurement holds, fewer than the last bits in which math libraries differ.
    return f"{value:.10g}" if isinstance(value, float) else str(value)
