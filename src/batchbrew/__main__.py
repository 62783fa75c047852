"""The command line: ``batchbrew ...`` or ``python -m batchbrew ...``."""

from __future__ import annotations

import os
import re
import sys

# BLAS libraries read these when NumPy is imported and never again; a node has one thread unless its launcher says more.
for _name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")
os.environ.setdefault("VECLIB_MAXIMUM_THREADS", "1")

_LONG_FLAG = re.compile(r"-[A-Za-z][\w-]+(=.*)?", re.DOTALL)


def normalise(arguments: list[str]) -> list[str]:
    """Return ``arguments`` with Caffe's way of writing flags turned into ours.

    >>> normalise(["train", "-solver=x.prototxt", "--max_updates", "3"])
    ['train', '--solver=x.prototxt', '--max-updates', '3']
    """
    result: list[str] = []
    for i, argument in enumerate(arguments):
        if argument == "--":
            return result + arguments[i:]
        if _LONG_FLAG.fullmatch(argument):
            argument = f"-{argument}"  # noqa: PLW2901
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            argument = name.replace("_", "-") + equals + value  # noqa: PLW2901
        result.append(argument)
    return result


def main() -> int:
    """Run the command line and return its exit code: 0, 1 for a failed run, 2 for a user's mistake, 130 for Ctrl-C."""
    from batchbrew.cli import run

    return run(normalise(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
