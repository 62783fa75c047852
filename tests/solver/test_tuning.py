"""The choice of algorithms by measurement."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import KERNEL_SETS, inputs, layer, net_of

from batchbrew.protos import messages as pb
from batchbrew.solver import tuning
from batchbrew.solver.layers.algorithm import UPDATE, Case
from batchbrew.solver.tuning import MAX_ERROR, Trial, cases, fastest, trials


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(("size", "taps", "pad"), [((9, 7), 3, (1, 0)), ((6, 6), 5, (2, 2)), ((9, 9), 3, (-1, -2))])
def test_trials(size, taps, pad, gradient, kernels):
    ticks = iter(range(1000))
    found = trials(Case(gradient, 5, 18, size, taps, pad), kernels, lambda: float(next(ticks)), rounds=2)
    assert list(found) == [0, 2, 4]
    for trial in found.values():
        assert 0 < trial.seconds <= 1 / tuning.PICTURES + 1 / UPDATE and 0 <= trial.error < MAX_ERROR


@pytest.mark.parametrize(("measured", "wanted"), [
    ({0: (5.0, 1e-6), 2: (3.0, 1e-6), 4: (2.0, 1e-5)}, 4),
    ({0: (5.0, 1e-6), 2: (3.0, 1e-6), 4: (2.0, 1e-4)}, 2),
    ({0: (5.0, 1e-6), 2: (3.0, np.nan), 4: (4.9, 1e-6)}, 0),
    ({0: (5.0, 1e-6)}, 0),
])  # fmt: skip
def test_the_fastest_that_is_exact_enough(measured, wanted, monkeypatch):
    monkeypatch.setattr(tuning, "trials", lambda *given: {tile: Trial(*each) for tile, each in measured.items()})
    assert fastest(Case(False, 1, 1, (4, 4), 3, (1, 1)), "reference", lambda: 0.0) == wanted


def test_cases_are_the_passes_a_net_makes():
    def found(kind, lr, phase=pb.TRAIN):
        each = f"param {{ lr_mult: {lr} }} convolution_param {{ num_output: 6 kernel_size: 3 bias_term: false }}"
        two = layer("a", kind, "x", "a", each) + layer("b", kind, "a", "b", each + "loss_weight: 1")
        return set(cases(net_of(inputs(x=(2, 5, 8, 8)) + two, phase).wiring))

    narrow, wide = (0, 0), (2, 2)
    first, second = Case(False, 5, 6, (8, 8), 3, narrow), Case(False, 6, 6, (6, 6), 3, narrow)
    gradients = {Case(True, 5, 6, (8, 8), 3, narrow), Case(True, 6, 6, (6, 6), 3, narrow)}
    back = Case(False, 6, 6, (4, 4), 3, wide)  # x wants no gradient
    assert found("Convolution", 1) == {first, second, back} | gradients
    assert found("Convolution", 0) == {first, second}
    first, second = Case(False, 5, 6, (8, 8), 3, wide), Case(False, 6, 6, (10, 10), 3, wide)
    gradients = {Case(True, 6, 5, (10, 10), 3, narrow), Case(True, 6, 6, (12, 12), 3, narrow)}
    back = Case(False, 6, 6, (12, 12), 3, narrow)
    assert found("Deconvolution", 1) == {first, second, back} | gradients
