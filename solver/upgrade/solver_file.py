"""Solvers: ``solver_type`` (a name in capitals) becomes ``type`` (text); nets inside are upgraded too."""

from __future__ import annotations

from collections.abc import Iterator

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.upgrade.draft import Note
from batchbrew.solver.upgrade.net import outdated_net, upgrade_net

NAME = "'solver_type' field (enum)"

TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def outdated_solver(param: pb.SolverParameter) -> list[str]:
    """Return what in ``param`` is in an older format; nothing if it is current."""
    found = [NAME] if param.HasField("solver_type") else []
    for field, net in _nets(param):
        found += [f"{name} in {field}" for name in outdated_net(net)]
    return found


def upgrade_solver(param: pb.SolverParameter, file: str = "") -> list[Note]:
    """Change ``param`` to the current format, with the nets inside it; return what was done.

    ``file`` begins the messages. Raises UserError for ``type`` beside ``solver_type``, and what upgrade_net raises.

    >>> solver = pb.SolverParameter(solver_type="NESTEROV")
    >>> [note.level for note in upgrade_solver(solver)], solver.type, outdated_solver(solver)
    (['I', 'I'], 'Nesterov', [])
    """
    notes: list[Note] = []
    if param.HasField("solver_type"):
        if param.HasField("type"):
            raise UserError(
                f"{file}{': ' if file else ''}Failed to upgrade solver: solver_type and type cannot both be given"
                " - keep type"
            )
        notes.append(Note(f"Attempting to upgrade input file specified using deprecated {NAME}: {file}"))
        param.type = TYPES[pb.SolverParameter.SolverType.Name(param.solver_type)]
        param.ClearField("solver_type")
        notes.append(Note(f"Successfully upgraded file specified using deprecated {NAME} to 'type' field (string)."))
    for field, net in _nets(param):
        notes += upgrade_net(net, f"{file}: {field}" if file else field)
    return notes


def _nets(param: pb.SolverParameter) -> Iterator[tuple[str, pb.NetParameter]]:
    """Yield the nets inside ``param`` with the names of their fields."""
    for field in ("net_param", "train_net_param"):
        if param.HasField(field):
            yield field, getattr(param, field)
    for net in param.test_net_param:
        yield "test_net_param", net
