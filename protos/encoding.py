"""Text in binary messages: files written on systems of another encoding hold bytes that are no UTF-8."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from batchbrew.protos.schema import DESCRIPTOR_SET, POOL, load

M = TypeVar("M", bound=Message)


def has_foreign_text(message: Message) -> bool:
    """Tell whether a text field of ``message``, or of one inside it, holds bytes that are no UTF-8."""
    for field, value in message.ListFields():
        if field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            continue
        for item in value if not isinstance(value, (str, bytes, Message)) else (value,):
            if isinstance(item, bytes) or (isinstance(item, Message) and has_foreign_text(item)):
                return True
    return False


def readable(content: bytes, cls: type[M]) -> bytes:
    r"""Return the message ``content`` with the replacement character for each byte of its texts that is no UTF-8.

    >>> from batchbrew.protos import messages as pb
    >>> pb.NetParameter.FromString(readable(b"\n\x03n\xb0t", pb.NetParameter)).name
    'n\ufffdt'
    """
    name = cls.DESCRIPTOR.full_name
    message = message_factory.GetMessageClass(_bytes_pool().FindMessageTypeByName(name))()
    message.ParseFromString(content)
    _replace(message)
    return message.SerializePartialToString()


def _replace(message: Message) -> None:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in (value,) if isinstance(value, Message) else value:
                _replace(item)
        elif POOL.FindFieldByName(field.full_name).type == FieldDescriptor.TYPE_STRING:
            if isinstance(value, bytes):
                setattr(message, field.name, _text(value))
            else:
                value[:] = [_text(item) for item in value]


def _text(value: bytes) -> bytes:
    return value.decode("utf-8", "replace").encode()


@cache
def _bytes_pool() -> DescriptorPool:
    """Return the schema with bytes in the place of texts."""
    schema = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes())
    for file in schema.file:
        for message in file.message_type:
            for field in message.field:
                if field.type == field.TYPE_STRING:
                    field.type = field.TYPE_BYTES
    return load(schema.SerializeToString())
