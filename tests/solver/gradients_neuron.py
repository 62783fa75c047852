"""Nets whose gradients are tried: element-wise layers, and those of several blobs (see test_gradients.py)."""

from __future__ import annotations

from engine_support import layer

NO_GRADIENT = {"Threshold"}
X = {"x": (2, 4, 5, 6)}
ANY = (X, {"x": (3,)}, {"x": (3, 4)}, {"x": (2, 3, 2, 2, 3)}, {"x": ()})  # shapes of an element-wise layer
CHANNELS = (X, {"x": (3, 4)}, {"x": (2, 3, 4)}, {"x": (2, 3, 2, 2, 3)}, {"x": (2, 2, 1, 2, 1, 3)})


def one(kind: str, rest: str = "", bottoms: str = "x", tops: str = "y") -> str:
    return layer("one", kind, bottoms, tops, rest)


def eltwise(rest: str, bottoms: str = "x v u") -> str:
    """The second and third bottom are scaled, so that no two are equal anywhere."""
    return (layer("scaled", "Power", "z", "v", "power_param { scale: 0.93 }")
            + layer("turned", "Power", "w", "u", "power_param { scale: -1.07 }")
            + one("Eltwise", f"eltwise_param {{ {rest} }}", bottoms))  # fmt: skip


def three(*shape: int) -> dict[str, tuple[int, ...]]:
    return {"x": shape, "z": shape, "w": shape}


def parameter(*sizes: int) -> str:
    dims = " ".join(f"dim: {size}" for size in sizes)
    return layer("learnt", "Parameter", "", "w", f"parameter_param {{ shape {{ {dims} }} }}")


SECOND = (  # shapes of x and of what is aligned with it at an axis
    ((2, 4, 5, 6), (4,), 1),
    ((2, 4, 5, 6), (2, 4, 5, 6), 0),
    ((2, 4, 5, 6), (5, 6), -2),
    ((2, 4, 5, 6), (), 1),
    ((3,), (), 1),
    ((3, 4), (4,), 1),
    ((2, 3, 2, 4, 2), (3, 2), 1),
    ((2, 3, 2, 4, 2), (2, 3, 2, 4), 0),  # a picture aligned with what is none
    ((2, 1, 2, 2, 1), (1, 2, 2, 1), 1),
    ((2, 3, 2, 4, 2), (4, 2), 3),
)
CASES: dict[str, list[tuple[dict[str, tuple[int, ...]], str]]] = {
    "AbsVal": [(shapes, one("AbsVal")) for shapes in ANY],
    "BNLL": [(shapes, one("BNLL")) for shapes in ANY],
    "Clip": [(shapes, one("Clip", "clip_param { min: -0.513 max: 0.717 }")) for shapes in ANY],
    "ELU": [*((shapes, one("ELU", "elu_param { alpha: 0.7 }")) for shapes in ANY),
            (X, one("ELU")), (X, one("ELU", "elu_param { alpha: -0.5 }"))],
    "Exp": [*((shapes, one("Exp")) for shapes in ANY),
            *((X, one("Exp", f"exp_param {{ {rest} }}"))
              for rest in ("base: 2", "base: 0.5 scale: 2 shift: -1", "scale: -1.5 shift: 2", "base: 1", "scale: 0"))],
    "Log": [*((shapes, one("Log", "log_param { shift: 3 }")) for shapes in ANY),
            *((X, one("Log", f"log_param {{ {rest} }}"))
              for rest in ("base: 10 scale: 2 shift: 4", "base: 0.5 scale: -1 shift: 2"))],
    "Power": [*((shapes, one("Power", "power_param { power: 0.37 scale: 0.83 shift: 2.4 }")) for shapes in ANY),
              *((X, one("Power", f"power_param {{ {rest} }}"))
                for rest in ("", "power: 2", "power: 2 scale: 0.5 shift: 3", "power: 3", "power: -1 scale: 2",
                             "power: -0.5 scale: -1 shift: 2", "scale: 3 shift: -1", "power: 0 shift: 5",
                             "power: 2 scale: 0 shift: 3"))],
    "PReLU": [*((shapes, one("PReLU")) for shapes in CHANNELS),
              *((shapes, one("PReLU", "prelu_param { channel_shared: true }")) for shapes in CHANNELS)],
    "Swish": [*((shapes, one("Swish")) for shapes in ANY),
              *((X, one("Swish", f"swish_param {{ beta: {beta} }}")) for beta in (1.5, 0, -0.5))],
    "Eltwise": [
        *((three(*shapes["x"]), eltwise(f"operation: {rest}")) for shapes in ANY
          for rest in ("SUM", "PROD", "MAX", "PROD stable_prod_grad: false", "SUM coeff: 1 coeff: -0.5 coeff: 2")),
        *((three(2, 3, 2), eltwise(f"operation: {rest}", "x v")) for rest in ("SUM", "PROD", "MAX")),
        *((three(2, 3, 2), eltwise(f"operation: {rest}", "x v u x")) for rest in ("SUM", "PROD", "MAX")),
        ({"x": (3, 4)}, one("Eltwise", "eltwise_param { operation: PROD }", "x x")),
    ],
    "Bias": [
        *((X, one("Bias", f"bias_param {{ {rest} }}"))
          for rest in ("", "axis: 2", "axis: 1 num_axes: 2", "num_axes: -1", "num_axes: 0", "axis: -1", "axis: 0")),
        *((shapes, one("Bias", "bias_param { num_axes: 2 axis: -2 }")) for shapes in CHANNELS),
        *(({"x": x, "z": z}, one("Bias", f"bias_param {{ axis: {axis} }}", "x z")) for x, z, axis in SECOND),
        (X, layer("t", "TanH", "x", "y") + layer("one", "Bias", "y", "y") + layer("r", "Sigmoid", "y", "y")),
    ],
    "Silence": [({"x": (3, 4)}, one("Silence", tops="") + one("TanH"))],
    "Parameter": [
        ({"x": (3, 4)}, parameter(3, 4) + one("Eltwise", "eltwise_param { operation: PROD }", "x w")),
        ({"x": (2, 3, 2, 2)}, parameter(2, 3, 2, 2) + one("Eltwise", "", "x w")),
        ({"x": (2, 3, 2, 2, 3)}, parameter(2, 3, 2, 2, 3) + one("Eltwise", "", "x w")),
        ({"x": (2, 3, 2)}, parameter() + one("Scale", "", "x w")),
        ({"x": (2, 3, 2)}, parameter(3) + one("Scale", "", "x w")),
    ],
}  # fmt: skip
