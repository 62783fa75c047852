"""The message classes of brew.proto, made from its committed descriptor set."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DESCRIPTOR_SET = Path(__file__).with_name("brew.desc")
PACKAGE = "caffe"


def load(descriptor_set: bytes) -> descriptor_pool.DescriptorPool:
    """Return a pool of its own that holds the files of ``descriptor_set``.

    The default pool is one for the process: a second file that defines ``caffe.NetParameter``, such as the
    one of a real Caffe, would clash there. In a private pool both live side by side, and no generated code
    ties us to one release of protobuf.
    """
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_SERIALIZED = DESCRIPTOR_SET.read_bytes()
POOL = load(_SERIALIZED)
_FILE = POOL.FindFileContainingSymbol(f"{PACKAGE}.NetParameter")

# Taken from the file: releases of protobuf differ in how a descriptor tells its label.
_LABELS = {
    f"{PACKAGE}.{message.name}.{field.name}": field.label
    for file in descriptor_pb2.FileDescriptorSet.FromString(_SERIALIZED).file
    for message in file.message_type
    for field in message.field
}


def descriptor(cls: type[Message]) -> Descriptor:
    """Return the descriptor of the message class ``cls``."""
    return POOL.FindMessageTypeByName(cls.DESCRIPTOR.full_name)


def is_repeated(field: FieldDescriptor) -> bool:
    """Tell whether ``field`` holds a list."""
    return _LABELS[field.full_name] == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED


def is_required(field: FieldDescriptor) -> bool:
    """Tell whether ``field`` must be given."""
    return _LABELS[field.full_name] == descriptor_pb2.FieldDescriptorProto.LABEL_REQUIRED


def descriptors() -> list[Descriptor]:
    """Return the descriptors of all messages, in the order of brew.proto."""
    return list(_FILE.message_types_by_name.values())


def enums() -> list[EnumDescriptor]:
    """Return the descriptors of the enums outside of messages (Phase)."""
    return list(_FILE.enum_types_by_name.values())


def namespace() -> dict[str, type[Message] | EnumTypeWrapper | int]:
    """Return every name generated code would have: messages, top-level enums and their values.

    >>> namespace()["TEST"]
    1
    """
    names: dict[str, type[Message] | EnumTypeWrapper | int] = {}
    for message in descriptors():
        names[message.name] = message_factory.GetMessageClass(message)
    for enum in enums():
        names[enum.name] = EnumTypeWrapper(enum)
        names |= {value.name: value.number for value in enum.values}
    return names
