"""pycaffe's Net and Blob: what scripts see, run and change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycaffe_support import CLASSES, NET, net_of, small

from batchbrew.errors import UserError
from batchbrew.solver import pycaffe as caffe

INPUT = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "z" }
force_backward: true
"""


@pytest.fixture
def net(tmp_path: Path) -> caffe.Net:
    return small(tmp_path)


# --- names and parts


def test_names_and_parts(net: caffe.Net) -> None:
    assert net.top_names == OrderedDict(
        [("data", ["data", "label"]), ("conv", ["conv"]), ("ip", ["ip_blob"]), ("loss", ["loss"])]
    )
    assert net.bottom_names == OrderedDict(
        [("data", []), ("conv", ["data"]), ("ip", ["conv"]), ("loss", ["ip_blob", "label"])]
    )
    assert (net.inputs, net.outputs, net._outputs) == ([], ["loss"], [4])
    assert list(net.layer_dict) == net._layer_names == ["data", "conv", "ip", "loss"]
    assert [layer.type for layer in net.layers] == ["DummyData", "Convolution", "InnerProduct", "SoftmaxWithLoss"]
    assert all(net.layer_dict[name] is layer for name, layer in zip(net._layer_names, net.layers, strict=True))
    assert net.blob_loss_weights == {"data": 0, "label": 0, "conv": 0, "ip_blob": 0, "loss": 1}
    assert (net._top_ids(0), net._bottom_ids(3)) == ([0, 1], [3, 1])
    assert {name: [blob.shape for blob in blobs] for name, blobs in net.params.items()} == {
        "conv": [(6, 2, 2, 2), (6,)],
        "ip": [(CLASSES, 6 * 8 * 9), (CLASSES,)],
    }
    assert net.blobs is net.blobs
    assert net.layers[1].blobs[0] is net.params["conv"][0]


def test_splits_are_layers_and_blobs(tmp_path: Path) -> None:
    source = INPUT + 'layer { name: "more" type: "ReLU" bottom: "x" top: "w" }'
    net = net_of(source, tmp_path, caffe.TEST)
    assert net._layer_names == ["x", "x_x_0_split", "ip", "relu", "more"]
    assert list(net.blobs) == ["x", "x_x_0_split_0", "x_x_0_split_1", "y", "z", "w"]
    assert (net.inputs, net._inputs, net.outputs) == (["x"], [0], ["w", "z"])


def test_blobs_live_longer_than_their_net(net: caffe.Net) -> None:
    blobs, params = net.blobs.values(), [blob for blobs in net.params.values() for blob in blobs]
    arrays = [net.blobs["conv"].data, net.params["ip"][0].data]
    net.forward()
    net.backward()
    del net
    assert all(np.isfinite(blob.data).all() and np.isfinite(blob.diff).all() for blob in [*blobs, *params])
    assert all(array.any() for array in arrays)


LEVELS = """
layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 dim: 3 } } }
""" + "".join(
    f'layer {{ name: "{name}" type: "InnerProduct" bottom: "data" top: "{name}" {rule} '
    "inner_product_param { num_output: 1 } }\n"
    for name, rule in [
        ("Any", ""),
        ("Only0", "include { min_level: 0 max_level: 0 }"),
        ("Level>=1", "include { min_level: 1 }"),
        ("A", 'include { stage: "A" }'),
        ("AorB", 'include { stage: "A" } include: { stage: "B" }'),
        ("AandB", 'include { stage: "A" stage: "B" }'),
        ("Test", "include { phase: TEST }"),
    ]
)


@pytest.mark.parametrize(
    ("phase", "options", "names"),
    [
        (caffe.TRAIN, {}, ["Any", "Only0"]),
        (caffe.TEST, {"level": 1}, ["Any", "Level>=1", "Test"]),
        (caffe.TRAIN, {"stages": ["A"]}, ["Any", "Only0", "A", "AorB"]),
        (caffe.TRAIN, {"stages": ["B"]}, ["Any", "Only0", "AorB"]),
        (caffe.TRAIN, {"stages": ["A", "B"], "level": 2}, ["Any", "Level>=1", "A", "AorB", "AandB"]),
    ],
)
def test_phase_level_and_stages_choose_layers(tmp_path: Path, phase: int, options, names) -> None:  # type: ignore[no-untyped-def]
    net = net_of(LEVELS, tmp_path, phase, **options)
    assert [name for name in net.blobs if "data" not in name] == names
    assert list(net.blobs["data"].shape) == [1, 3]


# --- passes


