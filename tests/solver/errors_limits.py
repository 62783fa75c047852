"""Messages about what no net can have (see test_engine_errors.py)."""

from __future__ import annotations

from engine_support import layer

X = {"x": (2, 3, 4, 5)}
HUGE = "inner_product_param { num_output: 100000000 }"
CONV = "convolution_param { num_output: 2 kernel_size: 3 }"

ROWS = [
    (X, layer("ip", "InnerProduct", "x", "y", HUGE),
     "AT layer 'ip' (InnerProduct): parameter 0 (100000000, 60) would have more than 2147483647 elements"),
    (X, layer("c", "Convolution", "x", "y z", CONV),
     "AT layer 'c' (Convolution): makes 1 top blob(s) of 1 bottom(s) (found 2)"),
]  # fmt: skip
