"""What is fuzzed: for each kind of file, good ones to begin with, and what is done with a spoilt one.

A target may take what it is given or refuse it: with UserError, or on the command line with exit code 2 and one line.
"""

from __future__ import annotations

import contextlib
import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from fuzz_mutations import BINARY, Ways

from batchbrew.cli import run
from batchbrew.errors import UserError
from batchbrew.registry import Registry

ROOT = Path(__file__).parents[2]
TARGETS: Registry[type[Target]] = Registry("fuzz target")


class Bug(Exception):
    """What a user must never see."""


class Target(ABC):
    """One kind of input.

    Give it a name with ``@TARGETS.register("name")``, set ``ways`` to spoil it, and implement ``seeds``, the good
    files, and ``run``, which may raise UserError and nothing else. ``__init__`` and ``seeds`` may prepare in ``folder``
    what ``run`` needs.
    """

    ways: ClassVar[Ways] = BINARY
    share: ClassVar[int] = 1  # of a campaign's cases, beside the others

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "spoilt"

    @abstractmethod
    def seeds(self) -> list[bytes]:
        """Return good files."""

    @abstractmethod
    def run(self) -> None:
        """Do with ``self.file`` what a user would."""

    def try_(self, content: bytes) -> str:
        """Run on ``content``; return "taken", or the text of the refusal. Raises Bug or what was raised."""
        self.file.unlink(missing_ok=True)  # what the last case left open keeps its own file
        self.file.write_bytes(content)
        try:
            self.run()
        except UserError as error:
            if "\n" in str(error) or not str(error):
                raise Bug(f"not one line: {str(error)!r}") from None
            return str(error)
        return "taken"


def command(*arguments: object) -> None:
    """Run one command line; its refusal becomes a UserError, anything else than Caffe's codes and one line a Bug."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    said = err.getvalue()
    if "Traceback" in said + out.getvalue() or code not in (0, 1, 2):
        raise Bug(f"exit code {code}: {said}")
    if code == 2:
        if not said.startswith("batchbrew: error: ") or said.count("\n") != 1:
            raise Bug(f"exit code 2 with other than one line: {said}")
        raise UserError(said)
