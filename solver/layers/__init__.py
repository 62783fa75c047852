"""Layer types, one file a family; importing this package registers them all."""

from batchbrew.solver.layers import (
    accuracy,
    batch_norm,
    convolution,
    dropout,
    flatten,
    inner_product,
    losses,
    lrn,
    neuron,
    pooling,
    scale,
    softmax,
    sources,
    split,
)

__all__ = [
    "accuracy",
    "batch_norm",
    "convolution",
    "dropout",
    "flatten",
    "inner_product",
    "losses",
    "lrn",
    "neuron",
    "pooling",
    "scale",
    "softmax",
    "sources",
    "split",
]
