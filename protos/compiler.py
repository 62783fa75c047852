"""Turn brew.proto into a file descriptor, so that no protoc is needed.

Reads the part of the proto2 language that brew.proto uses: messages, enums, fields, the options ``default`` and
``packed``. No oneofs, groups, maps, extensions, imports, reserved ranges or messages in messages.
"""

from __future__ import annotations

import ast
import re
from typing import NoReturn

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<token>[A-Za-z_]\w* | -?\d[\w.+-]* | "[^"\n]*" | [{}\[\]=;,])""",
    re.VERBOSE,
)
_LABELS = {
    "optional": FieldDescriptorProto.LABEL_OPTIONAL,
    "required": FieldDescriptorProto.LABEL_REQUIRED,
    "repeated": FieldDescriptorProto.LABEL_REPEATED,
}
_SCALARS = {
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
}


def compile_proto(source: str, name: str) -> FileDescriptorProto:
    """Return the descriptor of the file called ``name`` with text ``source``.

    Raises ValueError ``name:line: what is wrong``.

    >>> file = compile_proto('syntax = "proto2"; package p; message M { optional int32 n = 1 [default = 7]; }', "m")
    >>> file.message_type[0].field[0].default_value
    '7'
    """
    return _Compiler(source, name).file()


class _Compiler:
    """One pass over the tokens; names of types are resolved at the end, since they may be used before."""

    def __init__(self, source: str, name: str) -> None:
        self._name = name
        self._tokens = _tokens(source, name)
        self._next = 0

    def file(self) -> FileDescriptorProto:
        self._expect("syntax", "=", '"proto2"', ";", "package")
        file = FileDescriptorProto(name=self._name, package=self._take())
        self._expect(";")
        while self._peek():
            kind = self._take()
            if kind == "message":
                file.message_type.append(self._message())
            elif kind == "enum":
                file.enum_type.append(self._enum())
            else:
                self._fail(f"expected 'message' or 'enum', found '{kind}'")
        self._resolve(file)
        return file

    def _message(self) -> DescriptorProto:
        message = DescriptorProto(name=self._take())
        self._expect("{")
        while self._peek() != "}":
            if self._peek() == "enum":
                self._take()
                message.enum_type.append(self._enum())
            else:
                message.field.append(self._field())
        self._expect("}")
        return message

    def _enum(self) -> EnumDescriptorProto:
        enum = EnumDescriptorProto(name=self._take())
        self._expect("{")
        while self._peek() != "}":
            value = enum.value.add(name=self._take())
            self._expect("=")
            value.number = int(self._take())
            self._expect(";")
        self._expect("}")
        return enum

    def _field(self) -> FieldDescriptorProto:
        label = self._take()
        if label not in _LABELS:
            self._fail(f"expected {', '.join(_LABELS)} or 'enum', found '{label}'")
        field = FieldDescriptorProto(label=_LABELS[label])
        kind = self._take()
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            field.type_name = kind
        field.name = self._take()
        self._expect("=")
        field.number = int(self._take())
        if self._peek() == "[":
            self._options(field)
        self._expect(";")
        return field

    def _options(self, field: FieldDescriptorProto) -> None:
        self._expect("[")
        option = self._take()
        self._expect("=")
        value = self._take()
        if option == "default":
            field.default_value = ast.literal_eval(value) if value.startswith('"') else value
        elif option == "packed":
            field.options.packed = value == "true"
        else:
            self._fail(f"unknown option '{option}'")
        self._expect("]")

    def _resolve(self, file: FileDescriptorProto) -> None:
        """Write the full names of message and enum types; an enum of the message itself comes first."""
        outer = {enum.name: FieldDescriptorProto.TYPE_ENUM for enum in file.enum_type}
        outer |= {message.name: FieldDescriptorProto.TYPE_MESSAGE for message in file.message_type}
        for message in file.message_type:
            inner = {enum.name for enum in message.enum_type}
            for field in message.field:
                short = field.type_name
                if not short:
                    continue
                if short in inner:
                    field.type = FieldDescriptorProto.TYPE_ENUM
                    field.type_name = f".{file.package}.{message.name}.{short}"
                elif short in outer:
                    field.type = outer[short]
                    field.type_name = f".{file.package}.{short}"
                else:
                    raise ValueError(f"{self._name}: {message.name}.{field.name} has the unknown type '{short}'")

    def _peek(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        if not token:
            self._fail("unexpected end")
        self._next += 1
        return token

    def _expect(self, *tokens: str) -> None:
        for token in tokens:
            found = self._take()
            if found != token:
                self._fail(f"expected '{token}', found '{found}'")

    def _fail(self, problem: str) -> NoReturn:
        line = self._tokens[self._next - 1][0] if self._next else 1
        raise ValueError(f"{self._name}:{line}: {problem}")


def _tokens(source: str, name: str) -> list[tuple[int, str]]:
    """Return (line, token) of everything but space and comments."""
    tokens, at, line = [], 0, 1
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise ValueError(f"{name}:{line}: unexpected '{source[at]}'")
        if match["token"]:
            tokens.append((line, match["token"]))
        line += match[0].count("\n")
        at = match.end()
    return tokens
