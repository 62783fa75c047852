"""Learning-rate policies against Caffe's printed values."""

from __future__ import annotations

import pytest
from engine_support import solver_of

from batchbrew.errors import UserError
from batchbrew.solver.schedules import POLICIES, rate

# settings -> {iteration: rate}, as Caffe prints them with %g
GOLDEN = {
    'lr_policy: "fixed" base_lr: 0.01': {0: 0.01, 10**9: 0.01},
    'lr_policy: "inv" base_lr: 0.01 gamma: 1e-4 power: 0.75': {
        0: 0.01, 100: 0.00992565, 200: 0.00985258, 500: 0.00964069, 1000: 0.00931012, 2100: 0.00866784,
        3000: 0.00821377, 9900: 0.00596843, 10000: 0.00594604,
    },
    'lr_policy: "step" base_lr: 0.01 gamma: 0.1 stepsize: 100000': {
        0: 0.01, 99999: 0.01, 100000: 0.001, 200000: 0.0001,
    },
    'lr_policy: "multistep" base_lr: 0.01 gamma: 0.9 stepvalue: 5000 stepvalue: 7000 stepvalue: 8000 stepvalue: 9000 '
    "stepvalue: 9500": {
        0: 0.01, 4999: 0.01, 5000: 0.009, 7000: 0.0081, 8999: 0.00729, 9000: 0.006561,
        9500: 0.0059049, 10**6: 0.0059049,
    },
    'lr_policy: "poly" base_lr: 0.01 power: 0.5 max_iter: 2400000': {
        40: 0.00999992, 4000: 0.00999166, 1200000: 0.00707107, 2399999: 6.45497e-06, 2400000: 0, 2500000: 0,
    },
    'lr_policy: "exp" base_lr: 0.01 gamma: 0.95': {0: 0.01, 1: 0.0095, 10: 0.00598737, 100: 5.92053e-05},
    'lr_policy: "sigmoid" base_lr: 0.01 gamma: 0.1 stepsize: 50': {
        0: 6.69285e-05, 25: 0.000758582, 50: 0.005, 100: 0.00993307, 10**6: 0.01,
    },
}  # fmt: skip


@pytest.mark.parametrize(("settings", "iteration", "wanted"), [
    (settings, iteration, wanted) for settings, values in GOLDEN.items() for iteration, wanted in values.items()
])  # fmt: skip
def test_golden(settings, iteration, wanted):
    assert rate(solver_of(settings), iteration) == pytest.approx(wanted, rel=2e-6)


def test_every_policy_has_values():
    assert {settings.split('"')[1] for settings in GOLDEN} == set(POLICIES)


def test_float32_settings_read_as_written():
    assert rate(solver_of('lr_policy: "fixed" base_lr: 0.001'), 0) == pytest.approx(0.001, rel=1e-7)


@pytest.mark.parametrize(("settings", "text"), [
    ("base_lr: 1", "solver: lr_policy is missing (known: exp, fixed, inv, multistep, poly, sigmoid, step)"),
    ('lr_policy: "stepp"',
     "solver: unknown lr_policy 'stepp' - did you mean 'step'? (known: exp, fixed, inv, multistep, "
                           "poly, sigmoid, step)"),
    ('lr_policy: "step" gamma: -1 stepsize: 2', "solver: gamma must not be negative for lr_policy 'step' (found -1)"),
    ('lr_policy: "step" gamma: 1', "solver: stepsize must be at least 1 for lr_policy 'step' (found 0)"),
    ('lr_policy: "sigmoid" gamma: 1 stepsize: -3',
     "solver: stepsize must be at least 1 for lr_policy 'sigmoid' (found -3)"),
    ('lr_policy: "poly"', "solver: lr_policy 'poly' needs max_iter of at least 1"),
    ('lr_policy: "exp" base_lr: 1 gamma: 10', "solver: lr_policy 'exp' gives no finite rate at update 400"),
    ('lr_policy: "poly" base_lr: 1 power: -1 max_iter: 400',
     "solver: lr_policy 'poly' gives no finite rate at update 400"),
])  # fmt: skip
def test_errors(settings, text):
    with pytest.raises(UserError) as error:
        rate(solver_of(settings), 400)
    assert str(error.value) == text
