"""pycaffe: Caffe's Python interface, on batchbrew's nets and solvers.

Three ways to it: ``from batchbrew import pycaffe as caffe`` at the head of a script; ``batchbrew.pycaffe.install()``
before it imports ``caffe``; or no change at all and ``python -m batchbrew.pycaffe script.py``. The log goes to stderr
line by line as Caffe's does; GLOG_minloglevel=2 in the environment hides it.
"""

from batchbrew.protos.messages import TEST, TRAIN
from batchbrew.solver.layer import LAYERS
from batchbrew.solver.layers.python_layer import allow_python_layers, python_layers_allowed
from batchbrew.solver.pycaffe import classifier, coord_map, detector, draw, io, net_spec, proto
from batchbrew.solver.pycaffe.blob import Blob, BlobVec
from batchbrew.solver.pycaffe.classifier import Classifier
from batchbrew.solver.pycaffe.detector import Detector
from batchbrew.solver.pycaffe.install import install, lend_name, run_script
from batchbrew.solver.pycaffe.layer import Layer
from batchbrew.solver.pycaffe.net import Net
from batchbrew.solver.pycaffe.net_spec import NetSpec, layers, params, to_proto
from batchbrew.solver.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Solver,
    get_solver,
)
from batchbrew.solver.pycaffe.state import (
    init_log,
    log,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from batchbrew.solver.pycaffe.tools import NCCL, Timer, has_nccl

__version__ = "1.0.0"  # of the Caffe whose interface this is


def layer_type_list() -> list[str]:
    """Return the layer types that nets may have."""
    return LAYERS.names()


__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "BlobVec",
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "Timer",
    "__version__",
    "allow_python_layers",
    "classifier",
    "coord_map",
    "detector",
    "draw",
    "get_solver",
    "has_nccl",
    "init_log",
    "install",
    "io",
    "layer_type_list",
    "layers",
    "lend_name",
    "log",
    "net_spec",
    "params",
    "proto",
    "python_layers_allowed",
    "run_script",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]
