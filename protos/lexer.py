"""The tokens of a prototxt with their places; the same cuts as protobuf's own tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_QUOTED = r"{q}[^{q}\n\\]*(?:(?:\\.)+[^{q}\n\\]*)*(?:{q}|\\?$)"
_TOKEN = re.compile(
    rf"""(?P<space>\s+ | \#.*$)
       | (?P<name>[a-zA-Z_][0-9a-zA-Z_+-]*)
       | (?P<number>(?:[0-9+-]|\.[0-9])[0-9a-zA-Z_.+-]*)
       | (?P<string>{_QUOTED.format(q='"')} | {_QUOTED.format(q="'")})
       | (?P<symbol>.)""",
    re.VERBOSE | re.MULTILINE,
)
OPENING = {"{": "}", "<": ">"}


class Token(NamedTuple):
    """A piece of a prototxt; ``line`` and ``column`` count from 1, kind ``end`` follows the last piece."""

    kind: str
    text: str
    line: int
    column: int

    @property
    def closed(self) -> bool:
        """Tell whether a string has its closing quote."""
        return len(self.text) > 1 and self.text[-1] == self.text[0] and not re.search(r"(?<!\\)(\\\\)*\\.$", self.text)


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of ``source`` without space and comments, then one of kind ``end``.

    >>> [token.text for token in tokens('pad: [1, -2]  # note')]
    ['pad', ':', '[', '1', ',', '-2', ']', '']
    """
    line, line_start = 1, 0
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup or "symbol"
        if kind != "space":
            yield Token(kind, match[0], line, match.start() - line_start + 1)
            continue
        breaks = match[0].count("\n")
        if breaks:
            line += breaks
            line_start = match.start() + match[0].rindex("\n") + 1
    yield Token("end", "", line, len(source) - line_start + 1)


def positions(source: str, field: str) -> list[tuple[int, int]]:
    """Return line and column of every top-level block ``field { ... }``, text or number ``field: "..."``, in order.

    In a list ``field: [{ ... }, { ... }]`` these are the places of the values.

    >>> positions('name: "n"\\nlayer { }\\n  layer { name: "x" }', "layer")
    [(2, 1), (3, 3)]
    """
    found: list[tuple[int, int]] = []
    depth, name, listed = 0, None, False
    for token in tokens(source):
        if token.kind == "name" and depth == 0:
            name = token
        elif token.text in ("[", "]") and depth == 0:
            listed = token.text == "["
        elif token.text in OPENING:
            if depth == 0 and name is not None and name.text == field:
                place = token if listed else name
                found.append((place.line, place.column))
            depth += 1
        elif token.text in OPENING.values():
            depth -= 1
        elif token.kind in ("string", "number") and depth == 0 and name is not None and name.text == field:
            place = token if listed else name
            found.append((place.line, place.column))
            name = name if listed else None
    return found
