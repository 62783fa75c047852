"""One registry class for everything that is extended by adding a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from batchbrew.errors import UserError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Map the names users write to the things they stand for.

    A duplicate name is a programming error (ValueError); an unknown one is the user's (UserError),
    answered with the nearest name and the full list.

    >>> shapes: Registry[type] = Registry("shape")
    >>> @shapes.register("Square")
    ... class Square: ...
    >>> shapes.get("Square") is Square
    True
    >>> shapes.get("Sqare")
    Traceback (most recent call last):
    ...
    batchbrew.errors.UserError: unknown shape 'Sqare' - did you mean 'Square'? (known: Square)
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters its argument under ``name``."""

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.what} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str, where: str = "") -> T:
        """Return the entry called ``name``; ``where`` (``file:line:col: ``) begins the error text."""
        if name not in self._entries:
            raise UserError(
                f"{where}unknown {self.what} '{name}'{did_you_mean(name, self._entries)} "
                f"(known: {', '.join(self.names())})"
            )
        return self._entries[name]

    def names(self) -> list[str]:
        """Return all names in alphabetical order."""
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