def test_labels_written_once_stay(net: caffe.Net) -> None:
    for _ in range(2):
        loss = net.forward()["loss"]
        scores = net.blobs["ip_blob"].data.astype(np.float64)
        own = scores[np.arange(5), np.arange(5)]
        assert loss == pytest.approx(np.mean(np.log(np.exp(scores).sum(1)) - own), rel=1e-4)


def test_a_range_of_layers_runs_forward(net: caffe.Net) -> None:
    given = np.random.default_rng(0).random(net.blobs["conv"].shape)
    net.blobs["conv"].data[:] = given
    found = net.forward(start="ip", end="ip")
    weights, bias = (blob.data for blob in net.params["ip"])
    assert list(found) == ["ip_blob"]
    assert np.allclose(found["ip_blob"], given.reshape(5, -1) @ weights.T + bias, rtol=1e-3, atol=1e-4)
    assert np.shares_memory(found["ip_blob"], net.blobs["ip_blob"].data)
    assert np.allclose(net.blobs["conv"].data, given)


def test_a_range_of_layers_runs_backward(net: caffe.Net) -> None:
    given = np.random.default_rng(0).random(net.blobs["ip_blob"].shape)
    net.blobs["ip_blob"].diff[:] = given
    found = net.backward(start="ip", end="ip")
    assert list(found) == ["conv"]
    expected = (given @ net.params["ip"][0].data).reshape(net.blobs["conv"].shape)
    assert np.allclose(found["conv"], expected, rtol=1e-3, atol=1e-4)


def test_arrays_are_given_and_taken_by_name(tmp_path: Path) -> None:
    net = net_of(INPUT, tmp_path)
    x = np.random.default_rng(0).normal(size=(3, 4))
    weights, bias = (blob.data for blob in net.params["ip"])
    found = net.forward(blobs=["y"], x=x)
    assert sorted(found) == ["y", "z"]
    y = x @ weights.T + bias
    assert np.allclose(found["y"], y, atol=1e-5)
    assert np.allclose(found["z"], np.maximum(y, 0), atol=1e-5)
    back = net.backward(diffs=["y"], z=np.ones((3, 2)))
    assert np.allclose(back["y"], y > 0)
    assert np.allclose(back["x"], (y > 0) @ weights, atol=1e-5)


