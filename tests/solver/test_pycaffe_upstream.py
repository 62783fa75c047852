"""Caffe's own tests of its Python interface, unmodified, from a checkout of Caffe: CAFFE_ROOT=folder pytest ..."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = os.environ.get("CAFFE_ROOT", "")
RUNNER = """
import sys, unittest
from batchbrew import pycaffe
pycaffe.install()
for new, old in (("assertEqual", "assertEquals"), ("assertRaisesRegex", "assertRaisesRegexp")):
    if not hasattr(unittest.TestCase, old):  # gone since Python 3.12
        setattr(unittest.TestCase, old, getattr(unittest.TestCase, new))
sys.path.insert(0, sys.argv[1])  # tests and Python layers import each other by name
found = unittest.defaultTestLoader.loadTestsFromName(sys.argv[2])
result = unittest.TextTestRunner(verbosity=2).run(found)
sys.exit(not (result.wasSuccessful() and result.testsRun))
"""


def run(folder: Path, name: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the test module ``name`` of ``folder`` with our package as caffe."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUNNER, str(folder), name],
        cwd=cwd,
        env={**os.environ, "GLOG_minloglevel": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def modules() -> list[str]:
    folder = Path(ROOT) / "python" / "caffe" / "test"
    return sorted(path.stem for path in folder.glob("test_*.py")) if ROOT else ["test_net"]


@pytest.mark.skipif(not ROOT, reason="CAFFE_ROOT does not name a checkout of Caffe")
@pytest.mark.parametrize("name", modules())
def test_caffes_own_tests_pass(name: str, tmp_path: Path) -> None:
    pytest.importorskip("six", reason="Caffe's tests need six")
    if name == "test_draw" and shutil.which("dot") is None:
        pytest.skip("test_draw needs the program dot of Graphviz")
    done = run(Path(ROOT).resolve() / "python" / "caffe" / "test", name, tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]


def test_they_are_run_as_they_must_be(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import unittest, caffe\n"
        "class Ten(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(1)\n"
        "    def forward(self, bottom, top):\n"
        "        top[0].data[...] = 10\n"
        "class Test(unittest.TestCase):\n"
        "    def test_it(self):\n"
        "        open('n', 'w').write(\"layer { type: 'Python' name: 'l' top: 't' python_param "
        "{ module: 'test_mine' layer: 'Ten' } }\")\n"
        "        self.assertEquals(caffe.Net('n', caffe.TEST).forward()['t'][0], 10)\n"
        "        with self.assertRaisesRegexp(RuntimeError, 'Could not'):\n"
        "            caffe.Net('m', caffe.TEST)\n"
    )
    done = run(tmp_path, "test_mine", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Ran 1 test" in done.stderr
    (tmp_path / "test_bad.py").write_text(
        "import unittest\nclass Test(unittest.TestCase):\n    def test_it(self):\n        self.fail('seen')\n"
    )
    assert "seen" in run(tmp_path, "test_bad", tmp_path).stderr
    assert run(tmp_path, "test_bad", tmp_path).returncode == 1
