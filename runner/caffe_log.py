"""Training lines in the form Caffe prints them, so that scripts made for its logs read ours."""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

from batchbrew.protos import messages as pb
from batchbrew.runner.train import Listener


def number(value: float) -> str:
    """Return ``value`` with six significant digits; never ``-nan``, which crashes the parsers of such logs.

    >>> number(0.00992565123), number(float("nan")), number(2.0)
    ('0.00992565', 'nan', '2')
    """
    return "nan" if math.isnan(value) else f"{value:.6g}"


class CaffeLog(Listener):
    """Write one prefixed line a message to stderr: ``Immdd hh:mm:ss.uuuuuu pid file:line] text``."""

    def __init__(self, solver: pb.SolverParameter, net_name: str, out: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stderr
        self._display = solver.display
        self._losses: deque[float] = deque(maxlen=max(1, solver.average_loss))
        self._mark: tuple[int, float] | None = None
        self._hdf5 = solver.snapshot_format == pb.SolverParameter.HDF5
        self._line("solver.cpp:279", f"Solving {net_name}")
        self._line("solver.cpp:280", f"Learning Rate Policy: {solver.lr_policy}")

    def _line(self, place: str, text: str) -> None:
        now = datetime.now()
        self._out.write(f"I{now:%m%d %H:%M:%S.%f} {os.getpid():5d} {place}] {text}\n")
        self._out.flush()

    def _outputs(self, phase: str, outputs: Mapping[str, float], place: str) -> None:
        for k, name in enumerate(sorted(outputs)):
            value = number(outputs[name])
            loss = f" (* 1 = {value} loss)" if "loss" in name else ""
            self._line(place, f"    {phase} net output #{k}: {name} = {value}{loss}")

    def update(self, iteration: int, loss: float, outputs: Mapping[str, float], rate: float) -> None:
        """Print loss, outputs and learning rate every ``display`` iterations."""
        self._losses.append(loss)
        if not self._display or iteration % self._display:
            return
        now = perf_counter()
        before = self._mark or (iteration, now)
        seconds, done = now - before[1], iteration - before[0]
        self._mark = iteration, now
        speed = number(done / seconds) if seconds > 0 else "0"
        smooth = number(sum(self._losses) / len(self._losses))
        self._line(
            "solver.cpp:239",
            f"Iteration {iteration} ({speed} iter/s, {number(seconds)}s/{self._display} iters), loss = {smooth}",
        )
        self._outputs("Train", outputs, "solver.cpp:258")
        self._line("sgd_solver.cpp:112", f"Iteration {iteration}, lr = {number(rate)}")

    def evaluation(self, update: int, outputs: dict[str, float]) -> None:
        """Print the outputs of the test net."""
        self._line("solver.cpp:347", f"Iteration {update}, Testing net (#0)")
        self._outputs("Test", outputs, "solver.cpp:414")

    def snapshot(self, model: Path, state: Path) -> None:
        """Print where a snapshot went."""
        kind = "HDF5 file" if self._hdf5 else "binary proto file"
        self._line("solver.cpp:464", f"Snapshotting to {kind} {model}")
        self._line("sgd_solver.cpp:284", f"Snapshotting solver state to {kind} {state}")

    def end(self, summary: dict[str, Any]) -> None:
        """Print that training is over."""
        early = summary["outcome"] not in ("updates", "epochs")
        self._line("solver.cpp:333", "Optimization stopped early." if early else "Optimization Done.")
