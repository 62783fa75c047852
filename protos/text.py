"""Prototxt, the text form of messages: read it with errors that name place and remedy, and write it."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from batchbrew.errors import UserError
from batchbrew.protos.diagnose import diagnose
from batchbrew.protos.files import is_text, read_bytes, write_bytes
from batchbrew.protos.lexer import positions, tokens

__all__ = ["dump", "parse", "positions", "read", "write"]

M = TypeVar("M", bound=Message)

_BOM = "\ufeff"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # what surrogateescape makes of bytes that are no UTF-8
# Python's protobuf takes other escapes with a warning, C++ refuses them; they are mostly paths of Windows.
_BAD_ESCAPE = re.compile(r"""(?:[^\\]|\\[abfnrtv\\'"0-7xuU])*?(\\[^abfnrtv\\'"0-7xuU])""")


def parse(source: str, cls: type[M], name: str = "<string>") -> M:
    """Return the message of class ``cls`` that ``source`` describes; ``name`` stands for the file in errors.

    Raises UserError ``name:line:col: what is wrong``, line and column counted from 1.

    >>> from batchbrew.protos import messages as pb
    >>> parse("base_lr: 0.1  type: 'Adam'", pb.SolverParameter).type
    'Adam'
    >>> parse("base_lr: 0.1 max_iters: 5", pb.SolverParameter, "s.prototxt")
    Traceback (most recent call last):
    ...
    batchbrew.errors.UserError: s.prototxt:1:14: SolverParameter has no field 'max_iters' - did you mean 'max_iter'?
    """
    source = _characters(source.removeprefix(_BOM), name)
    message = cls()
    try:
        text_format.Parse(source, message)
    except (text_format.ParseError, ValueError) as error:
        diagnose(source, cls, name)
        raise UserError(f"{name}{_place(error)}: not a valid {cls.DESCRIPTOR.name}: {_cleaned(error)}") from None
    if not message.IsInitialized():
        diagnose(source, cls, name)
    return message


def read(path: Path | str, cls: type[M]) -> M:
    """Return the message of class ``cls`` in the prototxt at ``path``.

    Bytes that are not UTF-8 are accepted in comments. Raises UserError, also for a file that is missing, empty
    or not text.
    """
    path = Path(path)
    content = read_bytes(path)
    kind = cls.DESCRIPTOR.name
    if content.startswith(_UTF16):
        raise UserError(f"{path}: is UTF-16 text - save it as UTF-8")
    if not is_text(content):
        raise UserError(f"{path}: is a binary file, expected the text of a {kind} (a .prototxt)")
    source = content.decode("utf-8", "surrogateescape").removeprefix(_BOM)
    if next(tokens(source)).kind == "end":
        raise UserError(f"{path}: the file is empty, expected the text of a {kind}")
    return parse(source, cls, str(path))


def dump(message: Message) -> str:
    """Return ``message`` as prototxt: fields by number, two spaces a level, floats in the shortest exact form."""
    return text_format.MessageToString(message, as_utf8=True)


def write(path: Path | str, message: Message) -> None:
    """Put ``message`` as prototxt at ``path``, whole or not at all."""
    write_bytes(Path(path), dump(message).encode("utf-8"))


def _characters(source: str, name: str) -> str:
    """Return ``source`` with bad bytes in comments replaced; UserError for one elsewhere, or for a bad escape."""
    if "\\" not in source and not _NOT_UTF8.search(source):
        return source
    for token in tokens(source):
        bad = _NOT_UTF8.search(token.text)
        if bad:
            problem = f"byte 0x{ord(bad[0]) & 0xFF:02x} is no UTF-8 - save the file as UTF-8"
            raise UserError(f"{name}:{token.line}:{token.column + bad.start()}: {problem}")
        escape = _BAD_ESCAPE.match(token.text) if token.kind == "string" and token.closed else None
        if escape:
            problem = f"'{escape[1]}' stands for no character - a backslash is written \\\\"
            raise UserError(f"{name}:{token.line}:{token.column + escape.start(1)}: {problem}")
    return _NOT_UTF8.sub("\ufffd", source)


def _place(error: Exception) -> str:
    line = getattr(error, "GetLine", lambda: None)()
    column = getattr(error, "GetColumn", lambda: None)()
    return f":{line}:{column}" if line else ""


def _cleaned(error: Exception) -> str:
    """Return protobuf's own text without the place and the line it repeats."""
    text = re.sub(r"^\d+:\d+ : ", "", str(error)).removesuffix(".")
    return re.sub(r"^'.*': ", "", text)