IN_PLACE = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "y" top: "y" }
layer { name: "norm" type: "BatchNorm" bottom: "y" top: "y" }
layer { name: "tanh" type: "TanH" bottom: "y" top: "y" }
layer { name: "out" type: "Power" bottom: "y" top: "z" power_param { scale: 2 } }
force_backward: true
"""


def test_ranges_work_on_one_blob_where_layers_work_in_place(tmp_path: Path) -> None:
    net = net_of(IN_PLACE, tmp_path)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    net.blobs["x"].data[...] = x
    net.forward()
    y = net.blobs["y"].data
    assert np.allclose(net.forward(end="ip")["y"], x @ net.params["ip"][0].data.T, atol=1e-5)
    net.forward(start="sigmoid", end="sigmoid")
    expected = 1 / (1 + np.exp(-x @ net.params["ip"][0].data.T))
    assert np.allclose(y, expected, atol=1e-5)
    y[...] = given = np.random.default_rng(1).normal(size=(3, 2))
    net.forward(start="norm")
    normed = (given - given.mean(0)) / np.sqrt(given.var(0) + 1e-5)
    assert np.allclose(net.blobs["z"].data, 2 * np.tanh(normed), atol=1e-4)
    assert np.shares_memory(net.blobs["y"].data, y)


def test_ranges_backward_read_the_gradient_that_is_written(tmp_path: Path) -> None:
    net = net_of(IN_PLACE, tmp_path)
    net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=(3, 4))
    net.forward(end="sigmoid")
    s = net.blobs["y"].data.astype(np.float64)
    net.forward(start="norm")
    given = np.random.default_rng(1).normal(size=(3, 2))
    net.blobs["y"].diff[...] = given
    net.backward(start="sigmoid", end="sigmoid")
    assert np.allclose(net.blobs["y"].diff, given * s * (1 - s), atol=1e-5)
    net.backward(start="ip")
    assert np.allclose(net.blobs["x"].diff, (given * s * (1 - s)) @ net.params["ip"][0].data, atol=1e-5)


def test_the_loss_of_a_range(net: caffe.Net) -> None:
    assert net._forward(0, 3) == pytest.approx(float(net.blobs["loss"].data))
    assert net._forward(0, 2) == 0
    net._backward(3, 0)
    assert net.blobs["data"].diff.any()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda net: net.forward(data=np.ones((3, 4))),
         "Input blob arguments do not match net inputs. They are x (found data)"),
        (lambda net: net.forward(x=np.ones((2, 4))), "Input is not batch sized: 'x' has shape (3, 4), found (2, 4)"),
        (lambda net: net.backward(y=np.ones((3, 2))),
         "Top diff arguments do not match net outputs. They are z (found y)"),
        (lambda net: net.backward(z=np.ones((4, 2))), "Diff is not batch sized: 'z' has shape (3, 2), found (4, 2)"),
        (lambda net: net.forward(end="rel"), "the net has no layer 'rel' - did you mean 'relu'?"),
        (lambda net: net.params["ip"][0].reshape(3, 4), "ip[0]: the shape (2, 4) of a net's parameter cannot become "
         "(3, 4): build a net whose layer has that shape"),
        (lambda net: net.layers[1].blobs.add_blob(1), "add_blob: a layer's parameters are declared in setup() of a "
         "Python layer, and only there"),
    ],
)  # fmt: skip
def test_mistakes_are_reported(tmp_path: Path, call, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError) as caught:
        call(net_of(INPUT, tmp_path))
    assert str(caught.value) == text


def test_any_number_of_samples_is_run_in_batches(tmp_path: Path) -> None:
    net = net_of(INPUT, tmp_path)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    weights, bias = (blob.data for blob in net.params["ip"])
    y = x @ weights.T + bias
    found = net.forward_all(blobs=["y"], x=x)
    assert np.allclose(found["y"], y, atol=1e-5)
    assert found["z"].shape == (8, 2)
    ahead, back = net.forward_backward_all(diffs=["y"], x=x, z=np.ones((8, 2)))
    assert np.allclose(ahead["z"], np.maximum(y, 0), atol=1e-5)
    assert np.allclose(back["x"], (y > 0) @ weights, atol=1e-5)
    assert back["y"].shape == (8, 2)


def test_hooks_are_called_around_each_layer(net: caffe.Net) -> None:
    seen: list[tuple[str, int]] = []
    for when in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, when)(lambda layer, when=when: seen.append((when, layer)))
    net.forward()
    net.backward(start="ip")
    both = [(f"{when}_forward", i) for i in range(4) for when in ("before", "after")]
    assert seen == both + [(f"{when}_backward", i) for i in (2, 1, 0) for when in ("before", "after")]


def test_a_hook_sees_and_changes_gradients(net: caffe.Net) -> None:
    shown = net.params["ip"][0].diff
    sums = []

    def clip(layer: int) -> None:
        sums.append(float(np.abs(shown).sum()))
        if layer == 2:
            shown[...] = 1

    net.after_backward(clip)
    net.forward()
    net.backward()
    assert sums[0] == 0
    assert sums[1] > 0
    assert np.array_equal(shown, np.ones_like(shown))


def test_nets_without_outputs_return_nothing(tmp_path: Path) -> None:
    source = 'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 3 } } }'
    net = net_of(source + 'layer { name: "s" type: "Silence" bottom: "d" }', tmp_path)
    assert net.forward() == {}


# --- gradients


def test_gradients_add_up_until_cleared(net: caffe.Net) -> None:
    shown = net.params["conv"][0].diff
    assert shown.dtype == np.float32
    assert not shown.any()
    net.forward()
    net.backward()
    once = shown.copy()
    assert once.any()
    net.backward()
    assert np.allclose(shown, 2 * once, rtol=1e-5)
    net.clear_param_diffs()
    assert not shown.any()


def test_what_is_written_into_a_gradient_counts(net: caffe.Net) -> None:
    net.forward()
    net.backward()
    bias, weights = net.params["ip"][1].diff, net.params["ip"][0].diff
    first = bias.copy()
    exact = net._net.params["ip"][0].grad.copy()
    bias[0] = 100
    net.backward()
    assert bias[0] == pytest.approx(100 + first[0], rel=1e-5)
    assert np.allclose(bias[1:], 2 * first[1:], rtol=1e-5)
    assert np.array_equal(net._net.params["ip"][0].grad, 2 * exact)  # not rounded on the way
    assert np.allclose(weights, 2 * exact, rtol=1e-6)


# --- shapes


def test_a_reshaped_input_keeps_what_is_written_and_the_others_follow(tmp_path: Path) -> None:
    net = net_of(INPUT, tmp_path)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    net.blobs["x"].reshape(*x.shape)
    assert net.blobs["x"].shape == x.shape
    net.blobs["x"].data[...] = x
    weights, bias = (blob.data for blob in net.params["ip"])
    assert np.allclose(net.forward()["z"], np.maximum(x @ weights.T + bias, 0), atol=1e-5)
    net.blobs["x"].reshape(2, 4)
    net.reshape()
    assert net.blobs["z"].data.shape == (2, 2)
    assert (net.blobs["z"].num, net.blobs["z"].channels, net.blobs["z"].height, net.blobs["z"].count) == (2, 2, 1, 4)


def test_blobs_of_no_axes_and_of_many(tmp_path: Path) -> None:
    net = net_of('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 } } }', tmp_path)
    blob = net.blobs["x"]
    blob.reshape()
    assert (blob.data.shape, blob.count, blob.width) == ((), 1, 1)
    blob.reshape(1, 1, 1, 2, 3)
    assert blob.count == 6
    with pytest.raises(UserError, match=r"Cannot use legacy accessors \(num, channels, .*: \(1, 1, 1, 2, 3\)"):
        _ = blob.num
    with pytest.raises(TypeError):
        blob.reshape(dims=(1, 2))  # type: ignore[call-arg]


# --- files and sharing


def test_models_are_saved_and_read(net: caffe.Net, tmp_path: Path) -> None:
    net.save(str(tmp_path / "m.caffemodel"))
    net.save(tmp_path / "m.h5")
    assert (tmp_path / "m.h5").read_bytes()[:4] != b"\x89HDF"
    net.save_hdf5(str(tmp_path / "hdf5"))
    file = str(tmp_path / "net.prototxt")
    old = caffe.Net(file, str(tmp_path / "m.caffemodel"), caffe.TRAIN)
    new = caffe.Net(network_file=file, phase=caffe.TRAIN, weights=str(tmp_path / "hdf5"))
    third = caffe.Net(file, caffe.TRAIN)
    assert not np.array_equal(third.params["ip"][0].data, net.params["ip"][0].data)
    third.load_hdf5(str(tmp_path / "hdf5"))
    for other in (old, new, third):
        for name, blobs in net.params.items():
            for mine, theirs in zip(blobs, other.params[name], strict=True):
                assert np.array_equal(mine.data, theirs.data)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return the lines of the log since the last call, without what stands before the text."""
    monkeypatch.setenv("GLOG_minloglevel", "0")
    return lambda: [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]


