"""Training lines in the form Caffe prints them, so that scripts made for its logs read ours."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchbrew.glog import log, number, seconds
from batchbrew.protos import messages as pb
from batchbrew.runner.train import Listener


class CaffeLog(Listener):
    """Write what happens as Caffe's log does; ``weights``: the loss weight of each output that is a loss."""

    def __init__(self, solver: pb.SolverParameter, net_name: str, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._display = solver.display
        self._losses: deque[float] = deque(maxlen=max(1, solver.average_loss))
        self._mark: tuple[int, float] | None = None
        self._hdf5 = solver.snapshot_format == pb.SolverParameter.HDF5
        log("solver.cpp:279", f"Solving {net_name}")
        log("solver.cpp:280", f"Learning Rate Policy: {solver.lr_policy}")

    def _outputs(self, phase: str, outputs: Mapping[str, float], place: str) -> None:
        for k, name in enumerate(sorted(outputs)):
            value, weight = outputs[name], self._weights.get(name, 0.0)
            loss = f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
            log(place, f"    {phase} net output #{k}: {name} = {number(value)}{loss}")

    def update(self, iteration: int, loss: float, outputs: Mapping[str, float], rate: float) -> None:
        """Print loss, outputs and learning rate every ``display`` iterations."""
        self._losses.append(loss)
        if not self._display or iteration % self._display:
            return
        now = seconds()
        before = self._mark or (iteration, now)
        passed, done = now - before[1], iteration - before[0]
        self._mark = iteration, now
        speed = number(done / passed) if passed > 0 else "0"
        smooth = number(sum(self._losses) / len(self._losses))
        log(
            "solver.cpp:239",
            f"Iteration {iteration} ({speed} iter/s, {number(passed)}s/{self._display} iters), loss = {smooth}",
        )
        self._outputs("Train", outputs, "solver.cpp:258")
        log("sgd_solver.cpp:112", f"Iteration {iteration}, lr = {number(rate)}")

    def evaluation(self, update: int, outputs: dict[str, float]) -> None:
        """Print the outputs of the test net."""
        log("solver.cpp:347", f"Iteration {update}, Testing net (#0)")
        self._outputs("Test", outputs, "solver.cpp:414")

    def snapshot(self, model: Path, state: Path) -> None:
        """Print where a snapshot went."""
        kind = "HDF5 file" if self._hdf5 else "binary proto file"
        log("solver.cpp:464", f"Snapshotting to {kind} {model}")
        log("sgd_solver.cpp:284", f"Snapshotting solver state to {kind} {state}")

    def end(self, summary: dict[str, Any]) -> None:
        """Print that training is over."""
        early = summary["outcome"] not in ("updates", "epochs")
        log("solver.cpp:333", "Optimization stopped early." if early else "Optimization Done.")
