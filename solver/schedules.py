"""Learning-rate policies as pure functions of the number of updates done (Caffe's `iter`)."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, isfinite

import numpy as np

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.registry import Registry

Policy = Callable[[pb.SolverParameter, int], float]
POLICIES: Registry[Policy] = Registry("lr_policy")


def rate(solver: pb.SolverParameter, iter: int) -> float:
    """Return the learning rate for the update that follows ``iter`` updates.

    Raises UserError for an unknown policy or a setting it cannot work with.

    >>> rate(pb.SolverParameter(base_lr=0.01, lr_policy="step", gamma=0.1, stepsize=100), 250)
    0.0001
    """
    if not solver.lr_policy:
        raise UserError(f"solver: lr_policy is missing (known: {', '.join(POLICIES)})")
    try:
        value = float(POLICIES.get(solver.lr_policy, "solver: ")(solver, iter))
    except ArithmeticError:
        value = inf
    if not isfinite(value):
        raise UserError(f"solver: lr_policy '{solver.lr_policy}' gives no finite rate at update {iter}")
    return float(f"{value:.12g}")  # 0.0001, not 0.00010000000000000002


def current_step(solver: pb.SolverParameter, iter: int) -> int:
    """Return how many times the rate has been lowered for the update that follows ``iter`` updates.

    Caffe keeps this number for the policies step and multistep, and writes it into its snapshots.

    >>> current_step(pb.SolverParameter(lr_policy="multistep", stepvalue=[3, 9]), 5)
    1
    """
    if solver.lr_policy == "step":
        return int(iter // _stepsize(solver))
    return sum(iter >= value for value in solver.stepvalue) if solver.lr_policy == "multistep" else 0


def number(value: float) -> float:
    """Return a float32 setting as the number that was written: 0.1, not 0.10000000149.

    >>> number(pb.SolverParameter(base_lr=0.1).base_lr)
    0.1
    """
    return float(str(np.float32(value)))


def _gamma(solver: pb.SolverParameter) -> float:
    if solver.gamma < 0:
        raise UserError(
            f"solver: gamma must not be negative for lr_policy '{solver.lr_policy}' (found {solver.gamma:g})"
        )
    return number(solver.gamma)


def _stepsize(solver: pb.SolverParameter) -> int:
    if solver.stepsize < 1:
        raise UserError(
            f"solver: stepsize must be at least 1 for lr_policy '{solver.lr_policy}' (found {solver.stepsize})"
        )
    return solver.stepsize


@POLICIES.register("fixed")
def fixed(solver: pb.SolverParameter, iter: int) -> float:
    """Return base_lr."""
    return number(solver.base_lr)


@POLICIES.register("step")
def step(solver: pb.SolverParameter, iter: int) -> float:
    """Return base_lr gamma^floor(iter / stepsize)."""
    return float(number(solver.base_lr) * _gamma(solver) ** current_step(solver, iter))


@POLICIES.register("exp")
def exponential(solver: pb.SolverParameter, iter: int) -> float:
    """Return base_lr gamma^iter."""
    return float(number(solver.base_lr) * _gamma(solver) ** iter)


@POLICIES.register("inv")
def inverse(solver: pb.SolverParameter, iter: int) -> float:
    """Return base_lr (1 + gamma iter)^-power."""
    return float(number(solver.base_lr) * (1 + _gamma(solver) * iter) ** -number(solver.power))


@POLICIES.register("multistep")
def multistep(solver: pb.SolverParameter, iter: int) -> float:
    """Return base_lr gamma^k, k the number of stepvalues reached.

    Caffe moves k on by at most one an update and so lags behind where stepvalues are consecutive; here k is pure.
    """
    return float(number(solver.base_lr) * _gamma(solver) ** current_step(solver, iter))


@POLICIES.register("poly")
def poly(solver: pb.SolverParameter, iter: int) -> float:
    """Return base_lr (1 - iter / max_iter)^power."""
    if solver.max_iter < 1:
        raise UserError("solver: lr_policy 'poly' needs max_iter of at least 1")
    return float(number(solver.base_lr) * max(0.0, 1 - iter / solver.max_iter) ** number(solver.power))


@POLICIES.register("sigmoid")
def sigmoid(solver: pb.SolverParameter, iter: int) -> float:
    """Return base_lr / (1 + e^(-gamma (iter - stepsize)))."""
    return number(solver.base_lr) / (1 + exp(min(700.0, -_gamma(solver) * (iter - _stepsize(solver)))))
