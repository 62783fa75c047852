"""Layers written in Python: how they are made, run, resized and stopped, in pycaffe's nets and in the engine's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pycaffe_support
import pytest
from engine_support import KERNEL_SETS, assert_close, inputs, layer
from engine_support import net_of as engine_net
from pycaffe_support import net_of, python, python_layers  # noqa: F401 - a fixture

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver import pycaffe as caffe
from batchbrew.solver.layers.python_layer import python_layers_allowed

pytestmark = pytest.mark.usefixtures("python_layers")

FORCE = "force_backward: true\n"
CHAIN = (
    FORCE
    + 'name: "chain" input: "data" input_shape { dim: 10 dim: 9 dim: 8 }\n'
    + python("one", "Times", "data", "one")
    + python("two", "Times", "one", "two")
    + python("three", "Times", "two", "three", text="0.5")
)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_a_chain_runs_forward_and_backward(tmp_path: Path, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHBREW_KERNELS", kernels)
    net = net_of(CHAIN, tmp_path)
    net.blobs["data"].data[...] = 8
    net.forward()
    assert (net.blobs["three"].data == 400).all()
    net.blobs["three"].diff[...] = 7
    net.backward()
    assert (net.blobs["data"].diff == 350).all()


def test_another_number_of_axes_passes_through(tmp_path: Path) -> None:
    net = net_of(CHAIN, tmp_path)
    net.blobs["data"].reshape(4, 4, 4, 4)
    net.reshape()
    assert net.blobs["three"].shape == (4, 4, 4, 4)
    net.blobs["data"].reshape(5, 3)
    net.blobs["data"].data[...] = 2
    assert (net.forward()["three"] == 100).all()
    assert {blob.data.shape for blob in net.blobs.values()} == {(5, 3)}


def test_the_net_shows_the_users_object(tmp_path: Path) -> None:
    net = net_of(CHAIN, tmp_path)
    assert type(net.layers[1]).__name__ == "Times"
    assert isinstance(net.layers[1], caffe.Layer)
    assert (net.layers[1].type, net.layers[3].param_str, net.layers[3].param_str_) == ("Python", "0.5", "0.5")
    net.layers[3].factor = 0  # type: ignore[attr-defined]
    net.blobs["data"].data[...] = 1
    assert not net.forward()["three"].any()


def test_a_layer_knows_its_phase(tmp_path: Path) -> None:
    for phase in (caffe.TRAIN, caffe.TEST):
        found = net_of(python("p", "Phase", "", "phase"), tmp_path, phase).forward()["phase"]
        assert (found.shape, found) == ((), phase)


def test_parameters_are_made_learned_saved_and_shared(tmp_path: Path) -> None:
    source = FORCE + inputs(x=(2, 3)) + python("s", "Scaled", "x", "y", rest='param { name: "w" decay_mult: 0 }')
    net = net_of(source, tmp_path)
    weight = net.layers[1].blobs[0]
    assert (weight.shape, weight.data[0], net.params["s"][0]) == ((1,), 3, weight)
    net.blobs["x"].data[...] = 2
    assert (net.forward()["y"] == 6).all()
    net.blobs["y"].diff[...] = 1
    shown = weight.diff
    net.backward()
    net.backward()
    assert shown[0] == 24
    assert net._net.params["s"][0].decay_mult == 0
    weight.data[0] += 1
    net.save(tmp_path / "m.caffemodel")
    weight.data[0] = -1
    net.copy_from(tmp_path / "m.caffemodel")
    assert weight.data[0] == 4
    other = net_of(source, tmp_path)
    assert other.layers[1].blobs[0].data[0] == 3
    other.share_with(net)
    other.blobs["x"].data[...] = 1
    assert (other.forward()["y"] == 4).all()


def test_a_loss_trains_like_the_built_in_one(tmp_path: Path) -> None:
    ip = layer("ip", "InnerProduct", "x", "y", "inner_product_param { num_output: 2 weight_filler { type: 'xavier' } }")
    data = inputs(x=(4, 3), t=(4, 2))
    mine = net_of(data + ip + python("loss", "Squares", "y t", "loss", rest="loss_weight: 2"), tmp_path)
    theirs = net_of(data + ip + layer("loss", "EuclideanLoss", "y t", "loss", "loss_weight: 2"), tmp_path)
    rng = np.random.default_rng(0)
    values = {"x": rng.normal(size=(4, 3)), "t": rng.normal(size=(4, 2))}
    losses = []
    for net in (mine, theirs):
        net.params["ip"][0].data[...] = np.arange(6).reshape(2, 3)
        for name, array in values.items():
            net.blobs[name].data[...] = array
        losses.append(net._forward(0, len(net.layers) - 1))
        net.backward()
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert_close(mine.params["ip"][0].diff, theirs.params["ip"][0].diff)
    assert mine.blob_loss_weights["loss"] == 2


def test_a_source_keeps_the_shape_of_setup(tmp_path: Path) -> None:
    net = net_of(python("c", "Counter", "", "c") + layer("p", "Power", "c", "y", "power_param { scale: 2 }"), tmp_path)
    assert net.blobs["c"].shape == (4,)
    for start in (0, 4, 8):
        assert net.forward()["y"].tolist() == [2 * n for n in range(start, start + 4)]


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_tops_may_be_reshaped_in_forward(tmp_path: Path, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHBREW_KERNELS", kernels)
    net = net_of(
        python("g", "Growing", "", "a b") + layer("t", "TanH", "a", "t") + layer("e", "Eltwise", "t b", "y"), tmp_path
    )
    for rows in (1, 2, 3):
        found = net.forward()["y"]
        assert_close(found, np.full((rows, 2), np.tanh(rows) + rows))


def test_two_sources_that_change_may_meet(tmp_path: Path) -> None:
    """After the first has changed and before the second has, what joins them would not fit: that is no mistake yet."""
    net = net_of(
        python("g", "Growing", "", "a") + python("h", "Growing", "", "b")
        + layer("r", "ReLU", "b", "b") + layer("e", "Eltwise", "a b", "y"), tmp_path
    )  # fmt: skip
    for rows in (1, 2, 3, 4):
        assert_close(net.forward()["y"], np.full((rows, 2), 2.0 * rows))
    net.layers[0].rows = 10  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"layer 'e' \(Eltwise\)"):
        net.forward()


def test_a_layer_in_place_leaves_what_is_there(tmp_path: Path) -> None:
    for below in ("ReLU", "Sigmoid"):  # a Sigmoid needs its top again: the layer gets memory of its own
        net = net_of(
            FORCE + inputs(x=(2, 3)) + layer("b", below, "x", "y") + python("n", "Nothing", "y", "y")
            + layer("p", "Power", "y", "z", "power_param { scale: 3 }"), tmp_path
        )  # fmt: skip
        net.blobs["x"].data[...] = np.arange(6).reshape(2, 3) + 1
        net.forward()
        x = net.blobs["x"].data.astype(np.float64)
        y, slope = (x, 1) if below == "ReLU" else (1 / (1 + np.exp(-x)), np.exp(-x) / (1 + np.exp(-x)) ** 2)
        assert_close(net.blobs["z"].data, 3 * y)
        net.blobs["z"].diff[...] = 1
        net.backward()
        assert_close(net.blobs["x"].diff, 3 * slope * np.ones((2, 3)))


def test_gradients_are_asked_for_only_where_needed(tmp_path: Path) -> None:
    net = net_of(inputs(x=(2, 3)) + python("s", "Times", "x", "y", rest="loss_weight: 1"), tmp_path)
    net.blobs["x"].diff[...] = 9
    net.forward()
    net.backward()
    assert (net.blobs["x"].diff == 9).all()


def test_the_engine_runs_them_in_double_precision() -> None:
    net = engine_net(FORCE + inputs(x=(2, 3)) + python("s", "Scaled", "x", "y"), dtype=np.float64)
    net.blobs["x"].data[...] = 1 / 3
    net.forward()
    assert np.array_equal(net.blobs["y"].data, np.full((2, 3), 3 * (1 / 3)))
    assert net.uncut


# --- mistakes


def mistake(tmp_path: Path, source: str) -> str:
    with pytest.raises(UserError) as caught:
        net_of(inputs(x=(2, 3)) + source, tmp_path)
    return str(caught.value).partition("layer 'p' (Python): ")[2]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert mistake(tmp_path, python("p", "Timess", "x", "y")) == (
        "module 'pycaffe_support' has no class 'Timess' - did you mean 'Times'?"
    )
    assert mistake(tmp_path, python("p", "Foreign", "x", "y")) == (
        "'pycaffe_support.Foreign' is no Python layer: derive it from caffe.Layer"
    )
    assert mistake(tmp_path, python("p", "Times", "x", "y").replace("pycaffe_support", "nowhere_at_all")) == (
        "there is no module 'nowhere_at_all': its folder must be in PYTHONPATH"
    )


def test_a_module_that_cannot_be_imported_shows_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy.py").write_text("import something_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    source = inputs(x=(2, 3)) + python("p", "Times", "x", "y").replace("pycaffe_support", "needy")
    with pytest.raises(ModuleNotFoundError, match="something_that_is_not_there") as caught:
        net_of(source, tmp_path)
    assert caught.value.__notes__ == [f"{tmp_path}/net.prototxt:2:1: layer 'p' (Python, needy.Times): in import"]


@pytest.mark.parametrize("where", ["setup", "reshape", "forward", "backward"])
def test_exceptions_pass_on_with_the_name_of_the_layer(tmp_path: Path, where: str) -> None:
    with pytest.raises(RuntimeError, match=f"^broken in {where}") as caught:
        net = net_of(FORCE + inputs(x=(2, 3)) + python("bad", "Broken", "x", "y", text=where), tmp_path)
        net.forward()
        net.backward()
    (note,) = caught.value.__notes__
    assert note.endswith(f"layer 'bad' (Python, pycaffe_support.Broken): in {where}")


def test_parameters_can_only_be_added_in_setup(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"add_blob: a layer's parameters are declared in setup\(\)"):
        net_of(inputs(x=(2, 3)) + python("l", "Late", "x", "y"), tmp_path)


def test_what_is_not_implemented_is_named() -> None:
    empty = pycaffe_support.Empty()
    empty.setup([], [])
    for name, arguments in (("reshape", "bottom, top"), ("forward", "bottom, top"), ("backward", "top, propagate_")):
        with pytest.raises(NotImplementedError, match=rf"^Empty does not implement {name}\({arguments}"):
            getattr(empty, name)(*[[]] * (3 if name == "backward" else 2))


def test_the_environment_allows_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caffe.allow_python_layers(False)
    for value, allowed in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv("BATCHBREW_PYTHON_LAYERS", value)
        assert python_layers_allowed() is allowed
    assert net_of(CHAIN, tmp_path).outputs == ["three"]


# --- the command line

MODULE = """
import caffe
import numpy as np

