"""Update rules by hand, for one weight; and the settings they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import KERNEL_SETS, data, inputs, layer, net_of, samples, solver_of

from batchbrew.errors import UserError
from batchbrew.solver.solvers import SOLVERS, make_solver

# f(w) = w^2 = (sqrt(2) w - 0)^2 / 2
SQUARE = (
    inputs(x=(1, 1), zero=(1, 1))
    + layer("ip", "InnerProduct", "x", "y", "inner_product_param { num_output: 1 bias_term: false }")
    + layer("loss", "EuclideanLoss", "y zero", "loss")
)
FIXED = 'lr_policy: "fixed" base_lr: 0.1'
TRAJECTORIES = [
    ('type: "SGD" momentum: 0.9', [0.8, 0.46, 0.062]),
    ('type: "Nesterov" momentum: 0.9', [0.62, 0.2224, -0.108352]),
    ('type: "SGD" momentum: 0.9 weight_decay: 0.5', [0.75, 0.3375, -0.118125]),
    ('type: "Nesterov" momentum: 0.9 weight_decay: 0.5', [0.525, 0.073125, -0.250171875]),
    ('type: "SGD" weight_decay: 0.5 regularization_type: "L1"', [0.75, 0.55, 0.39]),
    ('type: "SGD" clip_gradients: 0.5', [0.95, 0.9, 0.85]),
    ('type: "SGD" clip_gradients: 0.5 weight_decay: 1', [0.85, 0.715, 0.5935]),  # decay is not clipped
    ('type: "AdaGrad"', [0.9, 0.833103528, 0.780456182]),
    ('type: "AdaGrad" delta: 0.5', [0.92, 0.862815338, 0.816417735]),  # delta stands outside the root
    ('type: "RMSProp" rms_decay: 0.96', [0.500000012, 0.272727286, 0.150070147]),
    ('type: "RMSProp" rms_decay: 0.96 delta: 0.4 weight_decay: 1', [0.7, 0.512916874, 0.381612994]),
    ('type: "AdaDelta" momentum: 0.9', [0.999968377, 0.999935933, 0.999902927]),
    ('type: "AdaDelta" base_lr: 1 momentum: 0.95 delta: 1e-6', [0.995527875, 0.99100868, 0.986464462]),
    ('type: "Adam" momentum: 0.9', [0.900000016, 0.800412255, 0.701586309]),
    (
        'type: "AdaDelta" base_lr: 1 momentum: 0.5 delta: 0.25 weight_decay: 0.5',
        [0.319586183, -0.060128609, 0.030590451],
    ),
    ('type: "Adam" momentum: 0.9 momentum2: 0.5 delta: 0.3 weight_decay: 0.5', [0.914508405, 0.826280618, 0.736151033]),
]


def test_every_rule_is_tried():
    own = {name for name in SOLVERS if SOLVERS.get(name).__module__.startswith("batchbrew.")}
    assert own == {settings.split('"')[1] for settings, _ in TRAJECTORIES}


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize(("settings", "wanted"), TRAJECTORIES)
def test_trajectory_by_hand(settings, wanted, kernels):
    net = net_of(SQUARE, kernels=kernels)
    rest = 'lr_policy: "fixed"' if "base_lr" in settings else FIXED
    solver = make_solver(solver_of(f"{rest} {settings}"), net)
    net.params["ip"][0].data[...] = 1
    net.blobs["x"].data[...] = np.sqrt(2)
    for done, value in enumerate(wanted, start=1):
        net.zero_sums()
        net.forward()
        net.backward()
        solver.apply(solver.rate(solver.iter))
        assert solver.iter == done
        assert net.params["ip"][0].data[0, 0] == pytest.approx(value, abs=1e-6)


IP = "inner_product_param { num_output: 4 bias_filler { value: 1 } weight_filler { type: 'xavier' } }"
MULTIPLIERS = "param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 } "
LOSS = layer("loss", "SoftmaxWithLoss", "ip label", "loss")
NET = data(8) + layer("ip", "InnerProduct", "data", "ip", MULTIPLIERS + IP) + LOSS


def test_multipliers():
    net = net_of(NET, data=samples(20))
    solver = make_solver(solver_of(f'{FIXED} type: "SGD" weight_decay: 0.5'), net)
    weights, bias = (p.data.copy() for p in net.params["ip"])
    net.zero_sums()
    net.accumulate(np.arange(20), 0)
    solver.apply(0.1)
    dw, db = (p.grad / 20 for p in net.params["ip"])
    assert net.params["ip"][0].data == pytest.approx(weights - 0.1 * (dw + 0.5 * weights), abs=1e-6)
    assert net.params["ip"][1].data == pytest.approx(bias - 0.2 * db, abs=1e-6)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("kind", SOLVERS.names())
def test_the_update_is_left_where_the_gradient_was(kind, kernels):
    """Caffe's diff after an update is what was subtracted, and the divisor is what is given, not what was run."""
    settings = solver_of(f'{FIXED} type: "{kind}" weight_decay: 0.5')
    net, other = net_of(SQUARE, kernels=kernels), net_of(SQUARE, kernels=kernels)
    for one in (net, other):
        one.params["ip"][0].data[...] = 1
        one.params["ip"][0].grad[...] = 4
    make_solver(settings, net).apply_passes(0.1, 2)
    weight, gradient = (float(getattr(net.params["ip"][0], what)[0, 0]) for what in ("data", "grad"))
    assert 1 - weight == pytest.approx(gradient, rel=1e-2 if kind == "AdaDelta" else 1e-5)
    assert gradient > 0
    make_solver(settings, other).apply(0.1)
    assert other.params["ip"][0].grad[0, 0] == 4
    if kind in ("SGD", "Nesterov"):
        assert gradient == pytest.approx(0.1 * (4 / 2 + 0.5))
        assert other.params["ip"][0].data[0, 0] == pytest.approx(1 - 0.1 * (4 + 0.5))


