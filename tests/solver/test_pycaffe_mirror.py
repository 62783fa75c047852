"""The arrays of pycaffe: float32 in C order, live, and writable in every way in which NumPy arrays are written."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycaffe_support import net_of, python, python_layers, small

from batchbrew.solver import pycaffe as caffe
from batchbrew.solver.pycaffe import mirror

Array = np.ndarray

SHARED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } }
layer { name: "one" type: "Scale" bottom: "x" top: "y" param { name: "w" } }
layer { name: "r" type: "Reshape" bottom: "y" top: "r" reshape_param { shape { dim: 0 dim: 2 dim: 2 } } }
layer { name: "two" type: "Scale" bottom: "r" top: "z" param { name: "w" share_mode: PERMISSIVE }
  scale_param { num_axes: 2 } }
"""

__all__ = ["python_layers"]


@pytest.fixture
def net(tmp_path: Path) -> caffe.Net:
    return small(tmp_path)


BLOBS: dict[str, Callable[[caffe.Net], caffe.Blob]] = {
    "pictures": lambda net: net.blobs["conv"],
    "rows": lambda net: net.blobs["ip_blob"],
    "filters": lambda net: net.params["conv"][0],
    "bias": lambda net: net.params["conv"][1],
    "weights": lambda net: net.params["ip"][0],
}


def engines(net: caffe.Net, name: str, what: str) -> Array:
    """Return the engine's own array behind a blob."""
    engine = net._net
    if name in {"pictures", "rows"}:
        return getattr(engine.whole.blob({"pictures": "conv", "rows": "ip_blob"}[name]), what)
    layer, i = {"filters": ("conv", 0), "bias": ("conv", 1), "weights": ("ip", 0)}[name]
    parameter = engine.params[layer][i]
    return parameter.data if what == "data" else parameter.grad


def by_address(array: Array) -> None:
    given = np.full(array.shape, 6, np.float32)
    ctypes.memmove(array.ctypes.data, given.ctypes.data, given.nbytes)


def in_one_line(array: Array) -> None:
    array.shape = (array.size,)  # of this array only, not of the blob
    array[1] = 3


def increase(array: Array) -> None:
    array += 2