class Loss(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(1)
    def reshape(self, bottom, top):
        top[0].reshape(1)
    def forward(self, bottom, top):
        self.gap = bottom[0].data - self.blobs[0].data[0]
        top[0].data[0] = np.mean(self.gap ** 2) / 2
    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] -= np.mean(self.gap) * top[0].diff[0]
"""
NET = """
layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 4 dim: 1 } data_filler { value: 2 } } }
layer { name: "l" type: "Python" bottom: "x" top: "loss" loss_weight: 1
        python_param { module: "mine" layer: "Loss" } }
"""


@pytest.mark.parametrize("command", ["test", "time"])
def test_the_command_line_runs_them_where_allowed(tmp_path: Path, command: str) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "net.prototxt").write_text(NET)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "BATCHBREW_PYTHON_LAYERS": "1", "GLOG_minloglevel": "0"}
    arguments = [sys.executable, "-m", "batchbrew", command, "--model=net.prototxt", "--iterations=2"]
    if command == "test":
        message = pb.NetParameter(layer=[pb.LayerParameter(name="l", blobs=[{"shape": {"dim": [1]}, "data": [5]}])])
        (tmp_path / "w.caffemodel").write_bytes(message.SerializeToString())
        arguments.append("--weights=w.caffemodel")
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("loss = 4.5" if command == "test" else "Average Forward pass") in done.stderr
    environment.pop("BATCHBREW_PYTHON_LAYERS")
    refused = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "layer 'l' (Python): would run code of the module 'mine'" in refused.stderr
    assert "Traceback" not in refused.stderr
