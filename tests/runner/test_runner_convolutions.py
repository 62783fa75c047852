"""How the ranks of a run come to compute convolutions by the same algorithms, and what is remembered of measurements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.runner import convolutions
from batchbrew.runner.convolutions import Known, cache_folder, measured, settle, use
from batchbrew.runner.folder import RunFolder
from batchbrew.runner.worker import recorded
from batchbrew.runner.world import OneRank
from batchbrew.solver import tuning
from batchbrew.solver.layers.algorithm import UPDATE, Case
from batchbrew.solver.net import Net

CASE = Case(False, 16, 16, (8, 8), 3, (1, 1))
SOURCE = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 32 dim: 16 dim: 8 dim: 8 } } }
    layer { name: "c" type: "Convolution" bottom: "x" top: "y"
      convolution_param { num_output: 16 kernel_size: 3 pad: 1 } }"""


def net(kernels: str = "auto") -> Net:
    return Net(text.parse(SOURCE, pb.NetParameter), pb.TEST, kernels=kernels)


@pytest.fixture
def measurements(monkeypatch, tmp_path):
    """Let measurements say 2, and count them."""
    made = []
    monkeypatch.setenv("BATCHBREW_CACHE", str(tmp_path))
    monkeypatch.delenv("BATCHBREW_CONVOLUTION", raising=False)
    monkeypatch.setattr(tuning, "fastest", lambda case, kernels, clock: made.append((case, kernels)) or 2)
    return made


def file() -> Path:
    return cache_folder() / "convolutions.json"


def test_measured_once(measurements):
    for _ in range(2):
        known = Known("avx2")
        assert [known.get(CASE), known.get(CASE)] == [2, 2]
        known.keep()
    assert measurements == [(CASE, "avx2")]
    Known("baseline").get(CASE)
    assert len(measurements) == 2
    (machine,) = json.loads(file().read_text()).values()
    assert machine == {"outputs, 16 x 8 x 8 by 16 filters 3 x 3, pad 1 x 1": 2}


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', "\xff", "[" * 100_000])
def test_a_damaged_file_is_made_anew(measurements, content):
    file().write_text(content, encoding="latin-1")
    known = Known("avx2")
    assert known.get(CASE) == 2
    known.keep()
    assert Known("avx2").get(CASE) == 2 and len(measurements) == 1


@pytest.mark.parametrize("tile", [1, 8, "2", None, 2.0, [2], True])
def test_a_damaged_entry_is_measured_anew(measurements, tile):
    known = Known("avx2")
    known.get(CASE)
    known.keep()
    content = json.loads(file().read_text())
    content[next(iter(content))][CASE.label] = tile
    file().write_text(json.dumps(content))
    assert Known("avx2").get(CASE) == 2 and len(measurements) == 2


def test_a_cache_that_cannot_be_written_is_no_matter(measurements, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("BATCHBREW_CACHE", str(tmp_path / "taken"))
    known = Known("avx2")
    assert known.get(CASE) == 2
    known.keep()
    assert known.get(CASE) == 2 and len(measurements) == 1


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("BATCHBREW_CACHE", "here")
    assert cache_folder() == Path("here")
    monkeypatch.delenv("BATCHBREW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "batchbrew"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "batchbrew"


def test_what_the_environment_says_is_not_measured(measurements, monkeypatch):
    for name, tile in (("winograd", 4), ("direct", 0)):
        monkeypatch.setenv("BATCHBREW_CONVOLUTION", name)
        assert measured([net()]) == {CASE.label: tile}
    assert not measurements and not file().exists()


def test_reference_kernels_compute_directly(measurements):
    assert measured([net("reference")]) == {} and not measurements


class Second(OneRank):
    """A rank that receives what rank 0 sends."""

    rank = 1

    def __init__(self, received):
        self.received = received

    def bcast(self, value):
        return self.received


def test_all_ranks_do_as_rank_0_says(measurements):
    one = net()
    assert settle([one], Second({CASE.label: 4}), None) == {CASE.label: 4}
    assert one.choose(CASE, UPDATE) == 4 and not measurements


def test_a_run_goes_on_as_it_began(measurements):
    one = net()
    assert settle([one], OneRank(), {CASE.label: 4}) == {CASE.label: 4}
    assert one.choose(CASE, UPDATE) == 4
    settle([one], OneRank(), {CASE.label: 7})
    assert one.choose(CASE, UPDATE) == 0
    settle([one], OneRank(), {})
    assert one.choose(CASE, UPDATE) == 0 and not measurements


def test_the_choice_is_what_is_computed(measurements):
    one = net("baseline" if compiled_kernels() else "reference")
    seen = []
    draw = np.random.default_rng(1)
    one.params["c"][0].data[...] = draw.normal(size=(16, 16, 3, 3))
    x = draw.normal(size=(32, 16, 8, 8))
    for tile in (0, 4):
        use([one], {CASE.label: tile})
        one.blobs["x"].data[...] = x
        one.forward()
        seen.append(one.blobs["y"].data.copy())
    assert not (seen[0] == seen[1]).all() and abs(seen[0] - seen[1]).max() < 1e-4


def compiled_kernels() -> bool:
    from batchbrew.solver.kernels import available

    return "baseline" in available()


def test_what_the_record_says(tmp_path):
    folder = RunFolder(tmp_path)
    assert recorded(folder) == {}
    folder.record.write_text('{"kind": "header", "environment": {}}\n')
    assert recorded(folder) == {}  # a run that began before there was a choice
    folder.record.write_text('{"kind": "header", "environment": {"convolutions": {"a": 4}}}\n{"kind": "event"}\n')
    assert recorded(folder) == {"a": 4}


def test_machine_is_part_of_what_is_known(measurements, monkeypatch):
    Known("avx2").get(CASE)
    known = Known("avx2")
    known.get(CASE)
    known.keep()
    monkeypatch.setattr(convolutions, "cpu_model", lambda: "another")
    Known("avx2").get(CASE)
    assert len(measurements) == 3