def test_the_old_form_is_announced(net: caffe.Net, tmp_path: Path, said: Callable[[], list[str]]) -> None:
    net.save(str(tmp_path / "m.caffemodel"))
    caffe.Net(str(tmp_path / "net.prototxt"), str(tmp_path / "m.caffemodel"), caffe.TEST)
    found = said()
    assert found[0] == "DEPRECATION WARNING - deprecated use of Python interface"
    assert found[2] == f"Net('{tmp_path}/net.prototxt', 1, weights='{tmp_path}/m.caffemodel')"


def test_layers_a_net_has_not_are_named(net: caffe.Net, tmp_path: Path, said: Callable[[], list[str]]) -> None:
    net.save(tmp_path / "m.caffemodel")
    other = net_of(INPUT.replace('"ip"', '"other"'), tmp_path)
    said()
    other.copy_from(tmp_path / "m.caffemodel")
    assert said() == [f"Ignoring source layer {name}" for name in ("data", "conv", "ip", "loss")]


@pytest.mark.parametrize("missing", ["net", "weights", "copy"])
def test_missing_files_are_runtime_errors(net: caffe.Net, tmp_path: Path, missing: str) -> None:
    nowhere, here = str(tmp_path / "none"), str(tmp_path / "net.prototxt")
    with pytest.raises(RuntimeError, match=f"^Could not open file {nowhere}$"):
        if missing == "net":
            caffe.Net(nowhere, caffe.TEST)
        elif missing == "weights":
            caffe.Net(here, caffe.TEST, weights=nowhere)
        else:
            net.copy_from(nowhere)


def test_nets_share_values_but_not_gradients(net: caffe.Net, tmp_path: Path) -> None:
    other = small(tmp_path)
    other.share_with(net)
    net.params["ip"][0].data[...] = 0.5
    assert (other.params["ip"][0].data == 0.5).all()
    other.blobs["data"].data[...] = 1
    other.forward(start="conv")
    conv = other.blobs["conv"].data.reshape(5, -1)
    assert np.allclose(other.blobs["ip_blob"].data, 0.5 * conv.sum(1, keepdims=True) - 3, rtol=1e-4)
    other.backward()
    assert other.params["ip"][0].diff.any()
    assert not net.params["ip"][0].diff.any()
    del net
    assert (other.params["ip"][0].data == 0.5).all()


