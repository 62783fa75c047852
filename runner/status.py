"""How far a study is, read from the files of its folder and from nothing else."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchbrew.errors import UserError
from batchbrew.runner.folder import RunFolder


@dataclass(frozen=True)
class Row:
    """One run: its outcome, or ``running``, ``interrupted``, ``missing``; ``value`` is its last or final metric."""

    run_id: str
    state: str
    update: int
    train_seconds: float
    value: float | None


@dataclass(frozen=True)
class Status:
    """All runs of a study, in the order of its grid."""

    name: str
    metric: str
    rows: list[Row]

    def counts(self) -> str:
        """Return how many runs are in which state.

        >>> Status("s", "loss", [Row("a", "target", 1, 1.0, 0.5), Row("b", "missing", 0, 0.0, None)]).counts()
        's: 2 runs (1 target, 1 missing)'
        """
        states = Counter(row.state for row in self.rows)
        return f"{self.name}: {len(self.rows)} runs ({', '.join(f'{n} {state}' for state, n in states.items())})"


def read_status(out: Path) -> Status:
    """Return the state of every run of the study folder ``out``; UserError if it is none."""
    path = out / "study.json"
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{out}: is no study folder (it has no study.json): give the --out of 'study run'") from None
    metric = study["metric"]
    return Status(study["name"], metric, [_row(out, run["run_id"], metric) for run in study["runs"]])


def _row(out: Path, run_id: str, metric: str) -> Row:
    folder = RunFolder(out / "runs" / run_id)
    state = folder.status()
    facts: dict[str, Any] = folder.summary() or folder.progress() or {"update": 0, "train_seconds": 0.0}
    outputs = facts.get("final") or facts.get("outputs") or {}
    return Row(run_id, state, facts["update"], facts["train_seconds"], outputs.get(metric))
