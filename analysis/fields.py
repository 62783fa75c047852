"""Typed access to the JSON files of a study: every error names the file, the line and the key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batchbrew.errors import UserError


class Fields:
    """One JSON object, read key by key; ``where`` (``file`` or ``file:line``) begins every error text.

    A key that is absent or null yields ``default`` where one is given, and is an error otherwise.
    Unknown keys are left alone, so that newer records can be read.

    >>> Fields({"update": 3}, "record.jsonl:1").integer("update")
    3
    >>> Fields({}, "record.jsonl:1").integer("update")
    Traceback (most recent call last):
    ...
    batchbrew.errors.UserError: record.jsonl:1: key 'update' is missing; the file is damaged or not a batchbrew file
    """

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise UserError(f"{where}: expected a JSON object, found {type(data).__name__}")
        self.data: dict[str, Any] = data
        self.where = where

    def has(self, key: str) -> bool:
        """Return whether ``key`` is there and not null."""
        return self.data.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        """Return the string at ``key``."""
        return str(self._get(key, str, "a text", default))

    def integer(self, key: str, default: int | None = None) -> int:
        """Return the whole number at ``key``."""
        value = self._get(key, (int, float), "a whole number", default)
        if value != int(value):
            raise self._wrong(key, "a whole number", value)
        return int(value)

    def number(self, key: str, default: float | None = math.nan) -> float:
        """Return the number at ``key``; null (how NaN and infinity are written) and absent are NaN."""
        return float(self._get(key, (int, float), "a number", default))

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return the truth value at ``key``."""
        return bool(self._get(key, bool, "true or false", default))

    def part(self, key: str, default: Mapping[str, Any] | None = None) -> Fields:
        """Return the object at ``key``."""
        value = self._get(key, dict, "an object", None if default is None else dict(default))
        return Fields(value, f"{self.where}: {key}")

    def parts(self, key: str) -> list[Fields]:
        """Return the list of objects at ``key``; empty when absent."""
        items = self._get(key, list, "a list", [])
        return [Fields(item, f"{self.where}: {key}[{i}]") for i, item in enumerate(items)]

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return the list of numbers at ``key``, null as NaN; empty when absent."""
        items = self._get(key, list, "a list of numbers", [])
        for item in items:
            if item is not None and (isinstance(item, bool) or not isinstance(item, (int, float))):
                raise self._wrong(key, "a list of numbers", item)
        return tuple(math.nan if item is None else float(item) for item in items)

    def table(self, key: str) -> dict[str, float]:
        """Return the object of numbers at ``key``, null as NaN; empty when absent."""
        inner = self.part(key, {})
        return {name: inner.number(name) for name in inner.data}

    def _get(self, key: str, kind: type | tuple[type, ...], what: str, default: Any) -> Any:
        value = self.data.get(key)
        if value is None:
            if default is None:
                raise UserError(f"{self.where}: key '{key}' is missing; the file is damaged or not a batchbrew file")
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._wrong(key, what, value)
        return value

    def _wrong(self, key: str, what: str, value: object) -> UserError:
        return UserError(f"{self.where}: key '{key}' must be {what}, found {str(value)[:40]!r}")


def read_json(path: Path) -> Fields:
    """Return the JSON object in the file at ``path``."""
    try:
        return Fields(json.loads(_read(path)), str(path))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON ({error.msg}); restore the file or delete it"
        ) from None


def read_lines(path: Path) -> Iterator[Fields]:
    """Yield the JSON object of every line; a last line that is cut (the run is being written) is left out."""
    text = _read(path)
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            if i == len(lines) - 1:
                return
            raise UserError(
                f"{path}:{i + 1}:{error.colno}: damaged line ({error.msg}); delete the run's folder and repeat the run"
            ) from None
        yield Fields(data, f"{path}:{i + 1}")


def _read(path: Path) -> str:
    # A cut last line may end in the middle of a character, hence errors="replace".
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from None