WRITES: dict[str, Callable[[Array], object]] = {
    "all": lambda a: a.__setitem__(..., np.arange(a.size).reshape(a.shape)),
    "first": lambda a: a.__setitem__(0, 7),
    "part": lambda a: a[:2].reshape(-1).__setitem__(1, 7),
    "mask": lambda a: a.__setitem__(a <= 0, 8),
    "flat": lambda a: setattr(a, "flat", range(a.size)),
    "sum": increase,
    "product": lambda a: a.__imul__(0),
    "copyto": lambda a: np.copyto(a, np.arange(a.size).reshape(a.shape)),
    "reshaped": lambda a: a.reshape(len(a), -1).__setitem__(slice(None), 4),
    "ravelled": lambda a: a.ravel().__setitem__(0, 4),
    "bits": lambda a: a.view(np.uint32).__setitem__(..., 0x3F800000),
    "bytes": lambda a: memoryview(a).cast("B").__setitem__(slice(0, 4), b"\0\0\x80?"),
    "address": by_address,
    "shape": in_one_line,
    "out": lambda a: np.add(a, 3, out=a),
    "random": lambda a: np.random.default_rng(3).random(out=a, dtype=np.float32),
    "add at": lambda a: np.add.at(a.reshape(-1), [0, 0], 2),
    "fill": lambda a: a.fill(5),
    "sort": lambda a: a[::-1].sort(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("what", ["data", "diff"])
@pytest.mark.parametrize("name", BLOBS)
def test_whatever_is_written_counts(net: caffe.Net, name: str, what: str, write: Callable[[Array], object]) -> None:
    engine = engines(net, name, what)
    engine[...] = np.random.default_rng(0).integers(-9, 9, engine.shape)
    expected = np.array(engine, np.float32, order="C")
    write(expected)
    expected.shape = engine.shape
    assert not np.array_equal(expected, engine)
    write(getattr(BLOBS[name](net), what))
    shown = getattr(BLOBS[name](net), what)
    assert (shown.dtype, shown.shape, shown.flags.c_contiguous) == (np.float32, engine.shape, True)
    assert np.array_equal(shown, expected)
    with mirror.engines_turn():
        assert np.array_equal(engine, expected)
    assert np.array_equal(getattr(BLOBS[name](net), what), expected)


def test_arrays_that_are_held_show_what_has_become_of_them(net: caffe.Net) -> None:
    conv, filters, picture = net.blobs["conv"].data, net.params["conv"][0].data, net.blobs["data"].data[2]
    gradient = net.params["conv"][0].diff[3]
    for _ in range(2):
        filters[...] *= -1.5
        net.forward()
        net.backward()
        around = np.pad(picture, ((0, 0), (3, 3), (3, 3)))
        windows = np.lib.stride_tricks.sliding_window_view(around, (2, 2), axis=(1, 2))
        expected = np.einsum("chwuv,kcuv->khw", windows, filters) + 2
        assert np.allclose(conv[2], expected, atol=1e-4)
        assert np.allclose(gradient, net._net.params["conv"][0].grad[3], rtol=1e-6)
        assert np.shares_memory(net.blobs["conv"].data, conv)


def test_arrays_that_nobody_holds_take_no_memory(net: caffe.Net) -> None:
    shapes = {name: blob.data.shape for name, blob in net.blobs.items()}
    assert shapes["conv"] == (5, 6, 8, 9)
    assert mirror._MIRRORS
    held = net.blobs["conv"].data[0, 1:]
    net.forward()
    assert len(mirror._MIRRORS) == 1
    del held
    net.forward()
    assert not mirror._MIRRORS


def test_the_arrays_of_a_net_outlive_it_but_its_other_memory_does_not(net: caffe.Net, tmp_path: Path) -> None:
    other = small(tmp_path)
    filters = other.params["conv"][0].data
    expected = filters.copy()
    assert other.blobs["conv"].data.size
    del other
    gc.collect()
    assert len(mirror._MIRRORS) == 1
    assert np.array_equal(filters, expected)


def test_an_array_of_another_shape_than_todays_is_left_behind(net: caffe.Net) -> None:
    blob = net.blobs["data"]
    before = blob.data
    before[...] = 1
    blob.reshape(3, 2, 3, 4)
    blob.data[...] = 2
    before[...] = 3
    net.forward(start="conv", end="ip")
    assert (net._net.whole.blob("data").data == 2).all()
    assert (blob.data == 2).all()


def test_functions_called_between_layers_see_and_write(net: caffe.Net) -> None:
    conv, ip = net.blobs["conv"].data, net.params["ip"]
    seen = []

    def erase(layer: int) -> None:
        if layer == 1:
            seen.append(conv.copy())
            conv.reshape(-1)[:] = 0

    net.after_forward(erase)
    net.forward()
    assert seen[0].any()
    assert np.allclose(net.blobs["ip_blob"].data, ip[1].data)


def test_parameters_shared_in_another_shape_share_gradients(tmp_path: Path) -> None:
    net = net_of(SHARED, tmp_path)
    one, two = net.params["one"][0], net.params["two"][0]
    assert (one.data.shape, two.data.shape) == ((4,), (2, 2))
    mine, theirs = one.diff, two.diff
    mine[...] = [1, 2, 3, 4]
    assert theirs.tolist() == [[1, 2], [3, 4]]
    theirs[1, 1] = 5
    two.data[0, 1] = 6
    net.save(str(tmp_path / "model"))
    assert mine.tolist() == [1, 2, 3, 5]
    assert net._net.params["one"][0].grad.tolist() == [1, 2, 3, 5]
    assert one.data[1] == 6


@pytest.mark.usefixtures("python_layers")
def test_what_is_written_waits_while_another_net_is_made(net: caffe.Net, tmp_path: Path) -> None:
    net.blobs["conv"].data[...] = 1
    source = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }'
    other = net_of(source + python("t", "Times", "x", "y"), tmp_path)
    assert (net.blobs["conv"].data == 1).all()
    other.forward()
    assert np.allclose(net.forward(start="ip", end="ip")["ip_blob"], net.params["ip"][0].data.sum(1) - 3, atol=1e-4)


@pytest.mark.usefixtures("python_layers")
def test_arrays_are_live_after_a_pass_that_failed(tmp_path: Path) -> None:
    source = (
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }'
        'layer { name: "p" type: "Power" bottom: "x" top: "y" power_param { scale: 3 } }'
        + python("b", "Broken", "y", "z", text="forward")
    )
    net = net_of(source, tmp_path)
    given, made = net.blobs["x"].data, net.blobs["y"].data
    given[...] = 2
    with pytest.raises(RuntimeError, match="broken in forward"):
        net.forward()
    assert (made == 6).all()
    made[...] = 5
    assert (net.blobs["y"].data == 5).all()
