"""BatchNorm with three ``param`` entries, which once kept its statistics from being trained: rates become 0."""

from __future__ import annotations

from collections.abc import Iterator

from batchbrew.protos import messages as pb
from batchbrew.solver.upgrade.draft import Draft

NAME = "batch norm params"

_STATISTICS = 3  # sums of means and of variances, and the factor to divide them by


def needed(param: pb.NetParameter) -> bool:
    """Tell whether a BatchNorm layer would train or decay its statistics."""
    return any(spec.lr_mult or spec.decay_mult for spec in _specs(param))


def upgrade(draft: Draft) -> bool:
    """Set lr_mult and decay_mult of the statistics to 0; names for sharing stay. Return True."""
    for spec in _specs(draft.param):
        spec.lr_mult = spec.decay_mult = 0
    return True


def _specs(param: pb.NetParameter) -> Iterator[pb.ParamSpec]:
    for layer in param.layer:
        if layer.type == "BatchNorm" and len(layer.param) == _STATISTICS:
            yield from layer.param
