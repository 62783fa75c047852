"""From files to nets: read a net or a solver, find the net a solver names, and build it with places for messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.net import Net
from batchbrew.solver.upgrade import Note, read_net, upgrade_solver


@dataclass(frozen=True, eq=False)
class NetFile:
    """A net's message with the file it came from and the (line, column) of its layers."""

    param: pb.NetParameter
    path: str
    positions: tuple[tuple[int, int], ...]
    notes: tuple[Note, ...] = ()  # of the upgrade from an older format

    def build(self, phase: int, **options: Any) -> Net:
        """Return the net in ``phase``; ``options`` are those of Net."""
        return Net(self.param, phase, where=self.path, positions=self.positions, **options)


def read_net_file(path: Path | str) -> NetFile:
    """Return the net in a prototxt file, upgraded from any older format. Raises UserError ``file:line:col: ...``."""
    param, positions, notes = read_net(path)
    return NetFile(param, str(path), tuple(positions), tuple(notes))


def read_solver(path: Path | str) -> pb.SolverParameter:
    """Return the message of the solver in a prototxt file, upgraded with the nets inside it."""
    solver = text.read(path, pb.SolverParameter)
    upgrade_solver(solver, str(path))
    return solver


def solver_net(solver: pb.SolverParameter, solver_path: Path | str, phase: int) -> NetFile:
    """Return the net that ``solver`` uses in ``phase``.

    Exactly one of net, net_param, train_net, train_net_param is the training net; testing uses test_net(_param) where
    given, else the same. A path is tried from the working directory, as Caffe does, then from the solver's folder.
    """
    given = [name for name in ("net", "net_param", "train_net", "train_net_param") if solver.HasField(name)]
    if len(given) != 1:
        raise UserError(
            f"{solver_path}: needs exactly one of net, net_param, train_net, train_net_param "
            f"(found {', '.join(given) or 'none'})"
        )
    return in_state(_net_of(solver, solver_path, phase, given[0]), solver, phase)


def in_state(file: NetFile, solver: pb.SolverParameter, phase: int) -> NetFile:
    """Return ``file`` with the solver's train_state, or first test_state, merged into the net's own state."""
    param = pb.NetParameter()
    param.CopyFrom(file.param)
    if phase == pb.TRAIN:
        param.state.MergeFrom(solver.train_state)
    elif len(solver.test_state):
        param.state.MergeFrom(solver.test_state[0])
    return replace(file, param=param)


def _net_of(solver: pb.SolverParameter, solver_path: Path | str, phase: int, name: str) -> NetFile:
    if phase == pb.TEST and len(solver.test_net):
        return read_net_file(find_file(solver.test_net[0], solver_path, "test_net"))
    if phase == pb.TEST and len(solver.test_net_param):
        return NetFile(solver.test_net_param[0], str(solver_path), ())
    value = getattr(solver, name)
    if name.endswith("_param"):
        return NetFile(value, str(solver_path), ())
    return read_net_file(find_file(value, solver_path, name))


def find_file(name: str, beside: Path | str, what: str) -> Path:
    """Return the file ``name`` as seen from the working directory or from the folder of ``beside``."""
    for path in (Path(name), Path(beside).parent / name):
        if path.is_file():
            return path
    raise UserError(
        f"{beside}: {what}: no such file '{name}' (looked in {Path.cwd()} and {Path(beside).parent.resolve()})"
    )
