"""The loop of Caffe's solver."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchbrew.errors import UserError
from batchbrew.glog import log, number
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver import load, schedules, snapshot
from batchbrew.solver.load import NetFile
from batchbrew.solver.net import Net
from batchbrew.solver.solvers import make_solver
from batchbrew.solver.stepper import debug
from batchbrew.solver.stepper.actions import Action
from batchbrew.solver.stepper.construction import log_net, log_upgrade
from batchbrew.solver.stepper.files import check_writable, settle_prefix, snapshot_file
from batchbrew.solver.stepper.lines import Outputs, Progress, log_ignored, log_outputs, read_outputs
from batchbrew.solver.upgrade import Note


class Stepper:
    """Trains the net of a solver as Caffe does, batch by batch in one process, and writes the log Caffe writes.

    ``path`` is the file the solver was read from ("" for none): it completes snapshot_prefix, and nets are looked for
    beside it too. ``seed`` is used where the solver has no random_seed (None: a new one each time); other ``options``
    are those of Net, for all nets. Raises UserError for settings that do not fit.

    ``net`` and ``test_nets`` are live; layers of equal names share their parameters. ``action`` is asked after each
    iteration and before each test batch what the user wants.
    """

    def __init__(
        self, param: pb.SolverParameter, path: Path | str = "", seed: int | None = None, **options: Any
    ) -> None:
        self.param = pb.SolverParameter()
        self.param.CopyFrom(param)
        self.path, self._where = path, f"{path}: " if str(path) else ""
        if str(path):
            settle_prefix(self.param, path)
        log("solver.cpp:45", f"Initializing solver from parameters: \n{text.dump(self.param).rstrip()}")
        for name in ("average_loss", "iter_size"):
            if getattr(self.param, name) < 1:
                raise UserError(f"{self._where}{name} must be at least 1 (found {getattr(self.param, name)})")
        check_writable(self.param, self._where)
        if self.param.random_seed >= 0:
            seed = self.param.random_seed
        self._options = options | {"seed": secrets.randbits(31) if seed is None else seed}
        train_file = load.train_net(self.param, path)
        log("solver.cpp:102", f"Creating training net {_origin(train_file)}")
        self.net = self._build(train_file, None)
        self.test_nets = []
        for i, file in enumerate(load.test_nets(self.param, path)):
            log("solver.cpp:190", f"Creating test net (#{i}) specified by {file.source}")
            self.test_nets.append(self._build(file, self.net))
        self.rule = make_solver(self.param, self.net, self._where)
        log("solver.cpp:57", "Solver scaffolding done.")
        self.action: Callable[[], Action] = lambda: Action.NONE
        self.stopped = False  # whether a stop was asked for
        self._callbacks: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._progress = Progress(self.param.display, self.param.average_loss)

    @classmethod
    def read(cls, path: Path | str, seed: int | None = None, **options: Any) -> Stepper:
        """Return the stepper of the solver in a prototxt file."""
        notes: list[Note] = []
        param = load.read_solver(path, notes)
        log_upgrade(notes)
        return cls(param, path, seed, **options)

    def _build(self, file: NetFile, share: Net | None) -> Net:
        log_upgrade(file.notes)
        net = file.build(file.param.state.phase, share=share, **self._options)
        log_net(net)
        for names in self.param.weights:
            for name in filter(None, map(str.strip, names.split(","))):
                log("solver.cpp:86", f"Finetuning from {name}")
                log_ignored(snapshot.load_weights(net, load.find_file(name, self.path, "weights"), strict=False))
        return net

    # --- what there is ----------------------------------------------------------------------------------------------

    @property
    def iter(self) -> int:
        """Number of updates done."""
        return self.rule.iter

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self.rule.rate(self.iter)

    def add_callback(self, on_start: Callable[[], None], on_gradients_ready: Callable[[], None]) -> None:
        """Have these called in each iteration: before its first pass, and before its update."""
        self._callbacks.append((on_start, on_gradients_ready))

    def _due(self, interval: int) -> bool:
        return interval != 0 and self.iter % interval == 0

    # --- training ---------------------------------------------------------------------------------------------------

    def solve(self, resume: Path | str | None = None) -> None:
        """Train up to max_iter, from the start or from a .solverstate, with the last snapshot and test."""
        log("solver.cpp:293", f"Solving {self.net.name}")
        log("solver.cpp:294", f"Learning Rate Policy: {self.param.lr_policy}")
        if resume is not None:
            log("solver.cpp:300", f"Restoring previous solver status from {resume}")
            self.restore(resume)
        self.step(self.param.max_iter - self.iter)
        if self.param.snapshot_after_train and not (self.param.snapshot and self._due(self.param.snapshot)):
            self.snapshot()
        if self.stopped:
            log("solver.cpp:318", "Optimization stopped early.")
            return
        if self._due(self.param.display):
            self._forward(self.net, False)
            log("solver.cpp:331", f"Iteration {self.iter}, loss = {number(self._progress.add(self.net.total_loss))}")
        if self._due(self.param.test_interval):
            self.test_all()
        log("solver.cpp:336", "Optimization Done.")

    def step(self, iterations: int) -> None:
        """Do so many iterations, unless a stop is asked for: test if due, passes, display, update, snapshot if due."""
        end = self.iter + iterations
        self.stopped = False
        self._progress.restart()
        while self.iter < end:
            self.net.zero_sums()
            if self._due(self.param.test_interval) and (self.iter or self.param.test_initialization):
                self.test_all()
                if self.stopped:
                    return
            for on_start, _ in self._callbacks:
                on_start()
            loss = self._progress.add(self._passes())
            if self._due(self.param.display):
                self._progress.log(self.iter, loss)
                log_outputs("Train", "solver.cpp:258", self.net, read_outputs(self.net))
            for _, on_gradients_ready in self._callbacks:
                on_gradients_ready()
            self.apply_update()
            asked = self.action()
            if self._due(self.param.snapshot) or asked is Action.SNAPSHOT:
                self.snapshot()
            if asked is Action.STOP:
                self.stopped = True
                return

    def _passes(self) -> float:
        """Run iter_size passes forward and backward; return the mean of their losses."""
        talk = self.param.debug_info and self._due(self.param.display)
        loss = 0.0
        for _ in range(self.param.iter_size):
            self._forward(self.net, talk)
            loss += self.net.total_loss
            if talk:
                debug.backward(self.net)
            else:
                self.net.backward()
        return loss / self.param.iter_size

    @staticmethod
    def _forward(net: Net, talk: bool) -> None:
        if talk:
            debug.forward(net)
        else:
            net.forward()

    def apply_update(self) -> None:
        """Update the parameters from the gradients as they are; they then hold what was subtracted."""
        talk = self._due(self.param.display)
        rate = self._rate()
        if talk:
            log("sgd_solver.cpp:112", f"Iteration {self.iter}, lr = {number(rate)}")
        self.rule.apply_passes(rate, self.param.iter_size)
        clipping = self.rule.clipping
        if clipping:
            log(
                "sgd_solver.cpp:90",
                "Gradient clipping: scaling down gradients (L2 norm "
                f"{number(clipping.norm)} > {number(clipping.limit)}) by scale factor {number(clipping.factor)}",
            )
        if talk and self.param.debug_info:
            debug.update(self.net)

    def _rate(self) -> float:
        if self.param.lr_policy == "multistep":
            step = schedules.current_step(self.param, self.iter)
            if step > schedules.current_step(self.param, self.iter - 1):
                log("sgd_solver.cpp:49", f"MultiStep Status: Iteration {self.iter}, step = {step}")
        return self.lr

    # --- testing ----------------------------------------------------------------------------------------------------

    def test_all(self) -> None:
        """Test every test net, unless a stop is asked for."""
        for i in range(len(self.test_nets)):
            if not self.stopped:
                self.test(i)

    def test(self, index: int = 0) -> Outputs | None:
        """Run a test net for its test_iter batches; return its outputs, averaged, or None if a stop was asked for."""
        net, batches = self.test_nets[index], self.param.test_iter[index]
        log("solver.cpp:351", f"Iteration {self.iter}, Testing net (#{index})")
        known = {layer.name for layer in net.layers}
        log_ignored([layer.name for layer in self.net.layers if layer.name not in known])
        sums: Outputs = []
        loss = 0.0
        for _ in range(batches):
            self._obey()
            if self.stopped:
                log("solver.cpp:394", "Test interrupted.")
                return None
            self._forward(net, self.param.debug_info)
            loss += net.total_loss
            outputs = read_outputs(net)
            sums = [(name, a + b) for (name, a), (_, b) in zip(sums, outputs, strict=False)] if sums else outputs
        if self.param.test_compute_loss and batches:
            log("solver.cpp:399", f"Test loss: {number(loss / batches)}")
        means = [(name, value / batches) for name, value in sums]
        log_outputs("Test", "solver.cpp:418", net, means)
        return means

    def _obey(self) -> None:
        """Do what was asked for while testing."""
        while (asked := self.action()) is not Action.NONE:
            if asked is Action.SNAPSHOT:
                self.snapshot()
            else:
                self.stopped = True

    # --- files ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[str, str]:
        """Write model and solver state under snapshot_prefix; return the names of both files."""
        kind = "HDF5" if self.param.snapshot_format == pb.SolverParameter.HDF5 else "binary proto"
        model, state = (snapshot_file(self.param, self.iter, part) for part in (".caffemodel", ".solverstate"))
        log("solver.cpp:468", f"Snapshotting to {kind} file {model}")
        snapshot.save_caffemodel(self.net, model, diffs=self.param.snapshot_diff)
        log("sgd_solver.cpp:280", f"Snapshotting solver state to {kind} file {state}")
        snapshot.save_solverstate(self.rule, state, model)
        return model, state

    def restore(self, state: Path | str) -> None:
        """Take up iteration, history and parameters of a .solverstate or .solverstate.h5; not the place in the data."""
        log_ignored(snapshot.restore(self.rule, state))
        log("sgd_solver.cpp:318", "SGDSolver: restoring history")


def _origin(file: NetFile) -> str:
    """Return where a training net comes from, in the words of Caffe's log."""
    return f"specified in {file.source}." if file.source.endswith("_param") else f"from {file.source}"
