"""What cannot fit into memory is refused in one line, before anything is made."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from engine_support import inputs, layer, net_of

from batchbrew.cli import run
from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver import memory
from batchbrew.solver.blob import aligned_zeros
from batchbrew.solver.kernels import compile_program

MIB = 1 << 20


@pytest.fixture
def small(monkeypatch):
    """A machine of 64 MiB."""
    monkeypatch.setattr(memory, "installed", lambda: 64 * MIB)


def test_parameters(small):
    wide = inputs(x=(1, 4096)) + layer("ip", "InnerProduct", "x", "y", "inner_product_param { num_output: 4096 }")
    with pytest.raises(UserError) as error:
        net_of(wide)
    problem = "16,781,312 parameters with their gradients would take 0.2 GiB of memory, there are 0.1 GiB"
    assert str(error.value) == problem
    assert net_of(wide.replace("4096", "256")).parameters == 256 * 257


def test_blobs(small):
    """A net may be built whose blobs do not fit for its whole batch; it cannot be run as one."""
    tall = inputs(x=(1024, 16, 32, 32)) + layer("r", "ReLU", "x", "y") + layer("s", "ReLU", "y", "z")
    net = net_of(tall)
    with pytest.raises(UserError, match=r"^the blobs of 3 layers would take 0\.4 GiB of memory, there are 0\.1 GiB$"):
        net.forward()
    net_of(tall.replace("1024", "64")).forward()


def test_layers_in_place_count_once(small):
    """Six blobs of 8 MiB with gradients would be 96 MiB."""
    chain = "".join(layer(f"d{i}", "Dropout", "y", "y") for i in range(4))
    net_of(inputs(x=(128, 16, 32, 32)) + layer("d", "Dropout", "x", "y") + chain, pb.TEST).forward()


def test_one_array(small):
    with pytest.raises(UserError, match=r"^an array of 100,000,000 values would take 0\.4 GiB of memory, there are "):
        aligned_zeros(100_000_000, np.float32)


def test_what_the_system_refuses(monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(np, "zeros", full)
    with pytest.raises(UserError, match=r"^out of memory: no room for an array of 1,000 values$"):
        aligned_zeros(1000, np.float32)


def test_a_limit_of_the_process_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (MIB, MIB))
    with pytest.raises(UserError, match=r"^x would take 1\.0 GiB of memory, there are 0\.0 GiB$"):
        memory.require(1 << 30, "x")
    memory.require(MIB, "x")


def test_a_limit_of_the_container_counts(monkeypatch, tmp_path):
    for content, limit in (("1048576\n", MIB), ("max\n", None), ("9223372036854771712", None)):
        (tmp_path / "max").write_text(content)
        monkeypatch.setattr(memory, "_CGROUP", (tmp_path / "max", tmp_path / "none"))
        memory.installed.cache_clear()
        assert (memory.installed() == limit) == (limit is not None)
    memory.installed.cache_clear()


@pytest.mark.parametrize(
    "dims", ["dim: 2000000000", "dim: 2000000000 dim: 2000000000", "dim: 2 dim: 9223372036854775807"]
)
def test_absurd_sizes_are_one_line(dims, tmp_path, capfd):
    path = tmp_path / "n.prototxt"
    path.write_text(
        f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'
        'layer { name: "i" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2000000000 axis: 0 } }'
    )
    assert run(["check", str(path)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"batchbrew: error: {path}:1:")
    assert "would have more than 2147483647 elements" in err
    assert err.count("\n") == 1


def test_the_command_line_survives_what_nothing_foresaw(monkeypatch, capfd):
    for problem, said in (
        (MemoryError(), "out of memory"),
        (PermissionError(13, "Permission denied", "a/b"), "a/b: Permission denied"),
        (OSError("odd"), "odd"),
    ):

        def fail(_, problem=problem):
            raise problem

        monkeypatch.setattr("batchbrew.cli.check.check_file", fail)
        assert run(["check", "x"]) == 2
        assert capfd.readouterr() == ("", f"batchbrew: error: {said}\n")


@pytest.mark.parametrize(
    ("shape", "kind", "rest", "what"),
    [
        ((1, 1, 4, 4), "Im2col", "", "Im2col"),
        ((1, 1, 4, 4, 4), "Convolution", "num_output: 1", "a convolution"),
    ],
)
def test_padding_of_a_reference_kernel(shape, kind, rest, what):
    """What a NumPy kernel needs for itself shows only when it runs."""
    rest = f"convolution_param {{ kernel_size: 1 pad: 1000000000 stride: 2000000000 {rest} }}"
    with pytest.raises(UserError, match=rf"^the padded input of {what} would take [\d,.]+ GiB of memory, there are "):
        net_of(inputs(x=shape) + layer("one", kind, "x", "y", rest)).forward()


def test_a_reference_kernel_that_finds_no_memory():
    def greedy():
        raise MemoryError("no room for 5 TiB")

    with pytest.raises(UserError, match=r"^out of memory in greedy: no room for 5 TiB$"):
        compile_program([(greedy, ())], "reference").run()
