"""Kernel, stride, pad and dilation of convolution and pooling, as (rows, columns)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchbrew.solver.layer import Layer

Pair = tuple[int, int]


def repeated_pair(layer: Layer, param: Any, field: str, default: int, short: str = "") -> Pair:
    """Return a repeated field (once or once an axis), or its ``short``_h, ``short``_w form; they exclude each other."""
    values: Sequence[int] = getattr(param, field)
    if short and (param.HasField(f"{short}_h") or param.HasField(f"{short}_w")):
        if len(values):
            raise layer.error(f"give either {field} or {short}_h and {short}_w, not both")
        return (getattr(param, f"{short}_h"), getattr(param, f"{short}_w"))
    if len(values) > 2:
        raise layer.error(f"{field} is given {len(values)} times, for 2 spatial axes")
    if not len(values):
        return (default, default)
    return (values[0], values[-1])


def single_pair(layer: Layer, param: Any, field: str, short: str) -> Pair:
    """Return an optional field or its ``short``_h, ``short``_w form, which exclude each other."""
    if param.HasField(f"{short}_h") or param.HasField(f"{short}_w"):
        if param.HasField(field):
            raise layer.error(f"give either {field} or {short}_h and {short}_w, not both")
        return (getattr(param, f"{short}_h"), getattr(param, f"{short}_w"))
    value = getattr(param, field)
    return (value, value)
