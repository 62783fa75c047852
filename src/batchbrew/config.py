"""Read a YAML file into a typed, frozen model; every mistake is named with its place in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from batchbrew.errors import UserError, did_you_mean

M = TypeVar("M", bound=BaseModel)


class Config(BaseModel):
    """The base of every configuration class: frozen, and refusing unknown keys and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def read_yaml(path: Path, model: type[M]) -> M:
    """Return the YAML file at ``path`` as a ``model``.

    Raises UserError ``file:line:col: key: what is wrong``, with the nearest valid name for an unknown key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read: {getattr(error, 'strerror', None) or error}") from None
    return parse_yaml(text, model, str(path))


def parse_yaml(text: str, model: type[M], name: str) -> M:
    """Return YAML ``text`` as a ``model``; ``name`` stands for the file in error texts."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise UserError(f"{name}{place}: not valid YAML: {problem}") from None
    if not isinstance(data, dict):
        raise UserError(f"{name}:1:1: expected 'key: value' lines, found {type(data).__name__}")
    repeated = _repeated_key(tree)
    if repeated is not None:
        raise UserError(
            f"{name}:{repeated.start_mark.line + 1}:{repeated.start_mark.column + 1}: "
            f"key '{repeated.value}' is given twice"
        )
    try:
        # Strict: 3 may fill a float, but "3" is no number and a list no tuple (a BeforeValidator may allow it).
        return model.model_validate(data, strict=True, context={"file": name})
    except ValidationError as error:
        first = error.errors()[0]
        loc = tuple(first["loc"])
        line, column = _place(tree, loc)
        key = ".".join(str(part) for part in loc)
        raise UserError(f"{name}:{line}:{column}: {_explain(first, key, model, loc)}") from None


def _explain(error: Any, key: str, model: type[BaseModel], loc: tuple[Any, ...]) -> str:
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, loc[:-1])
        return f"unknown key '{key}'{did_you_mean(str(loc[-1]), known)} (known: {', '.join(sorted(known))})"
    if error["type"] == "missing":
        return f"key '{key}' is missing"
    message = error["msg"].removeprefix("Value error, ")
    value = repr(error["input"])
    shown = value if len(value) <= 60 else value[:57] + "..."
    return f"{key}: {message[0].lower() + message[1:]} (found {shown})" if key else message


def _fields_at(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """Return the keys that are valid in the sub-model reached by ``loc``."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        inner = _models_in(field.annotation)
        if inner:
            model = inner[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _place(node: Any, loc: tuple[Any, ...]) -> tuple[int, int]:
    """Return line and column (from 1) of the deepest YAML node along ``loc``."""
    mark = node.start_mark
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if key_node.value == str(part):
                    mark, node = key_node.start_mark, value_node
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return mark.line + 1, mark.column + 1


def _repeated_key(node: Any) -> Any:
    """Return the first key node given twice in one mapping (YAML itself keeps the last silently), or None."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if key_node.value in seen:
                return key_node
            seen.add(key_node.value)
            found = _repeated_key(value_node)
            if found is not None:
                return found
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            found = _repeated_key(item)
            if found is not None:
                return found
    return None
