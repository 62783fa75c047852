"""Every layer against what Caffe 1.0 computed: outputs, gradients, and parameters that a forward pass changes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from engine_support import KERNEL_SETS, RECORDINGS, REFERENCE, assert_close, net_of

from batchbrew.protos import messages as pb

RECORDED = REFERENCE / "caffe_layers.h5"
LARGE = ("conv_rgb32", "net_cifar10_full", "net_cifar10_quick", "net_lenet")


def recorded_names() -> list[str]:
    with h5py.File(RECORDED) as file:
        return list(file)


def replay(case: h5py.Group, kernels: str, dtype: type = np.float32) -> None:
    """Run one recorded case and compare all that was recorded."""
    net = net_of(
        case.attrs["prototxt"], pb.TRAIN if case.attrs["phase"] == "TRAIN" else pb.TEST, kernels=kernels, dtype=dtype
    )
    for layer, blobs in case.get("param", {}).items():
        for index, values in blobs.items():
            net.params[layer][int(index)].data[...] = values[()]
    for name, values in case["input"].items():
        net.blobs[name].data[...] = values[()]
    net.forward()
    for name, values in case["output"].items():
        assert_close(net.blobs[name].data, values[()], what=f"output {name}")
    for layer, blobs in case.get("param_after", {}).items():
        for index, values in blobs.items():
            assert_close(net.params[layer][int(index)].data, values[()], what=f"{layer}[{index}] after forward")
    if "input_diff" not in case and "param_diff" not in case:
        return
    for name, values in case.get("top_diff", {}).items():
        net.blobs[name].diff[...] = values[()]
    net.flat.grads[...] = 0
    net.backward()
    for name, values in case.get("input_diff", {}).items():
        assert_close(net.blobs[name].diff, values[()], what=f"gradient of {name}")
    for layer, blobs in case.get("param_diff", {}).items():
        for index, values in blobs.items():
            assert_close(net.params[layer][int(index)].grad, values[()], what=f"gradient of {layer}[{index}]")


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("name", recorded_names())
def test_agrees_with_caffe(name, kernels):
    with h5py.File(RECORDED) as file:
        replay(file[name], kernels)


@pytest.mark.parametrize("name", recorded_names())
def test_float64_agrees_with_caffe(name):
    with h5py.File(RECORDED) as file:
        replay(file[name], "reference", np.float64)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("name", LARGE)
def test_large_case_agrees_with_caffe(name, kernels):
    if not (RECORDINGS / "layers.h5").exists():
        pytest.skip("the full recordings of Caffe are not beside the project")
    with h5py.File(RECORDINGS / "layers.h5") as file:
        replay(file[name], kernels)


def test_the_recordings_hold_what_they_should():
    assert len(recorded_names()) == 92
