"""Predicted speedups from the calibration alone: no run on several nodes is used."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from batchbrew.analysis.arrays import Array, array
from batchbrew.analysis.findings import Findings
from batchbrew.analysis.theory import communication, compute, statistics


def comm_seconds(findings: Findings, nodes: int) -> float:
    """Return the seconds of one allreduce of the net's gradients: measured where it was, else fitted, else NaN."""
    if nodes == 1:
        return 0.0
    calibration, fit = findings.study.calibration, findings.allreduce
    if calibration is None:
        return math.nan
    size = calibration.message_bytes
    measured = [t.seconds for t in calibration.allreduce if (t.nodes, t.bytes) == (nodes, size) and t.seconds]
    if measured:
        return float(np.median(measured[0]))
    if fit is None:
        return math.nan
    return float(communication.allreduce(fit.algorithm, nodes, size, fit.alpha, fit.beta))


def step_seconds(findings: Findings, batch: int, nodes: int, accumulate: int = 1) -> float:
    """Return the predicted seconds of one update: accumulate a + c ceil(B/p) + T_comm(p), the slowest node's."""
    fit = findings.compute
    if fit is None:
        return math.nan
    local = math.ceil(batch / nodes)
    return accumulate * fit.a + fit.c * local + comm_seconds(findings, nodes)


def comm_speedup(findings: Findings, batch: int, nodes: Sequence[int]) -> Array:
    """Return S_comm(p) at fixed global batch: step time on one node over step time on p."""
    one = step_seconds(findings, batch, 1)
    return array([one / step_seconds(findings, batch, p) for p in nodes])


def batch_speedup(findings: Findings, batch: int, nodes: Sequence[int]) -> Array:
    """Return S_batch(p) at fixed global batch: what splitting the batch alone gives."""
    fit = findings.compute
    if fit is None:
        return np.full(len(nodes), np.nan)
    return compute.batch_speedup(batch, nodes, fit.a, fit.c)


def set_size_speedup(findings: Findings, nodes: Sequence[int]) -> Array:
    """Return T(N)/T(N/p) from the one-node curve of training time against training-set size."""
    calibration = findings.study.calibration
    timings = [t for t in calibration.set_size if t.seconds] if calibration else []
    if calibration is None or not timings or not calibration.train_samples:
        return np.full(len(nodes), np.nan)
    return compute.set_size_speedup(
        [t.samples for t in timings], [float(np.median(t.seconds)) for t in timings], calibration.train_samples, nodes
    )


def updates(findings: Findings, batch: int, lr_rule: str, strategy: str) -> float:
    """Return the updates to target expected at a batch: by the fitted hyperbola, NaN without one."""
    fit = findings.hyperbolas.get((lr_rule, strategy))
    return float(statistics.steps(batch, fit.s_min, fit.b_crit)) if fit else math.nan


def goal_speedup(findings: Findings, base: tuple[int, int, str, str], other: tuple[int, int, str, str]) -> float:
    """Return S_goal, the predicted time-to-target speedup between two (batch, nodes, lr_rule, strategy).

    Ratio of updates(B) x step seconds(B, p). With one batch and rule the updates cancel, and no
    hyperbola is needed.
    """
    system = step_seconds(findings, base[0], base[1]) / step_seconds(findings, other[0], other[1])
    if (base[0], base[2:]) == (other[0], other[2:]):
        return system
    return system * updates(findings, base[0], *base[2:]) / updates(findings, other[0], *other[2:])
