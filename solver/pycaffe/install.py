"""Let scripts that ``import caffe`` get this package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from runpy import run_path

from batchbrew.errors import UserError
from batchbrew.solver.layers.python_layer import allow_python_layers

PACKAGE = "batchbrew.solver.pycaffe"
MODULES = ("io", "proto", "proto.caffe_pb2", "net_spec", "coord_map", "draw", "classifier", "detector")


def install(python_layers: bool = True) -> None:
    """Make ``import caffe``, also of its modules, mean this package, for the rest of the process.

    ``python_layers``: also allow nets to run the Python layers they name, as scripts for pycaffe expect. Raises
    UserError if another caffe has been imported before.
    """
    found = sys.modules.get("caffe")
    if found not in (None, sys.modules[PACKAGE]):
        place = getattr(found, "__file__", None) or "an unknown place"
        raise UserError(
            f"pycaffe.install: another caffe has been imported, from {place}: call install() before 'import caffe'"
        )
    lend_name()
    if python_layers:
        allow_python_layers()


def lend_name() -> None:
    """Enter the modules under the name ``caffe``, unless there is such a module already."""
    package = sys.modules[PACKAGE]
    if sys.modules.setdefault("caffe", package) is not package:
        return
    for name in MODULES:
        sys.modules[f"caffe.{name}"] = import_module(f"{PACKAGE}.{name}")
    for name in ("pycaffe", "_caffe"):
        setattr(package, name, package)
        sys.modules[f"caffe.{name}"] = package
    for name in ("layers", "params"):
        sys.modules[f"caffe.{name}"] = getattr(package, name)


def run_script(arguments: Sequence[str]) -> None:
    """Run a script written for pycaffe as ``python script arguments`` would, with this package as its ``caffe``.

    Raises UserError without a script, or if there is no such file.
    """
    if not arguments or not Path(arguments[0]).is_file():
        found = f"no such file '{arguments[0]}'" if arguments else "no script is given"
        raise UserError(f"{found} - write: python -m batchbrew.pycaffe script.py [arguments]")
    install()
    sys.argv = list(arguments)
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    run_path(arguments[0], run_name="__main__")
