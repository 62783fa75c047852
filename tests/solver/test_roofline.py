"""How near a layer comes to what the machine can do: the arithmetic, the measured limits, and work counted by layer."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest
from engine_support import COMPILED, inputs, layer, net_of

from batchbrew.solver import roofline
from batchbrew.solver.kernels import compile_program
from batchbrew.solver.roofline import Limit, Machine, measure_machine
from batchbrew.solver.timing import PassTime, time_layers, warm_up

MACHINE = Machine("avx2", 1, 100e9, ((1 << 10, 64e9), (1 << 20, 16e9)))


def test_the_bandwidth_lies_between_those_of_measured_sizes():
    assert MACHINE.bandwidth(1) == MACHINE.bandwidth(1 << 10) == 64e9
    assert MACHINE.bandwidth(1 << 15) == pytest.approx(40e9)
    assert MACHINE.bandwidth(1 << 20) == MACHINE.bandwidth(1 << 40) == 16e9


@pytest.mark.parametrize(
    ("flops", "size", "seconds", "limit"),
    [
        (50e9, 1, 1.0, Limit("FMA", 0.5)),
        (0, 8e9, 1.0, Limit("memory", 0.5)),
        (10e9, 8e9, 1.0, Limit("memory", 0.5)),
        (80e9, 8e9, 1.0, Limit("FMA", 0.8)),
        (0, 0, 1.0, None),
        (1e9, 1e9, 0.0, None),
    ],
)
def test_the_longer_of_the_two_bounds_is_the_limit(flops, size, seconds, limit):
    assert MACHINE.limit(flops, size, seconds) == limit
    assert PassTime(seconds, int(flops), int(size)).limit(MACHINE) == limit


def test_rates_of_a_pass():
    spent = PassTime(0.5, 3_000_000_000, 2_000_000_000)
    assert (spent.gflops, spent.gigabytes) == (6.0, 4.0)
    assert (PassTime(0.0, 1, 1).gflops, PassTime(0.0, 1, 1).gigabytes) == (0.0, 0.0)


@pytest.mark.parametrize("kernels", COMPILED)
def test_peak_loops_agree_with_the_reference(kernels):
    draw = np.random.default_rng(1)
    found = {}
    for name in (kernels, "reference"):
        draw = np.random.default_rng(1)
        v, x = (draw.normal(size=count).astype(np.float32) for count in (384, 640))
        total, y = np.ones(1, np.float32), np.zeros(640, np.float32)
        calls = [("peak_multiply_add", (v, 7)), ("peak_read", (x, total, 3)), ("peak_copy", (x, y, 2))]
        compile_program(calls, name).run()
        found[name] = np.concatenate([v, total, y])
    np.testing.assert_allclose(found[kernels], found["reference"], rtol=1e-4, atol=1e-4)
    assert np.abs(found[kernels]).min() > 0


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kernels", COMPILED)
def test_the_machine_is_measured(monkeypatch, kernels, threads):
    monkeypatch.setattr(roofline, "ROUNDS", 1000)
    monkeypatch.setattr(roofline, "MOVED", 1 << 18)
    machine = measure_machine(kernels, perf_counter, threads)
    assert machine is not None
    assert (machine.kernels, machine.threads) == (kernels, threads)
    assert machine.flops > 0
    assert [size for size, _ in machine.bandwidths] == list(roofline.SIZES)
    assert all(rate > 0 for _, rate in machine.bandwidths)


def test_reference_kernels_are_held_against_the_best_compiled_ones(monkeypatch):
    monkeypatch.setattr(roofline, "available", lambda: ["reference"])
    assert measure_machine("reference", perf_counter) is None


def test_operations_and_bytes_of_layers():
    net = net_of(
        inputs(x=(2, 3, 5, 5), label=(2,))
        + layer("conv", "Convolution", "x", "y", "convolution_param { num_output: 4 kernel_size: 3 }")
        + layer("relu", "ReLU", "y", "y")
        + layer("ip", "InnerProduct", "y", "z", "inner_product_param { num_output: 6 }")
        + layer("loss", "SoftmaxWithLoss", "z label", "loss")
    )
    warm_up(net)
    ticks = iter(range(1000))
    rows = {row.name: row for row in time_layers(net, 1, lambda: float(next(ticks))).layers}
    conv, relu, ip = rows["conv"], rows["relu"], rows["ip"]
    picture, maps, filters = 2 * 3 * 5 * 5, 2 * 4 * 3 * 3, 4 * 3 * 3 * 3 + 4
    assert conv.forward == PassTime(1.0, 2 * maps * 27, 4 * (picture + maps + filters))
    # No gradient of the input is wanted: its gradient is not written, the filters are not read; sums are doubles.
    assert conv.backward == PassTime(1.0, 2 * maps * 27, 4 * (maps + picture) + 8 * filters)
    assert (relu.forward.flops, relu.forward.bytes) == (0, 4 * 2 * maps)
    weights = 36 * 6 + 6
    assert ip.forward == PassTime(1.0, 2 * 2 * 36 * 6, 4 * (maps + 12 + weights))
    assert ip.backward == PassTime(1.0, 2 * 2 * 2 * 36 * 6, 4 * (12 + maps + weights + maps) + 8 * weights)
    assert rows["x"].forward.bytes == 0
