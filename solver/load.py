"""From files to nets: read a net or a solver, find the nets a solver names, and build them with places for messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.protos.files import is_file
from batchbrew.solver.net import Net
from batchbrew.solver.upgrade import Note, read_net, upgrade_solver

TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


@dataclass(frozen=True, eq=False)
class NetFile:
    """A net's message with the file it came from and the (line, column) of its layers."""

    param: pb.NetParameter
    path: str
    positions: tuple[tuple[int, int], ...]
    notes: tuple[Note, ...] = ()  # of the upgrade from an older format
    source: str = ""  # the field of the solver that names it, and the file as it is named there

    def build(self, phase: int, **options: Any) -> Net:
        """Return the net in ``phase``; ``options`` are those of Net."""
        return Net(self.param, phase, where=self.path, positions=self.positions, **options)


def read_net_file(path: Path | str) -> NetFile:
    """Return the net in a prototxt file, upgraded from any older format. Raises UserError ``file:line:col: ...``."""
    param, positions, notes = read_net(path)
    return NetFile(param, str(path), tuple(positions), tuple(notes))


def read_solver(path: Path | str, notes: list[Note] | None = None) -> pb.SolverParameter:
    """Return the message of the solver in a prototxt file, upgraded with the nets inside it.

    What the upgrade did is appended to ``notes``.
    """
    solver = text.read(path, pb.SolverParameter)
    done = upgrade_solver(solver, str(path))
    if notes is not None:
        notes += done
    return solver


# --- the nets of a training study: one net, in two phases -------------------------------------------------------------


def solver_net(solver: pb.SolverParameter, solver_path: Path | str, phase: int) -> NetFile:
    """Return the net that ``solver`` uses in ``phase``.

    Exactly one of net, net_param, train_net, train_net_param is the training net; testing uses the first
    test_net_param or test_net where given, else the same. A path is tried from the working directory, as Caffe does,
    then from the solver's folder.
    """
    field = _train_field(solver, solver_path)
    if phase == pb.TEST:
        field = next((name for name in ("test_net_param", "test_net") if len(getattr(solver, name))), field)
    return in_state(_named(solver, solver_path, field), solver, phase)


def in_state(file: NetFile, solver: pb.SolverParameter, phase: int) -> NetFile:
    """Return ``file`` with the solver's train_state, or first test_state, merged into the net's own state."""
    return _merged(file, phase, solver.train_state if phase == pb.TRAIN else next(iter(solver.test_state), None))


# --- the nets of a solver, by Caffe's rules ---------------------------------------------------------------------------


def train_net(solver: pb.SolverParameter, solver_path: Path | str) -> NetFile:
    """Return the training net of ``solver``, its state complete: that of the net, then the solver's train_state."""
    return _merged(_named(solver, solver_path, _train_field(solver, solver_path)), pb.TRAIN, solver.train_state)


def test_nets(solver: pb.SolverParameter, solver_path: Path | str) -> list[NetFile]:
    """Return the test nets of ``solver`` in order, their states complete: that of the net, then its test_state.

    Each test_net_param and each test_net is one; the remaining entries of test_iter use net or net_param. Raises
    UserError where test_iter, test_state or test_interval do not go with them.
    """
    where = f"{solver_path}: " if str(solver_path) else ""
    own = [("test_net_param", i) for i in range(len(solver.test_net_param))]
    own += [("test_net", i) for i in range(len(solver.test_net))]
    generic = next((name for name in ("net_param", "net") if solver.HasField(name)), "")
    count = len(solver.test_iter)
    if count < len(own) or (count > len(own) and not generic):
        raise UserError(
            f"{where}test_iter must be specified for each test network (found {count} for {len(own)} test nets)"
        )
    fields = own + [(generic, 0)] * (count - len(own))
    if len(solver.test_state) not in (0, count):
        raise UserError(
            f"{where}test_state must be unspecified or specified once per test net "
            f"(found {len(solver.test_state)} for {count})"
        )
    if count and solver.test_interval <= 0:
        raise UserError(f"{where}test_interval must be greater than 0 where there are test nets")
    states: list[pb.NetState | None] = [*solver.test_state] or [None] * count
    return [
        _merged(_named(solver, solver_path, field, i), pb.TEST, state)
        for (field, i), state in zip(fields, states, strict=True)
    ]


# --- common -----------------------------------------------------------------------------------------------------------


def _train_field(solver: pb.SolverParameter, solver_path: Path | str) -> str:
    given = [name for name in TRAIN_FIELDS if solver.HasField(name)]
    if len(given) != 1:
        where = f"{solver_path}: " if str(solver_path) else "solver: "
        raise UserError(f"{where}needs exactly one of {', '.join(TRAIN_FIELDS)} (found {', '.join(given) or 'none'})")
    return given[0]


def _named(solver: pb.SolverParameter, solver_path: Path | str, field: str, index: int = 0) -> NetFile:
    """Return the net in a field of the solver, or in the file it names."""
    value = getattr(solver, field)
    if field.startswith("test_"):
        value = value[index]
    if field.endswith("_param"):
        return NetFile(value, str(solver_path), (), source=field)
    found = read_net_file(find_file(value, solver_path, field))
    return replace(found, source=f"{field} file: {value}")


def _merged(file: NetFile, phase: int, state: pb.NetState | None) -> NetFile:
    """Return ``file`` with its state complete; what is said later wins, stages add up."""
    param, merged = pb.NetParameter(), pb.NetState(phase=phase)
    param.CopyFrom(file.param)
    merged.MergeFrom(param.state)
    if state is not None:
        merged.MergeFrom(state)
    param.state.CopyFrom(merged)
    return replace(file, param=param)


def find_file(name: str, beside: Path | str, what: str) -> Path:
    """Return the file ``name`` as seen from the working directory or from the folder of ``beside``."""
    for path in (Path(name), Path(beside).parent / name):
        if is_file(path):
            return path
    raise UserError(
        f"{beside or 'solver'}: {what}: no such file '{name}' "
        f"(looked in {Path.cwd()} and {Path(beside).parent.resolve()})"
    )
