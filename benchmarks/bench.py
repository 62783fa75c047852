"""Training throughput of the engine, against this machine's FMA peak and, where torch is there, PyTorch at its best.

Both take turns within each net, batch and number of threads, so that drifts of the machine fall on both. PyTorch counts
with the better memory format and the better of malloc's settings; starting up and warming up count for nobody.

python benchmarks/bench.py [--quick] [--python INTERPRETER_WITH_TORCH] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from report import Printer
from results import Results
from turns import SHAPES, Turns

from batchbrew.errors import UserError
from batchbrew.runner.environment import collect
from batchbrew.runner.world import OneRank

BATCHES = (1, 8, 32, 100, 256, 1024, 8192)
QUICK = (1, 32, 256)
ABOUT = ("cpu", "cores", "kernels", "batchbrew", "git", "python", "numpy")


def machine(torch: str | None) -> dict[str, Any]:
    """Return what the figures are measured on and with."""
    environment = collect(OneRank(), 1)
    return {name: environment[name] for name in ABOUT} | {"torch": torch}


def torch_version(python: str) -> str | None:
    """Return the version of torch that an interpreter can import, if it can; UserError if there is no interpreter."""
    try:
        command = [python, "-c", "import torch; print(torch.__version__)"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"--python {python}: cannot be run ({error.strerror})") from None
    return (done.stdout.strip() or None) if done.returncode == 0 else None


def numbers(text: str) -> list[int]:
    """Return numbers separated by commas."""
    return [int(part) for part in text.split(",")]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; a wrong one ends the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=lambda text: text.split(","), default=list(SHAPES))
    parser.add_argument("--batches", type=numbers, help="samples per update and rank")
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument(
        "--ranks", type=int, default=2, help="MPI ranks to compare with DistributedDataParallel; 1: none"
    )
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="few batches, short measurements, no peak memory")
    parser.add_argument("--python", default=os.environ.get("BATCHBREW_TORCH_PYTHON"), help="interpreter that has torch")
    parser.add_argument("--json", type=Path, help="where to keep the results, for figure.py")
    options = parser.parse_args(arguments)
    for net in options.nets:
        if net not in SHAPES:
            parser.error(f"unknown net '{net}' (known: {', '.join(SHAPES)})")
    options.batches = options.batches or list(QUICK if options.quick else BATCHES)
    options.seconds = options.seconds or (0.1 if options.quick else 0.4)
    return options


def main() -> int:
    options = parse()
    python = options.python or sys.executable
    try:
        torch = torch_version(python)
        if torch is None and options.python:
            raise UserError(f"--python {options.python}: cannot import torch")
    except UserError as error:
        sys.stderr.write(f"bench: error: {error}\n")
        return 2
    printer, results = Printer(), Results(machine=machine(torch))
    printer.head(results)
    try:
        Turns(options, python if torch else "", results, printer).run()
    except KeyboardInterrupt:
        printer.status("")
        sys.stderr.write("bench: interrupted\n")
        return 130
    printer.summary(results)
    if options.json:
        results.write(options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
