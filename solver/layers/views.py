"""Parts of blobs, and blobs in other shapes, for layers that only move elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from batchbrew.solver.blob import Shape
from batchbrew.solver.layer import Array, Builder, Layer
from batchbrew.solver.layers.rows import as_rows


def part(array: Array, axis: int, start: int, size: int) -> Array:
    """Return elements ``start`` to ``start + size`` along ``axis``, a view that kernels take.

    Of more than 4 axes, which lie in C order, those before and behind ``axis`` become one each.
    """
    if array.ndim > 4:
        array = array.reshape(prod(array.shape[:axis]), array.shape[axis], prod(array.shape[axis + 1 :]))
        axis = 1
    return array[(slice(None),) * axis + (slice(start, start + size),)]


def copy_reshaped(build: Builder, tag: str, source: Array, target: Array) -> None:
    """Write down a copy between two arrays of one size and different shapes, elements in C order."""
    if source.flags.c_contiguous and target.flags.c_contiguous:
        build.op("copy", source.reshape(source.size), target.reshape(target.size))
    elif target.flags.c_contiguous:
        build.op("copy", source, target.reshape(source.shape))
    else:  # a picture in the order of n, h, w, c
        rows, _ = as_rows(build, source, f"{tag}.rows", target.shape, fill=True)
        build.op("copy", rows, target)


def copy_view(build: Builder, source: Array, target: Array) -> None:
    """Write down a copy between two views of one shape; beyond 4 axes NumPy has to do it."""
    build.op("copy" if source.ndim <= 4 else "copy_axes", source, target)


def legacy_shape(layer: Layer, shape: Shape) -> Shape:
    """Return a shape as Caffe's (num, channels, height, width): missing axes are 1."""
    if len(shape) > 4:
        raise layer.error(f"takes blobs of at most 4 axes (found {shape})")
    return (*shape, 1, 1, 1, 1)[:4]


def one_axis(layer: Layer, param: Any, legacy: str, shape: Sequence[int]) -> int:
    """Return the axis that ``axis`` or the older field ``legacy`` names; they exclude each other."""
    if not param.HasField(legacy):
        return layer.axis(param.axis, shape)
    if param.HasField("axis"):
        raise layer.error(f"give either axis or {legacy}, not both")
    return layer.axis(getattr(param, legacy), shape)


def refuse(build: Builder, layer: Layer, what: str) -> None:
    """Write down a failure: Caffe, too, notices only when it runs that a gradient cannot be had."""

    def fail() -> None:
        raise layer.error(f"has no gradient for {what}")

    build.call(fail)
