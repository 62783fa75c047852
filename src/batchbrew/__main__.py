"""The command line: ``batchbrew ...`` or ``python -m batchbrew ...``."""

from __future__ import annotations

import os
import sys

# BLAS libraries read these when NumPy is imported and never again; a node has one thread unless its launcher says more.
for _name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")
os.environ.setdefault("VECLIB_MAXIMUM_THREADS", "1")


def main() -> int:
    """Run the command line and return its exit code: 0, 1 for a failed run, 2 for a user's mistake, 130 for Ctrl-C."""
    from batchbrew.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
