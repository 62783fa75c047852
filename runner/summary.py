"""The result of a run in one object, from its history and its ledger."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchbrew.runner.history import History
from batchbrew.runner.ledger import Ledger
from batchbrew.runner.spec import RunSpec
from batchbrew.runner.stopping import Verdict


def summarize(spec: RunSpec, history: History, ledger: Ledger, verdict: Verdict) -> dict[str, Any]:
    """Return the contents of summary.json without the spec.

    Step times and samples per second leave out the first ``warmup_updates`` updates after every start; they are
    null when nothing is left.
    """
    reached, best = history.first_at_target(), history.best()
    outputs = history.evaluations[-1].outputs if history.evaluations else {}
    steps = np.array(history.step_seconds)
    total = float(steps.sum())
    return {
        "run_id": spec.run_id,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "reached": reached is not None,
        "update": history.update,
        "samples": history.samples,
        "epoch": history.epoch,
        "train_seconds": history.train_seconds,
        "wall_seconds": ledger.wall_seconds,
        "to_target": None
        if reached is None
        else {"update": reached.update, "samples": reached.samples, "seconds": reached.train_seconds},
        "best": None if best is None else {spec.metric: best[0], "update": best[1].update},
        "final": outputs,
        "step_seconds": _spread(steps) if steps.size else None,
        "samples_per_second": spec.batch * steps.size / total if total else None,
        "accounts": ledger.totals,
    }


def _spread(steps: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    low, median, high = np.quantile(steps, [0.1, 0.5, 0.9])
    return {"median": median, "mean": float(steps.mean()), "p10": low, "p90": high, "count": steps.size}
