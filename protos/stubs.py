"""Write the type stub of the message classes, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

_HEADER = '''\
"""Caffe's messages. Made from brew.proto by ``python -m batchbrew.protos.generate``: do not edit."""

from collections.abc import Iterable
from typing import ClassVar

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer, RepeatedScalarFieldContainer
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
'''
_PYTHON = {
    FieldDescriptorProto.TYPE_INT32: "int",
    FieldDescriptorProto.TYPE_INT64: "int",
    FieldDescriptorProto.TYPE_UINT32: "int",
    FieldDescriptorProto.TYPE_DOUBLE: "float",
    FieldDescriptorProto.TYPE_FLOAT: "float",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_STRING: "str",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_ENUM: "int",
}


def stub(file: FileDescriptorProto) -> str:
    """Return the text of a .pyi file that declares the messages and enums of ``file``."""
    lines = [_HEADER]
    for enum in file.enum_type:
        lines += [f"{enum.name}: EnumTypeWrapper", *(f"{value.name}: int" for value in enum.value)]
    for message in file.message_type:
        lines += ["", f"class {message.name}(Message):", *(f"    {line}" for line in _body(message))]
    return "\n".join(lines) + "\n"


def _body(message: DescriptorProto) -> Iterator[str]:
    for enum in message.enum_type:
        yield f"{enum.name}: ClassVar[EnumTypeWrapper]"
        for value in enum.value:
            yield f"{value.name}: ClassVar[int]"
    for field in message.field:
        kind = _kind(field)
        is_message = field.type == FieldDescriptorProto.TYPE_MESSAGE
        if _is_repeated(field):
            container = "RepeatedCompositeFieldContainer" if is_message else "RepeatedScalarFieldContainer"
            yield from ("@property", f"def {field.name}(self) -> {container}[{kind}]: ...")
        elif is_message:
            yield from ("@property", f"def {field.name}(self) -> {kind}: ...")
        else:
            yield f"{field.name}: {kind}"
    yield "def __init__("
    yield "    self,"
    yield "    *,"
    for field in message.field:
        yield f"    {field.name}: {_argument(field)} = ...,"
    yield ") -> None: ..."


def _kind(field: FieldDescriptorProto) -> str:
    return _PYTHON.get(field.type) or field.type_name.rpartition(".")[2]


def _argument(field: FieldDescriptorProto) -> str:
    """Return the type of a constructor argument; a dict stands for a message, a name for an enum value."""
    kind = _kind(field)
    if field.type == FieldDescriptorProto.TYPE_MESSAGE:
        kind += " | dict[str, object]"
    if field.type == FieldDescriptorProto.TYPE_ENUM:
        kind += " | str"
    return f"Iterable[{kind}] | None" if _is_repeated(field) else f"{kind} | None"


def _is_repeated(field: FieldDescriptorProto) -> bool:
    return field.label == FieldDescriptorProto.LABEL_REPEATED
