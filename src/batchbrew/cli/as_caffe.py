"""``batchbrew train --as-caffe``: Caffe's own loop, in one process, with nothing but what Caffe writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchbrew.cli.caffe_flags import stages, use_cpu
from batchbrew.errors import UserError
from batchbrew.glog import log

# Options of `batchbrew train` that have no meaning in Caffe's loop, with the value of each that says nothing.
FOREIGN: dict[str, Any] = {
    "nodes": 1, "threads": 1, "batch": None, "accumulate": None, "data": None, "out": None, "target": None,
    "max_updates": None, "epochs": None, "seconds": None, "checkpoint_every": None, "oversubscribe": False,
}  # fmt: skip


@dataclass(frozen=True)
class CaffeOptions:
    """What the flags of ``caffe train`` say."""

    solver: Path
    snapshot: Path | None
    weights: str | None
    seed: int | None
    gpu: str
    level: int
    stage: str
    sigint_effect: str
    sighup_effect: str


def wanted(as_caffe: bool, given: dict[str, Any]) -> bool:
    """Return whether the flags ask for Caffe's loop: by name, or because only Caffe's loop has them."""
    own = given["level"] or given["stage"] or given["sigint_effect"] != "stop" or given["sighup_effect"] != "snapshot"
    return as_caffe or bool(own)


def refuse_foreign(given: dict[str, Any]) -> None:
    """Raise UserError for an option that Caffe's loop does not have."""
    for name, nothing in FOREIGN.items():
        if given[name] != nothing:
            flag = name.replace("_", "-")
            raise UserError(
                f"--{flag} is not for Caffe's loop (--as-caffe, --level, --stage, --sigint-effect, --sighup-effect): "
                f"leave one of them out"
            )


def train(options: CaffeOptions) -> int:
    """Train as ``caffe train`` does; return the exit code."""
    from batchbrew.solver import load
    from batchbrew.solver.stepper import Signals, Stepper
    from batchbrew.solver.stepper.construction import log_upgrade
    from batchbrew.solver.upgrade import Note

    if options.snapshot is not None and options.weights is not None:
        raise UserError("give a snapshot to resume training or weights to finetune, but not both")
    notes: list[Note] = []
    param = load.read_solver(options.solver, notes)
    log_upgrade(notes)
    param.train_state.level = options.level or param.train_state.level
    param.train_state.stage.extend(stages(options.stage))
    signals = Signals(options.sigint_effect, options.sighup_effect)
    use_cpu(options.gpu)
    if options.weights is not None or options.snapshot is not None:
        param.ClearField("weights")
        param.weights.extend([options.weights] if options.weights is not None else [])
    with signals:
        stepper = Stepper(param, options.solver, options.seed)
        stepper.action = signals
        if options.snapshot is not None:
            log("caffe.cpp:241", f"Resuming from {options.snapshot}")
        log("caffe.cpp:248", "Starting Optimization")
        stepper.solve(options.snapshot)
    log("caffe.cpp:259", "Optimization Done.")
    return 0
