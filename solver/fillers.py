"""Initial values of parameters: Caffe's fillers, drawn from a counter-based generator keyed by the caller."""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.registry import Registry
from batchbrew.solver.blob import Shape

Array = NDArray[Any]
Filler = Callable[[pb.FillerParameter, Shape, np.random.Generator], Array]
FILLERS: Registry[Filler] = Registry("filler type")


def fill(
    array: Array, filler: pb.FillerParameter, key: tuple[int, ...], error: Callable[[str], UserError] = UserError
) -> None:
    """Fill ``array`` as ``filler`` says; equal ``key`` (non-negative integers), equal values, whatever the layout.

    Raises what ``error(text)`` makes for settings that cannot be.
    """
    if filler.sparse != -1 and filler.type != "gaussian":
        raise error(f"filler '{filler.type}': sparse is for gaussian only")
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    try:
        array[...] = FILLERS.get(filler.type)(filler, array.shape, generator)
    except UserError as problem:
        raise error(str(problem)) from None


def fan(filler: pb.FillerParameter, shape: Shape) -> float:
    """Return the n of xavier and msra: inputs (count / first axis), outputs (count / second axis) or their mean.

    >>> fan(pb.FillerParameter(type="xavier"), (32, 3, 5, 5))
    75.0
    """
    count = prod(shape)
    fan_in = count / shape[0] if shape else 1.0
    fan_out = count / shape[1] if len(shape) > 1 else float(count)
    if filler.variance_norm == pb.FillerParameter.FAN_OUT:
        return fan_out
    return fan_in if filler.variance_norm == pb.FillerParameter.FAN_IN else (fan_in + fan_out) / 2


@FILLERS.register("constant")
def constant(filler: pb.FillerParameter, shape: Shape, generator: np.random.Generator) -> Array:
    """Return ``value`` everywhere."""
    return np.full(shape, filler.value)


@FILLERS.register("uniform")
def uniform(filler: pb.FillerParameter, shape: Shape, generator: np.random.Generator) -> Array:
    """Draw from U[min, max]."""
    if filler.max < filler.min:
        raise UserError(f"filler 'uniform': max {filler.max:g} is less than min {filler.min:g}")
    return generator.uniform(filler.min, filler.max, shape)


@FILLERS.register("gaussian")
def gaussian(filler: pb.FillerParameter, shape: Shape, generator: np.random.Generator) -> Array:
    """Draw from N(mean, std^2); with sparse >= 0 keep each value with probability sparse / shape[0], else 0."""
    if filler.std < 0:
        raise UserError(f"filler 'gaussian': std must not be negative (found {filler.std:g})")
    values = generator.normal(filler.mean, abs(filler.std), shape)  # NumPy refuses -0.0
    if filler.sparse >= 0:
        values *= generator.uniform(size=shape) < filler.sparse / (shape[0] if shape else 1)
    return values


@FILLERS.register("positive_unitball")
def positive_unitball(filler: pb.FillerParameter, shape: Shape, generator: np.random.Generator) -> Array:
    """Draw from U(0, 1), then divide each slice along the first axis by its sum."""
    values = generator.uniform(size=shape)
    return np.asarray(values / values.sum(axis=tuple(range(1, len(shape))), keepdims=True))


@FILLERS.register("xavier")
def xavier(filler: pb.FillerParameter, shape: Shape, generator: np.random.Generator) -> Array:
    """Draw from U(-a, a), a = sqrt(3 / n) (Glorot and Bengio 2010)."""
    a = sqrt(3 / fan(filler, shape))
    return generator.uniform(-a, a, shape)


@FILLERS.register("msra")
def msra(filler: pb.FillerParameter, shape: Shape, generator: np.random.Generator) -> Array:
    """Draw from N(0, 2 / n) (He et al. 2015)."""
    return generator.normal(0, sqrt(2 / fan(filler, shape)), shape)


@FILLERS.register("bilinear")
def bilinear(filler: pb.FillerParameter, shape: Shape, generator: np.random.Generator) -> Array:
    """Return the kernel of bilinear interpolation for square 4-D weights, the same on every plane."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise UserError(f"filler 'bilinear' needs square 4-D weights, found {shape}")
    width = shape[3]
    half = -(-width // 2)
    centre = (width - 1) / (2 * half)
    line = 1 - np.abs(np.arange(width) / half - centre)
    return np.broadcast_to(np.outer(line, line), shape)
