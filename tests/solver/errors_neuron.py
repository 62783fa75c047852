"""Mistakes in element-wise layers and those of several blobs: inputs, layers, message (see test_engine_errors.py)."""

from __future__ import annotations

from engine_support import layer

X = {"x": (2, 3, 4, 5)}
XZ = {"x": (2, 3), "z": (3, 2)}


def one(kind: str, rest: str = "", bottoms: str = "x", tops: str = "y") -> str:
    return layer("l", kind, bottoms, tops, rest)


ROWS = [
    (X, one("AbsVal", tops="x"), "AT layer 'l' (AbsVal): cannot work in place; give the top another name"),
    (X, one("Clip"), "AT layer 'l' (Clip): needs clip_param with both min and max"),
    *((X, one("Exp", f"exp_param {{ base: {base} }}"),
       f"AT layer 'l' (Exp): base must be positive, or -1 for e (found {base})")
      for base in ("0", "-2", "inf", "nan")),
    *((X, one("Log", f"log_param {{ base: {base} }}"),
       f"AT layer 'l' (Log): base must be positive and not 1, or -1 for e (found {base})")
      for base in ("1", "0", "-3", "inf", "nan")),
    ({"x": (3,)}, one("PReLU"), "AT layer 'l' (PReLU): needs a channel axis, found a bottom (3,)"),
    (X, one("PReLU", "prelu_param { filler { type: 'gausian' } }"),
     "AT layer 'l' (PReLU): unknown filler type 'gausian' - did you mean 'gaussian'? (known: bilinear, constant, "
     "gaussian, msra, positive_unitball, uniform, xavier)"),
    (X, one("Eltwise"), "AT layer 'l' (Eltwise): takes at least 2 bottom blob(s) as input (found 1)"),
    (XZ, one("Eltwise", bottoms="x z"),
     "AT layer 'l' (Eltwise): all bottoms must have one shape, found (2, 3), (3, 2)"),
    (X, one("Eltwise", "eltwise_param { coeff: 1 }", "x x"),
     "AT layer 'l' (Eltwise): give no coeff, or one for each of the 2 bottoms (found 1)"),
    (X, one("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 2 }", "x x"),
     "AT layer 'l' (Eltwise): coeff is for SUM only, not for PROD"),
    (X, one("Bias", "bias_param { axis: 3 num_axes: 2 }"),
     "AT layer 'l' (Bias): num_axes 2 from axis 3 is more than the bottom (2, 3, 4, 5) has"),
    (X, one("Bias", "bias_param { num_axes: -2 }"),
     "AT layer 'l' (Bias): num_axes -2 from axis 1 is more than the bottom (2, 3, 4, 5) has"),
    (XZ, one("Bias", bottoms="x z"), "AT layer 'l' (Bias): bias (3, 2) does not fit axes (3,) of the bottom (2, 3)"),
    (X, one("Bias", "bias_param { axis: 4 }"),
     "AT layer 'l' (Bias): axis 4 is out of range for a blob of 4 axes (2, 3, 4, 5)"),
    (X, one("Silence"), "AT layer 'l' (Silence): takes 0 top blob(s) as output (found 1)"),
    (X, one("Parameter"), "AT layer 'l' (Parameter): takes 0 bottom blob(s) as input (found 1)"),
    ({}, one("Parameter", "parameter_param { shape { dim: 0 } }", ""),
     "AT layer 'l' (Parameter): top 'y' would be empty: (0,)"),
]  # fmt: skip