@pytest.mark.parametrize("kind", SOLVERS.names())
def test_kernel_sets_agree(kind):
    """All kinds on 1000 weights, several updates, with L1 decay and clipping."""
    wide = (
        inputs(x=(1, 1), zero=(1, 1000))
        + layer("ip", "InnerProduct", "x", "y", "inner_product_param { num_output: 1000 bias_term: false }")
        + layer("loss", "EuclideanLoss", "y zero", "loss")
    )
    found = []
    for kernels in KERNEL_SETS:
        net = net_of(wide, kernels=kernels)
        solver = make_solver(
            solver_of(f'{FIXED} type: "{kind}" weight_decay: 0.2 regularization_type: "L1" clip_gradients: 30'), net
        )
        rng = np.random.default_rng(0)
        net.params["ip"][0].data[...] = rng.normal(size=(1000, 1))
        for i in range(4):
            net.flat.grads[:1000] = rng.normal(size=1000)
            solver.apply_passes(0.1 / (i + 1), 1)
        assert solver.clipping is not None
        assert solver.clipping.factor == pytest.approx(30 / solver.clipping.norm)
        found.append(net.flat.values[:1000].copy())
    for other in found[:-1]:
        assert other == pytest.approx(found[-1], abs=2e-6)


def test_the_step_of_adam_follows_a_restored_iteration():
    """After a restart the correction is that of update iter + 1, not of the first."""
    net = net_of(SQUARE)
    solver = make_solver(solver_of(f'{FIXED} type: "Adam" momentum: 0.9'), net)
    assert solver.step(1) == pytest.approx(np.sqrt(0.001) / 0.1, rel=1e-4)
    solver.iter = 99
    assert solver.step(1) == pytest.approx(np.sqrt(1 - 0.999**100) / (1 - 0.9**100), rel=1e-4)


def test_lr_mult_0_freezes_but_keeps_a_history():
    net = net_of(NET.replace("lr_mult: 1", "lr_mult: 0"), data=samples(20))
    solver = make_solver(solver_of(f'{FIXED} type: "SGD" weight_decay: 0.5 momentum: 0.9'), net)
    before = net.params["ip"][0].data.copy()
    net.zero_sums()
    net.accumulate(np.arange(20), 0)
    solver.apply(0.1)
    assert np.array_equal(net.params["ip"][0].data, before)
    assert solver.history[0].shape == net.flat.values.shape
    assert not solver.history[0][: before.size].any()


def test_lr_mult_0_lets_the_decay_into_the_means_as_in_caffe():
    net = net_of(NET.replace("lr_mult: 1", "lr_mult: 0"), data=samples(20))
    solver = make_solver(solver_of(f'{FIXED} type: "Adam" weight_decay: 0.5 momentum: 0.9'), net)
    before = net.params["ip"][0].data.copy()
    net.zero_sums()
    net.accumulate(np.arange(20), 0)
    solver.apply(0.1)
    assert np.array_equal(net.params["ip"][0].data, before)
    assert solver.history[0][: before.size] == pytest.approx(0.1 * 0.5 * net.flat.values[: before.size], rel=1e-5)


