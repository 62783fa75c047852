"""Find the first mistake in a prototxt that protobuf refused, and say what to do about it.

protobuf decides what is valid. Its own messages differ from release to release, name the token after the wrong
one, and speak of its parser; so the text is walked again here, with the place of every token at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from google.protobuf import message_factory, text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from batchbrew.errors import UserError
from batchbrew.protos import hints
from batchbrew.protos.hints import Block
from batchbrew.protos.lexer import OPENING, Token, tokens
from batchbrew.protos.schema import descriptor, is_repeated, is_required


def diagnose(source: str, cls: type[Message], name: str) -> None:
    """Raise UserError ``name:line:col: ...`` for the first mistake in ``source``; return if none is found."""
    _Walk(source, name).message(Block(descriptor(cls), None, None))


class _Walk:
    """One pass over the tokens of a message in text form."""

    def __init__(self, source: str, name: str) -> None:
        self._name = name
        self._tokens = list(tokens(source))
        self._next = 0

    def message(self, block: Block) -> None:
        """Walk the fields of ``block``, to its closing brace or, at the top level, to the end."""
        while True:
            token = self._peek
            if token.kind == "end":
                if block.opening is not None:
                    self._fail(
                        block.opening, f"the block '{block.opening.text}' is never closed - add the missing '}}'"
                    )
                break
            if token.text in OPENING.values():
                self._close(block, token)
                break
            self._field(block)
        for field in block.descriptor.fields:
            if is_required(field) and field.name not in block.given:
                place = block.opening or self._tokens[0]
                self._fail(place, f"{block.kind} lacks '{field.name}' - add '{field.name}: {hints.example(field)}'")

    def _close(self, block: Block, token: Token) -> None:
        if block.opening is None:
            self._fail(token, f"'{token.text}' closes nothing - remove it, or look for one too many above")
        if token.text != block.closing:
            place = f"'{block.opening.text}' in line {block.opening.line}"
            self._fail(token, f"expected '{block.closing}' to close {place}, found '{token.text}'")
        self._next += 1

    def _field(self, block: Block) -> None:
        name = self._take()
        field = block.descriptor.fields_by_name.get(name.text)
        if field is None:
            self._fail(name, hints.unknown_field(block, name, self._tokens[max(self._next - 2, 0)]))
        repeated = is_repeated(field)
        if not repeated and name.text in block.given:
            first = block.given[name.text].line
            where = "earlier in this line" if first == name.line else f"first in line {first}"
            self._fail(name, f"{block.kind}.{name.text} is given twice ({where}) - keep one")
        block.given.setdefault(name.text, name)
        kind = field.message_type
        if kind is not None:
            self._accept(":")
            self._values(block, field, repeated, lambda: self._block(block, kind, name))
        else:
            if not self._accept(":"):
                self._fail(self._peek, hints.missing_colon(block, field, self._peek))
            self._values(block, field, repeated, lambda: self._value(block, field))
        if not self._accept(","):
            self._accept(";")

    def _values(self, block: Block, field: FieldDescriptor, repeated: bool, one: Callable[[], None]) -> None:
        """Walk one value, or a list of values in brackets."""
        if self._peek.text != "[":
            one()
            return
        if not repeated:
            self._fail(self._peek, f"{block.kind}.{field.name} takes one value, not a list")
        self._next += 1
        if self._accept("]"):
            return
        while True:
            one()
            if self._accept("]"):
                return
            if not self._accept(","):
                self._fail(self._peek, f"expected ',' or ']' in the list of '{field.name}', {_found(self._peek)}")

    def _block(self, outer: Block, kind: Descriptor, name: Token) -> None:
        if self._peek.text not in OPENING:
            self._fail(
                self._peek, f"{outer.kind}.{name.text} is a block: expected '{{' after its name, {_found(self._peek)}"
            )
        self.message(Block(kind, name, outer, closing=OPENING[self._take().text]))

    def _value(self, block: Block, field: FieldDescriptor) -> None:
        first = self._peek
        if first.kind == "end" or first.text in OPENING.values():
            self._fail(first, f"'{field.name}' has no value: expected {hints.expected(field)}, {_found(first)}")
        if first.kind == "string" and not first.closed:
            self._fail(first, "this string has no closing quote")
        text = self._take().text
        if first.kind == "string":
            while self._peek.kind == "string":  # adjacent strings are one
                if not self._peek.closed:
                    self._fail(self._peek, "this string has no closing quote")
                text += " " + self._take().text
        if not _accepted(block, f"{field.name}: {text}"):
            self._fail(first, hints.wrong_value(block, field, first))
        block.values[field.name] = text

    @property
    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _accept(self, text: str) -> bool:
        if self._peek.text == text:
            self._next += 1
            return True
        return False

    def _fail(self, token: Token, problem: str) -> NoReturn:
        raise UserError(f"{self._name}:{token.line}:{token.column}: {problem}")


def _accepted(block: Block, text: str) -> bool:
    """Ask protobuf whether ``text``, one field and its value, is valid in ``block``."""
    try:
        text_format.Parse(text, message_factory.GetMessageClass(block.descriptor)())
    except (text_format.ParseError, ValueError):
        return False
    return True


def _found(token: Token) -> str:
    return "the file ends here" if token.kind == "end" else f"found {hints.quoted(token.text)}"
