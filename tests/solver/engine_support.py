"""What the engine's tests share: nets from text, recordings, comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.data.part import Part
from batchbrew.solver.kernels import available
from batchbrew.solver.net import Net

REFERENCE = Path(__file__).parent / "reference"
RECORDINGS = Path(__file__).parents[3] / "shared" / "conformance"
KERNEL_SETS = available()
COMPILED = KERNEL_SETS[:-1]


def net_of(source: str, phase: int = pb.TRAIN, **options: Any) -> Net:
    """Return the net of a prototxt."""
    return Net(text.parse(source, pb.NetParameter), phase, **options)


def solver_of(source: str) -> pb.SolverParameter:
    """Return the solver of a prototxt."""
    return text.parse(source, pb.SolverParameter)


def inputs(**shapes: tuple[int, ...]) -> str:
    """Return Input layers of these names and shapes."""
    return "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {_dims(shape)} }} }} }}\n'
        for name, shape in shapes.items()
    )


def _dims(shape: tuple[int, ...]) -> str:
    return " ".join(f"dim: {size}" for size in shape)


def layer(name: str, kind: str, bottoms: str, tops: str, rest: str = "") -> str:
    """Return one layer; bottoms and tops are separated by spaces."""
    wires = "".join(f' bottom: "{b}"' for b in bottoms.split()) + "".join(f' top: "{t}"' for t in tops.split())
    return f'layer {{ name: "{name}" type: "{kind}"{wires} {rest} }}\n'


def data(batch: int, tops: str = "data label", rest: str = "") -> str:
    """Return a Data layer, for nets that are given their part of a data set."""
    return layer("data", "Data", "", tops, f"data_param {{ batch_size: {batch} }} {rest}")


def samples(count: int, shape: tuple[int, int, int] = (2, 6, 6), classes: int = 4, seed: int = 0) -> Part:
    """Return gaussian pictures with random labels."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, *shape)).astype(np.float32)
    return Part(images, rng.integers(0, classes, count).astype(np.int32))


def randomise(net: Net, seed: int = 0, scale: float = 0.5) -> None:
    """Fill all parameters, those of BatchNorm with statistics that can be."""
    rng = np.random.default_rng(seed)
    for parameter in net.flat.parameters:
        parameter.data[...] = rng.normal(0, scale, parameter.shape)
        if parameter.local:
            parameter.data[...] = np.abs(parameter.data) + 0.5


def distance(found: Any, wanted: Any) -> float:
    """Return max|a - b| / max(1, max|b|); equal NaN and infinities are no distance."""
    a, b = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert a.shape == b.shape, f"shape {a.shape}, expected {b.shape}"
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(a - b))
    finite = np.abs(b[np.isfinite(b)])
    return float(gap.max(initial=0.0) / max(1.0, finite.max(initial=0.0)))


def assert_close(found: Any, wanted: Any, tolerance: float = 1e-4, what: str = "") -> None:
    """Fail where two arrays differ in shape or by more than tolerance * max(1, max|b|)."""
    gap = distance(found, wanted)
    assert gap <= tolerance, f"{what}: differs by {gap:.3g}, allowed {tolerance:g}"
