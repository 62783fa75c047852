"""A net that is being upgraded, and what there is to say about it."""

from __future__ import annotations

from typing import Self

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb

Position = tuple[int, int]


class Note(str):
    """One line about an upgrade, without its place in a log; ``level`` is Caffe's letter: I, W or E.

    >>> Note("Unknown parameter pad for layer type relu", "E").level
    'E'
    """

    __slots__ = ("level",)
    level: str

    def __new__(cls, text: str, level: str = "I") -> Self:
        """Return the note ``text``."""
        note = super().__new__(cls, text)
        note.level = level
        return note


class Draft:
    """A net changed step by step; ``positions`` (None: not known) goes along with its layers.

    ``file`` begins the messages; ``input_position`` is where its first ``input`` field stands.
    """

    def __init__(
        self, param: pb.NetParameter, file: str, positions: list[Position] | None, input_position: Position
    ) -> None:
        self.param, self.file, self.input_position = param, file, input_position
        known = positions is not None and len(positions) == len(param.layers) + len(param.layer)
        self.positions = positions if known else None
        self.notes: list[Note] = []

    def note(self, text: str, level: str = "I") -> None:
        """Add a line to the notes."""
        self.notes.append(Note(text, level))

    def error(self, problem: str, layer: int | None = None) -> UserError:
        """Return the error ``file:line:col: problem`` for the layer with this number, or for the whole net."""
        place = self.file
        if place and layer is not None and self.positions is not None:
            line, column = self.positions[layer]
            place = f"{place}:{line}:{column}"
        return UserError(f"{place}: {problem}" if place else problem)