def test_clipping_measures_the_sum_of_iter_size_means():
    """Two passes of 10 samples each: Caffe clips the sum of their two means, and then halves it."""
    once = {}
    for passes in (1, 2):
        net = net_of(NET, data=samples(20))
        solver = make_solver(solver_of(f"{FIXED} iter_size: {passes} clip_gradients: 0.01"), net)
        before = net.flat.values.copy()
        net.zero_sums()
        net.accumulate(np.arange(20), 0)
        solver.apply(0.1)
        once[passes] = before - net.flat.values
    bias = slice(net.params["ip"][1].start, None)
    assert once[2][bias] == pytest.approx(once[1][bias] / 2, abs=2e-7)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_finite(kernels):
    net = net_of(NET, data=samples(20), kernels=kernels)
    solver = make_solver(solver_of(FIXED), net)
    net.zero_sums()
    net.accumulate(np.arange(20), 0)
    assert solver.finite()
    for bad in (np.nan, np.inf):
        net.params["ip"][0].data[0, 0] = bad
        net.zero_sums()
        net.accumulate(np.arange(20), 0)
        assert not solver.finite()


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_a_diverged_net_of_sigmoids_is_noticed(kernels):
    """NaN weights below a Sigmoid must reach the loss."""
    hidden = layer("hidden", "InnerProduct", "data", "h", IP.replace("4", "20")) + layer("s", "Sigmoid", "h", "s")
    sigmoid = data(8) + hidden + layer("ip", "InnerProduct", "s", "ip", IP) + LOSS
    net = net_of(sigmoid, data=samples(20), kernels=kernels)
    net.params["hidden"][1].data[...] = np.nan
    net.zero_sums()
    net.accumulate(np.arange(20), 0)
    assert not make_solver(solver_of(FIXED), net).finite()
    assert np.isnan(net.mean_loss)


@pytest.mark.parametrize(("settings", "text"), [
    ('type: "SGDD"', "s.prototxt: unknown solver type 'SGDD' - did you mean 'SGD'? (known: AdaDelta, AdaGrad, Adam, Nesterov, RMSProp, SGD)"),
    ('regularization_type: "L3"', "s.prototxt: solver (SGD): unknown regularization_type 'L3' (known: L1, L2)"),
    ("momentum: 1", "s.prototxt: solver (SGD): momentum must lie in [0, 1) (found 1)"),
    ("momentum: -0.5", "s.prototxt: solver (SGD): momentum must lie in [0, 1) (found -0.5)"),
    ('type: "AdaGrad" momentum: 0.9',
     "s.prototxt: solver (AdaGrad): momentum cannot be used with AdaGrad (found 0.9): leave it out"),
    ('type: "RMSProp" momentum: 0.9',
     "s.prototxt: solver (RMSProp): momentum cannot be used with RMSProp (found 0.9): leave it out"),
    ('type: "RMSProp" rms_decay: 1', "s.prototxt: solver (RMSProp): rms_decay must lie in [0, 1) (found 1)"),
    ('type: "RMSProp" rms_decay: -0.1', "s.prototxt: solver (RMSProp): rms_decay must lie in [0, 1) (found -0.1)"),
    ('type: "Adam" momentum2: 1.5', "s.prototxt: solver (Adam): momentum2 must lie in [0, 1) (found 1.5)"),
    ("weight_decay: -1", "s.prototxt: solver (SGD): weight_decay must be a number of at least 0 (found -1)"),
])  # fmt: skip
def test_errors(settings, text):
    with pytest.raises(UserError) as error:
        make_solver(solver_of(f"{FIXED} {settings}"), net_of(SQUARE), "s.prototxt: ")
    assert str(error.value).startswith(text.split(" (known: Ada")[0])


@pytest.mark.parametrize("value", ["nan", "inf", "-0.1"])
def test_base_lr_must_be_a_number(value):
    with pytest.raises(UserError, match=r"^solver \(SGD\): base_lr must be a number of at least 0 \(found"):
        make_solver(solver_of(f'lr_policy: "fixed" base_lr: {value}'), net_of(SQUARE))
