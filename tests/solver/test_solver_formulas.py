"""Ridge regression by every update rule against the formulas, in double precision and by hand."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from engine_support import KERNEL_SETS, inputs, layer, solver_of

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.stepper import Stepper

N, FEATURES = 4, 3 * 10 * 10
NET = (
    inputs(data=(N, 3, 10, 10), target=(N, 1))
    + layer("ip", "InnerProduct", "data", "ip",
            "inner_product_param { num_output: 1 weight_filler { type: 'gaussian' std: 1 } }")
    + layer("loss", "EuclideanLoss", "ip target", "loss")
)  # fmt: skip
CASES = [
    ("SGD", {"base_lr": 1.0}),
    ("SGD", {"base_lr": 1.0, "weight_decay": 0.5}),
    ("SGD", {"base_lr": 0.01, "momentum": 0.5}),
    ("SGD", {"base_lr": 0.01, "momentum": 0.9, "weight_decay": 0.5}),
    ("AdaGrad", {"base_lr": 0.01}),
    ("AdaGrad", {"base_lr": 0.01, "weight_decay": 0.5}),
    ("Nesterov", {"base_lr": 0.01, "momentum": 0.5}),
    ("Nesterov", {"base_lr": 0.01, "momentum": 0.9, "weight_decay": 0.5}),
    ("AdaDelta", {"base_lr": 0.1, "momentum": 0.5}),
    ("AdaDelta", {"base_lr": 0.1, "momentum": 0.95, "weight_decay": 0.1}),
    ("AdaDelta", {"base_lr": 0.1, "momentum": 0.95, "weight_decay": 0.5}),
    ("Adam", {"base_lr": 0.01, "momentum": 0.9}),
    ("Adam", {"base_lr": 0.01, "momentum": 0.9, "weight_decay": 0.5}),
    ("RMSProp", {"base_lr": 1.0, "rms_decay": 0.95}),
    ("RMSProp", {"base_lr": 0.01, "rms_decay": 0.95, "weight_decay": 0.5}),
]


def update(rule, g, memory, t, *, base_lr, momentum=0.0, momentum2=0.999, rms_decay=0.99, delta=1e-8):
    """Return what rule subtracts for the gradient g in update t = 1, 2, ...; memory is kept between."""
    h, k = (memory.setdefault(name, np.zeros_like(g)) for name in "hk")
    if rule in ("SGD", "Nesterov"):
        memory["h"] = momentum * h + base_lr * g
        return memory["h"] if rule == "SGD" else (1 + momentum) * memory["h"] - momentum * h
    if rule == "AdaGrad":
        memory["h"] = h + g**2
        return base_lr * g / (np.sqrt(memory["h"]) + delta)
    if rule == "RMSProp":
        memory["h"] = rms_decay * h + (1 - rms_decay) * g**2
        return base_lr * g / (np.sqrt(memory["h"]) + delta)
    if rule == "AdaDelta":
        memory["h"] = momentum * h + (1 - momentum) * g**2
        step = g * np.sqrt((delta + k) / (delta + memory["h"]))
        memory["k"] = momentum * k + (1 - momentum) * step**2
        return base_lr * step
    memory["h"], memory["k"] = momentum * h + (1 - momentum) * g, momentum2 * k + (1 - momentum2) * g**2
    correction = sqrt(1 - momentum2**t) / (1 - momentum**t)
    return base_lr * correction * memory["h"] / (np.sqrt(memory["k"]) + delta)


@pytest.mark.parametrize("kernels", sorted({KERNEL_SETS[0], KERNEL_SETS[-1]}))
@pytest.mark.parametrize(("rule", "settings"), CASES)
def test_five_updates(rule, settings, kernels):
    param = solver_of(f'type: "{rule}" lr_policy: "fixed" random_seed: 1701')
    for name, value in settings.items():
        setattr(param, name, value)
    param.net_param.CopyFrom(text.parse(NET, pb.NetParameter))
    run = Stepper(param, kernels=kernels)
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(N, 3, 10, 10)), rng.normal(size=(N, 1))
    run.net.blobs["data"].data[...], run.net.blobs["target"].data[...] = x, target
    weight, bias = run.net.params["ip"]
    w = np.append(weight.data.ravel(), bias.data).astype(np.float64)
    rows = np.hstack([x.reshape(N, FEATURES), np.ones((N, 1))])
    rows, target = rows.astype(np.float32).astype(np.float64), target.astype(np.float32).astype(np.float64)
    memory: dict[str, np.ndarray] = {}
    numbers = {name: value for name, value in settings.items() if name != "weight_decay"}
    for t in range(1, 6):
        gradient = rows.T @ (rows @ w - target[:, 0]) / N + settings.get("weight_decay", 0) * w
        step = update(rule, gradient, memory, t, **numbers)
        w = w - step
        run.step(1)
        found = np.append(weight.data.ravel(), bias.data)
        assert np.abs(found - w).max() <= max(1e-2 * np.abs(step).max(), 1e-4 * np.abs(w).max()), f"update {t}"
        assert np.append(weight.grad.ravel(), bias.grad) == pytest.approx(
            step, rel=1e-2, abs=max(1e-7, 1e-3 * np.abs(step).max())
        )
