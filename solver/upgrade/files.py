"""Read files of any format, text or binary, and write them in the current format."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from batchbrew.protos import binary, text
from batchbrew.protos import messages as pb
from batchbrew.protos.files import is_text, read_bytes, write_bytes
from batchbrew.solver.upgrade.draft import Note, Position
from batchbrew.solver.upgrade.net import outdated_net, upgrade_net
from batchbrew.solver.upgrade.solver_file import outdated_solver, upgrade_solver

TEXT_SUFFIXES = (".prototxt", ".txt")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Upgraded(NamedTuple):
    """What was out of date in a file (nothing: it is current), what there is to say, and whether OUT was written."""

    outdated: list[str]
    notes: list[Note]
    written: bool

    @property
    def complete(self) -> bool:
        """Tell whether everything in the file has found its place."""
        return not any(note.level == "E" for note in self.notes)


def read_net(path: Path | str) -> tuple[pb.NetParameter, list[Position], list[Note]]:
    """Return the net in a prototxt in the current format, the (line, column) of its layers, and notes.

    Raises UserError ``file:line:col: ...``.
    """
    param = text.read(path, pb.NetParameter)
    source = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    positions = text.positions(source, "layers" if len(param.layers) else "layer")
    notes = upgrade_net(param, str(path), positions, *text.positions(source, "input")[:1])
    return param, positions, notes


def upgrade_net_file(source: Path, target: Path, as_text: bool | None = None) -> Upgraded:
    """Write the net or model in ``source`` to ``target`` (it may be the same file) in the current format.

    ``as_text``: write text, or binary; None keeps the form, but a name ending in .prototxt or .txt makes text.
    """
    was_text = _is_text(source)
    if was_text:
        outdated = outdated_net(text.read(source, pb.NetParameter))
        param, _, notes = read_net(source)
    else:
        param = binary.read(source, pb.NetParameter)
        outdated = outdated_net(param)
        notes = upgrade_net(param, str(source))
    written = _write(param, source, target, was_text=was_text, as_text=as_text, changed=bool(outdated))
    return Upgraded(outdated, notes, written)


def upgrade_solver_file(source: Path, target: Path, as_text: bool | None = None) -> Upgraded:
    """Write the solver in ``source`` to ``target`` in the current format; see upgrade_net_file."""
    was_text = _is_text(source)
    param = (text.read if was_text else binary.read)(source, pb.SolverParameter)
    outdated = outdated_solver(param)
    notes = upgrade_solver(param, str(source))
    written = _write(param, source, target, was_text=was_text, as_text=as_text, changed=bool(outdated))
    return Upgraded(outdated, notes, written)


def _is_text(path: Path) -> bool:
    content = read_bytes(path)
    return is_text(content) or content.startswith(_UTF16)


def _write(
    param: pb.NetParameter | pb.SolverParameter,
    source: Path,
    target: Path,
    *,
    was_text: bool,
    as_text: bool | None,
    changed: bool,
) -> bool:
    """Write ``target`` and return True, or return False if it is ``source`` and already right."""
    if as_text is None:
        as_text = was_text or target.suffix in TEXT_SUFFIXES
    if changed or as_text != was_text:
        (text.write if as_text else binary.write)(target, param)
        return True
    if target.exists() and target.samefile(source):
        return False
    write_bytes(target, read_bytes(source))  # the file itself, with its comments
    return True
