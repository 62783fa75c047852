"""How scripts get pycaffe: as batchbrew.pycaffe, or as caffe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_both_names_are_one_module(tmp_path: Path) -> None:
    done = run(
        "import sys\n"
        "import batchbrew.pycaffe\n"
        "from batchbrew import pycaffe as caffe\n"
        "import batchbrew.solver.pycaffe as real\n"
        "assert batchbrew.pycaffe is caffe is real\n"
        "assert 'caffe' not in sys.modules\n"
        "assert not caffe.python_layers_allowed()\n"
        "assert not {'cv2', 'pydot', 'scipy'} & set(sys.modules)",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_installed_all_modules_bear_caffes_names(tmp_path: Path) -> None:
    done = run(
        "from batchbrew import pycaffe\n"
        "pycaffe.install()\n"
        "pycaffe.install()\n"
        "import caffe, caffe.io, caffe.draw, caffe.proto.caffe_pb2, caffe._caffe, caffe.pycaffe\n"
        "import caffe.net_spec, caffe.coord_map, caffe.classifier, caffe.detector, caffe.layers as L\n"
        "from caffe import layers, params as P, to_proto, NetSpec\n"
        "from caffe.proto import caffe_pb2\n"
        "from caffe.coord_map import crop\n"
        "from caffe.pycaffe import Net, SGDSolver\n"
        "assert caffe is pycaffe is caffe._caffe is caffe.pycaffe\n"
        "assert L is layers and Net is caffe.Net\n"
        "assert caffe.io.caffe_pb2 is caffe_pb2 is caffe.proto.caffe_pb2\n"
        "assert caffe.python_layers_allowed()\n"
        "assert (caffe.TRAIN, caffe.TEST, caffe.__version__) == (0, 1, '1.0.0')\n"
        "assert all(hasattr(caffe, name) for name in caffe.__all__)",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_python_layers_can_be_left_out(tmp_path: Path) -> None:
    done = run(
        "from batchbrew import pycaffe\npycaffe.install(python_layers=False)\nprint(pycaffe.python_layers_allowed())",
        tmp_path,
    )
    assert done.stdout == "False\n"


def test_another_caffe_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "caffe.py").write_text("Layer = object")
    done = run("import caffe\nfrom batchbrew import pycaffe\npycaffe.install()", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"batchbrew.errors.UserError: pycaffe.install: another caffe has been imported, from {tmp_path}/caffe.py: "
        "call install() before 'import caffe'"
    )
    assert run("from batchbrew import pycaffe\npycaffe.install()\nimport caffe\ncaffe.Net", tmp_path).returncode == 0


def test_a_script_runs_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "helper.py").write_text("import caffe\nVERSION = caffe.__version__")
    (folder / "script.py").write_text("import sys, caffe, helper\nprint(__name__, helper.VERSION, sys.argv[1:])")
    (folder / "bad.py").write_text("import caffe\ncaffe.set_solver_count(2)\ncaffe.NCCL(None)")

    def module(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "batchbrew.pycaffe", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)

    assert module("scripts/script.py", "--gpu", "0").stdout == "__main__ 1.0.0 ['--gpu', '0']\n"
    end = " - write: python -m batchbrew.pycaffe script.py [arguments]\n"
    assert module().stderr == f"batchbrew: error: no script is given{end}"
    assert module("none.py").stderr == f"batchbrew: error: no such file 'none.py'{end}"
    assert module("scripts/bad.py").stderr.startswith("batchbrew: error: NCCL would connect 2 solvers")
