"""Fields of the solver a study sets itself, checked against Caffe's message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchbrew.errors import UserError, did_you_mean
from batchbrew.protos import messages as pb

# Fields that a study has a key of its own for.
_ELSEWHERE = {
    "net": "solver", "net_param": "solver", "train_net": "solver", "test_net": "solver",
    "train_net_param": "solver", "test_net_param": "solver", "random_seed": "grid.seed", "iter_size": "accumulate",
    "max_iter": "stop", "test_interval": "evaluate_every", "test_iter": "evaluate_every",
    "snapshot": "checkpoint_every",
}  # fmt: skip


def check_overrides(values: Mapping[str, Any]) -> None:
    """Raise UserError unless every name is a field of SolverParameter and takes its value.

    >>> check_overrides({"base_lr": 0.01, "stepvalue": [100, 200]})
    >>> check_overrides({"base_rl": 0.01})
    Traceback (most recent call last):
    ...
    batchbrew.errors.UserError: no field 'base_rl' in SolverParameter - did you mean 'base_lr'?
    """
    apply_overrides(pb.SolverParameter(), values)


def apply_overrides(solver: pb.SolverParameter, values: Mapping[str, Any]) -> None:
    """Set the fields ``values`` on ``solver`` in place; lists replace repeated fields."""
    fields = {field.name: field for field in pb.SolverParameter.DESCRIPTOR.fields}
    for name, value in values.items():
        if name not in fields:
            raise UserError(f"no field '{name}' in SolverParameter{did_you_mean(name, fields)}")
        if name in _ELSEWHERE:
            raise UserError(f"'{name}' is set by the study's own key {_ELSEWHERE[name]}")
        try:
            # The constructor takes enum values by name, which assignment does not.
            part = pb.SolverParameter(**{name: value})
        except (TypeError, ValueError):
            raise UserError(f"solver field '{name}' cannot be {value!r}") from None
        solver.ClearField(name)
        solver.MergeFrom(part)
