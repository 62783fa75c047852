"""``caffe.coord_map``: where the coordinates of one top lie in another, and crops that align them.

A map is (axis, a, b): coordinate x of a layer's bottom is a x + b in its top, on the axes behind ``axis``. Layers that
do not move pixels have axis None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.solver.pycaffe.net_spec import Function, Top, layers

Numbers = NDArray[Any]
Map = tuple[int | None, Any, Any]

POINTWISE = ("AbsVal", "BNLL", "Clip", "Dropout", "ELU", "Exp", "Log", "Power", "PReLU", "ReLU", "Sigmoid", "Swish")
PASS_THROUGH_LAYERS = {*POINTWISE, "BatchNorm", "Bias", "Eltwise", "LRN", "MVN", "Scale", "Split", "TanH", "Threshold"}
IDENTITY: Map = (None, 1, 0)


class UndefinedMapException(Exception):
    """Layers of this type have no map."""


class AxisMismatchException(Exception):
    """Maps along different axes cannot be composed."""


def conv_params(fn: Function) -> tuple[int, Numbers, Numbers, Numbers]:
    """Return axis, stride, extent of the kernel and padding of a convolution, deconvolution, pooling or Im2col."""
    given = fn.params.get("convolution_param", fn.params.get("pooling_param", fn.params))
    rectangular = [f"{name}_{side}" for name in ("pad", "kernel", "stride") for side in "hw"]
    if any(name in given for name in rectangular):
        raise AssertionError(
            "cropping does not support legacy _h/_w params - give kernel_size, stride and pad as lists"
        )
    kernel, dilation, stride, pad = (
        np.array(given.get(name, default), ndmin=1)
        for name, default in (("kernel_size", 1), ("dilation", 1), ("stride", 1), ("pad", 0))
    )
    return given.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn: Function) -> tuple[int, Numbers]:
    """Return axis and offsets of a Crop."""
    given = fn.params.get("crop_param", fn.params)
    return given.get("axis", 2), np.array(given.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> Map:
    """Return the map from the coordinates of a layer's bottom to those of its top.

    Raises UndefinedMapException for a layer that has none.
    """
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return IDENTITY
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset
    raise UndefinedMapException(f"layers of type {fn.type_name} have no coordinate map")


def compose(base_map: Map, next_map: Map) -> Map:
    """Return ``base_map`` after ``next_map``: a1 (a2 x + b2) + b1.

    >>> compose((1, 2, 3), (None, 1, 5))
    (1, 2, 13)
    """
    (axis, a1, b1), (other, a2, b2) = base_map, next_map
    if axis is not None and other is not None and axis != other:
        raise AxisMismatchException(f"maps along axes {axis} and {other} cannot be composed")
    return other if axis is None else axis, a1 * a2, a1 * b2 + b1


def inverse(coord_map: Map) -> Map:
    """Return the map back."""
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """Return the map from coordinates of ``top_from`` to those of ``top_to``, through a common ancestor.

    Raises RuntimeError if there is none that only spatial layers lie below.
    """
    below: dict[Top, Map] = {}
    _walk(top_from, lambda top, found: below.update({top: found}))
    maps: list[Map] = []
    _walk(top_to, lambda top, found: maps.append(compose(found, inverse(below[top]))) if top in below else None)
    if not maps:
        raise RuntimeError("Could not compute map between tops; are they connected by spatial layers?")
    return maps[0]


def _walk(top: Top, visit: Callable[[Top, Map], None]) -> None:
    """Visit ``top`` and all tops above it that spatial layers lead to, each with the map from it to ``top``."""
    waiting: list[tuple[Top, Map]] = [(top, IDENTITY)]
    seen = set()
    while waiting:
        here, found = waiting.pop(0)
        if here in seen:
            continue
        seen.add(here)
        visit(here, found)
        try:
            step = coord_map(here.fn)
        except UndefinedMapException:
            continue
        bottoms = here.fn.inputs[:1] if here.fn.type_name == "Crop" else here.fn.inputs
        waiting += [(bottom, compose(found, step)) for bottom in bottoms]


def crop(top_from: Top, top_to: Top) -> Any:
    """Return a Crop layer's top: ``top_from`` cut to the size and place of ``top_to``.

    Raises AssertionError where no crop can align them.
    """
    axis, a, b = coord_map_from_to(top_from, top_to)
    scale, shift = np.atleast_1d(a), np.atleast_1d(b)
    if (scale != 1).any():
        raise AssertionError(f"scale mismatch on crop (a = {a})")
    if (shift > 0).any():
        raise AssertionError(f"cannot crop negative offset (b = {b})")
    if (np.round(shift) != shift).any():
        raise AssertionError(f"cannot crop noninteger offset (b = {b})")
    first = 2 if axis is None else axis + 1
    return layers.Crop(top_from, top_to, crop_param={"axis": first, "offset": [int(n) for n in -np.round(shift)]})
