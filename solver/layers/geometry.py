"""Kernel, stride, pad and dilation: fields given once, once an axis, or as height and width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchbrew.solver.layer import Layer

Pair = tuple[int, int]
Sizes = tuple[int, ...]  # one number a spatial axis


def repeated(layer: Layer, param: Any, field: str, default: int, *, axes: int, short: str = "") -> Sizes:
    """Return a repeated field (once or once an axis), or its ``short``_h, ``short``_w form; they exclude each other.

    The latter is for 2 spatial axes only.
    """
    values: Sequence[int] = getattr(param, field)
    if short and (param.HasField(f"{short}_h") or param.HasField(f"{short}_w")):
        if len(values):
            raise layer.error(f"give either {field} or {short}_h and {short}_w, not both")
        if axes != 2:
            raise layer.error(f"{short}_h and {short}_w are for 2 spatial axes, here are {axes}: give {field}")
        return (getattr(param, f"{short}_h"), getattr(param, f"{short}_w"))
    if len(values) not in (0, 1, axes):
        raise layer.error(f"{field} is given {len(values)} times, for {axes} spatial axes")
    return tuple(values) if len(values) == axes else (values[0] if len(values) else default,) * axes


def single_pair(layer: Layer, param: Any, field: str, short: str) -> Pair:
    """Return an optional field or its ``short``_h and ``short``_w form, which exclude each other."""
    high, wide = param.HasField(f"{short}_h"), param.HasField(f"{short}_w")
    if high or wide:
        if param.HasField(field):
            raise layer.error(f"give either {field} or {short}_h and {short}_w, not both")
        if not (high and wide):
            raise layer.error(f"{short}_h and {short}_w are only given together")
        return (getattr(param, f"{short}_h"), getattr(param, f"{short}_w"))
    value = getattr(param, field)
    return (value, value)


def times(values: Sequence[int]) -> str:
    """Return sizes as "3 x 5", for messages."""
    return " x ".join(map(str, values))
