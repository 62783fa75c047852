"""The wording of prototxt errors: what was expected, and the likely remedy."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from batchbrew.errors import did_you_mean
from batchbrew.protos.lexer import Token
from batchbrew.protos.schema import POOL

_FILES = {"NetParameter": "a net", "SolverParameter": "a solver"}
_OTHER_FORM = {
    "LayerParameter": ("V1LayerParameter", "the older 'layers' blocks; in a 'layer' block see param { }"),
    "V1LayerParameter": ("LayerParameter", "the newer 'layer' blocks"),
}
_RANGES = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
}
_FLOATS = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)
_CURLY = "\u201c\u201d\u2018\u2019\u00ab\u00bb"


@dataclass
class Block:
    """A message being walked: its name's token (None at the top level) and what was given in it so far."""

    descriptor: Descriptor
    opening: Token | None
    outer: Block | None
    closing: str = "}"
    given: dict[str, Token] = dataclass_field(default_factory=dict)
    values: dict[str, str] = dataclass_field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The name of the message type."""
        return str(self.descriptor.name)


def unknown_field(block: Block, name: Token, before: Token) -> str:
    """Return the text for a token that is no field of ``block``."""
    if name.kind == "number" and before.text == ",":
        return f"expected a field of {block.kind}, found '{name.text}' - a number holds no comma"
    if name.kind != "name":
        return f"expected a field of {block.kind}, found {quoted(name.text)}{_comment(name.text)}"
    return f"{block.kind} has no field '{name.text}'{_belongs(block, name.text)}"


def _belongs(block: Block, name: str) -> str:
    """Return where the unknown field ``name`` belongs, or the nearest field, or the list of a few."""
    fields = block.descriptor.fields_by_name
    outer = block.outer
    while outer is not None:
        if name in outer.descriptor.fields_by_name and block.opening is not None:
            return f" - is the '}}' of '{block.opening.text}' in line {block.opening.line} missing?"
        outer = outer.outer
    if block.opening is None and block.kind in _FILES:
        for kind, what in _FILES.items():
            if name in _fields(kind):
                return f" - is this {what} file?"
    layer_type = block.values.get("type", "").strip("\"'")
    inside, of_type = [], []
    for field in block.descriptor.fields:
        if field.message_type and name in field.message_type.fields_by_name:
            inside.append(f"'{field.name}'")
            if field.message_type.name == f"{layer_type}Parameter":
                of_type.append(f"'{field.name}'")
    if of_type or 0 < len(inside) <= 3:
        return f" - it belongs inside {' or '.join(of_type or inside)}"
    other, blocks = _OTHER_FORM.get(block.kind, (block.kind, ""))
    if name in _fields(other):
        return f" - it belongs to {blocks}"
    near = did_you_mean(name, fields)
    if near:
        return near
    return f" (its fields: {', '.join(fields)})" if len(fields) <= 16 else ""


def _fields(kind: str) -> list[str]:
    return list(POOL.FindMessageTypeByName(f"caffe.{kind}").fields_by_name)


def missing_colon(block: Block, field: FieldDescriptor, found: Token) -> str:
    """Return the text for a single value whose name is not followed by a colon."""
    if found.text in ("{", "<"):
        return f"{block.kind}.{field.name} is no block: write '{field.name}: {example(field)}'"
    ending = "the file ends here" if found.kind == "end" else f"found {quoted(found.text)}"
    return f"expected ':' after '{field.name}', {ending}"


def wrong_value(block: Block, field: FieldDescriptor, found: Token) -> str:
    """Return the text for a value that ``field`` does not take."""
    name = f"{block.kind}.{field.name}"
    bare = found.text.strip("\"'")
    if field.enum_type is not None:
        known = list(field.enum_type.values_by_name)
        listing = f" (known: {', '.join(known)})" if len(known) <= 8 else ""
        if block.kind == "V1LayerParameter" and found.kind == "string":
            return f"{name} takes no text in quotes - write 'layer' instead of 'layers'"
        if found.kind == "string" and bare in known:
            return f"{name} takes a name without quotes - write {bare}"
        return f"{name} has no value {quoted(found.text)}{did_you_mean(bare, known)}{listing}"
    if field.type in _RANGES:
        low, high = _RANGES[field.type]
        number = _whole(found.text)
        if number is not None and (low != 0 or number > high):
            return f"{name} takes a whole number from {low} to {high}, found '{found.text}'"
    return f"{name} takes {expected(field)}, found {quoted(found.text)}{_remedy(field, found, bare)}"


def _remedy(field: FieldDescriptor, found: Token, bare: str) -> str:
    if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        if found.kind == "string":
            return " - an escape in it stands for no character; a backslash is written \\\\"
        return _curly(found.text) or (f' - write "{found.text}"' if found.kind in ("name", "number") else "")
    if field.type == FieldDescriptor.TYPE_BOOL:
        return f" - write {bare}" if bare in ("true", "false") else did_you_mean(bare, ["true", "false"])
    number = _number(bare)
    if number is None:
        return ""
    if field.type in _RANGES and number != int(number):
        return ""
    written = bare if field.type in _FLOATS else str(int(number))
    return f" - write {written}" if field.type in _FLOATS or _RANGES[field.type][0] <= number else ""


def expected(field: FieldDescriptor) -> str:
    """Return in words what values ``field`` takes."""
    if field.enum_type is not None:
        return f"one of {', '.join(field.enum_type.values_by_name)}"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true or false"
    if field.type in _FLOATS:
        return "a number"
    if field.type in _RANGES:
        return "a whole number" if _RANGES[field.type][0] else "a whole number of 0 or more"
    return "text in quotes"


def example(field: FieldDescriptor) -> str:
    """Return a value that could stand after the name of ``field``."""
    if field.type in _FLOATS:
        return "0.0"
    if field.type in _RANGES:
        return "1"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true"
    return '"..."' if field.enum_type is None else str(field.enum_type.values[0].name)


def quoted(text: str) -> str:
    """Return ``text`` in quotes, cut if long; a string keeps its own quotes."""
    short = text if len(text) <= 40 else text[:37] + "..."
    return short if text[:1] in ("'", '"') else f"'{short}'"


def _curly(text: str) -> str:
    return ' - quotes must be straight: "' if text[:1] in _CURLY else ""


def _comment(text: str) -> str:
    return " - a comment begins with #" if text == "/" else ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _whole(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