def test_nets_that_do_not_fit_cannot_share(net: caffe.Net, tmp_path: Path) -> None:
    wider = net_of(NET.replace(f"num_output: {CLASSES}", "num_output: 9"), tmp_path)
    with pytest.raises(
        UserError, match=r"Cannot share param 0 weights from layer 'ip'; shape mismatch\. Source param "
    ):
        wider.share_with(net)
    bare = net_of(NET.replace(f"num_output: {CLASSES}", f"bias_term: false num_output: {CLASSES}"), tmp_path)
    with pytest.raises(UserError, match="Incompatible number of blobs for layer ip: 1 here, 2 in the net to share"):
        bare.share_with(net)


# --- arrays in memory


MEMORY = """
layer { name: "m" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 2 channels: 1 height: 3 width: 4 } }
"""


def test_arrays_of_the_caller_are_read_in_order(tmp_path: Path) -> None:
    net = net_of(MEMORY, tmp_path)
    data, labels = np.random.default_rng(0).random((4, 1, 3, 4)).astype(np.float32), np.arange(4, dtype=np.float32)
    net.set_input_arrays(data, labels)
    for batch in (0, 2, 0):
        found = net.forward()
        assert np.array_equal(found["data"], data[batch : batch + 2])
        assert found["label"].ravel().tolist() == [batch, batch + 1]
    data[2:] = 7
    assert (net.forward()["data"] == 7).all()


@pytest.mark.parametrize(
    ("data", "labels", "text"),
    [
        (np.ones((4, 1, 3, 4)), np.ones(4, np.float32), "data array must be float32"),
        (np.ones((4, 12), np.float32), np.ones(4, np.float32), "data array must be 4-d"),
        (np.ones((4, 1, 4, 3), np.float32).swapaxes(2, 3), np.ones(4, np.float32), "data array must be C contiguous"),
        (np.ones((4, 2, 3, 4), np.float32), np.ones(4, np.float32), "data array has wrong number of channels"),
        (np.ones((4, 1, 4, 4), np.float32), np.ones(4, np.float32), "data array has wrong height"),
        (np.ones((4, 1, 3, 3), np.float32), np.ones(4, np.float32), "data array has wrong width"),
        (np.ones((4, 1, 3, 4), np.float32), np.ones(2, np.float32), "data and labels must have the same first dimension"),
        (np.ones((3, 1, 3, 4), np.float32), np.ones(3, np.float32),
         "first dimensions of input arrays must be a multiple of batch size"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_runtime_errors(tmp_path: Path, data, labels, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RuntimeError, match=f"^{text}$"):
        net_of(MEMORY, tmp_path).set_input_arrays(data, labels)


def test_only_memory_data_takes_arrays(net: caffe.Net) -> None:
    with pytest.raises(RuntimeError, match="may only be called if the first layer is a MemoryDataLayer"):
        net.set_input_arrays(np.ones((2, 1, 1, 1), np.float32), np.ones(2, np.float32))


# --- the process


def test_seeds_make_nets_reproducible_one_after_the_other(tmp_path: Path) -> None:
    def two() -> list[np.ndarray]:
        return [small(tmp_path).params["conv"][0].data for _ in range(2)]

    caffe.set_random_seed(5)
    first = two()
    assert not np.array_equal(*first)
    caffe.set_random_seed(5)
    assert all(map(np.array_equal, first, two()))
    caffe.set_random_seed(6)
    assert not np.array_equal(first[0], two()[0])


def test_what_the_process_is_told(said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    from batchbrew.solver.pycaffe import state

    monkeypatch.setattr(state, "_told_of_gpu", False)
    caffe.set_mode_cpu()
    caffe.set_device(1)
    for _ in range(2):
        caffe.set_mode_gpu()
    assert said() == ["There is no GPU mode here: nets are computed on the processor."]
    caffe.log("hello")
    assert said() == ["hello"]
    caffe.init_log(2)
    caffe.log("hidden")
    assert said() == []
    assert (caffe.solver_count(), caffe.solver_rank()) == (1, 0)
    caffe.set_solver_count(2)
    caffe.set_solver_rank(1)
    caffe.set_multiprocess(True)
    assert (caffe.solver_count(), caffe.solver_rank()) == (2, 1)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    assert {"Data", "Convolution", "InnerProduct", "Python"} <= set(caffe.layer_type_list())
    timer = caffe.Timer()
    timer.start()
    timer.stop()
    assert 0 <= timer.ms < 1000
    assert not caffe.has_nccl()
