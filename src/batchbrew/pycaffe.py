"""Caffe's Python interface: this name stands for the package batchbrew.solver.pycaffe, the same module object.

``python -m batchbrew.pycaffe script.py`` runs a script that imports ``caffe``.
"""

import sys

from batchbrew.errors import UserError
from batchbrew.solver import pycaffe
from batchbrew.solver.pycaffe import *  # noqa: F403

if __name__ == "__main__":
    try:
        pycaffe.run_script(sys.argv[1:])
    except UserError as error:
        sys.exit(f"batchbrew: error: {error}")
else:
    sys.modules[__name__] = pycaffe
