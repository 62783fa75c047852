"""What an update rule is: from gradient sums to new parameter values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import isfinite, sqrt
from typing import ClassVar

import numpy as np

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.registry import Registry
from batchbrew.solver import schedules
from batchbrew.solver.blob import Array, aligned_zeros
from batchbrew.solver.kernels import Call, compile_program
from batchbrew.solver.net import Net
from batchbrew.solver.parameter import Parameter

SOLVERS: Registry[type[Solver]] = Registry("solver type")


class Solver(ABC):
    """An update rule over a net's flat parameters. This docstring is the manual for adding one.

    Put the class in a file of ``solver/solvers/`` with ``@SOLVERS.register("Type")``. Set ``histories`` (how many flat
    history buffers it keeps) and implement ``update(parameter, values, grads, history)``: return the kernel call that
    changes ``values``. The kernels' ``numbers`` are in ``self.numbers``: rate, factor of the gradient sums, momentum,
    weight decay, L1 or not. Refuse settings it cannot use in ``check``.

    ``apply`` follows Caffe's order: clip the summed gradient, divide, decay, update.
    """

    histories: ClassVar[int] = 1

    def __init__(self, param: pb.SolverParameter, net: Net, where: str = "") -> None:
        self.param, self.net, self.where = param, net, where
        self.iter = 0
        kind = param.regularization_type
        if kind not in ("L1", "L2"):
            raise self.error(f"unknown regularization_type '{kind}' (known: L1, L2)")
        if not 0 <= param.momentum < 1:
            raise self.error(f"momentum must lie in [0, 1) (found {param.momentum:g})")
        for name in ("base_lr", "weight_decay"):
            value = getattr(param, name)
            if not (isfinite(value) and value >= 0):
                raise self.error(f"{name} must be a number of at least 0 (found {value:g})")
        self.check()
        self.rate(0)
        flat = net.flat
        self.history: list[Array] = [aligned_zeros(flat.size, net.dtype) for _ in range(self.histories)]
        self.numbers = np.array([0.0, 0.0, param.momentum, param.weight_decay, float(kind == "L1")])
        self._norm = np.zeros(1)
        calls = []
        for parameter in flat.parameters:
            if parameter.lr_mult:
                part = slice(parameter.start, parameter.start + parameter.count)
                calls.append(
                    self.update(parameter, flat.values[part], flat.grads[part], [h[part] for h in self.history])
                )
        self._update = compile_program(calls, net.kernels)
        self._measure = compile_program([("sum_squares", (flat.grads, self._norm))], net.kernels)

    def error(self, text: str) -> UserError:
        """Return the exception for a mistake in the solver's settings."""
        return UserError(f"{self.where}solver ({self.param.type}): {text}")

    def check(self) -> None:  # noqa: B027 - most rules take all settings
        """Refuse settings the rule cannot use."""

    @abstractmethod
    def update(self, parameter: Parameter, values: Array, grads: Array, history: list[Array]) -> Call:
        """Return the kernel call that updates one parameter (all arrays flat)."""

    def rate(self, iter: int) -> float:
        """Return the learning rate for the update that follows ``iter`` updates."""
        return schedules.rate(self.param, iter)

    def finite(self) -> bool:
        """Return whether the loss and all gradients summed so far are finite numbers."""
        self._measure.run()
        return bool(isfinite(self._norm[0]) and np.isfinite(self.net.sums).all())

    def apply(self, rate: float) -> None:
        """Update the parameters from the gradient sums with learning rate ``rate``; ``iter`` grows by one."""
        scale = 1.0 / max(1.0, self.net.count)
        self.numbers[0] = rate
        self.numbers[1] = scale * self._clip(scale)
        self._update.run()
        self.iter += 1

    def _clip(self, scale: float) -> float:
        """Return the factor that clip_gradients asks for.

        Caffe measures the norm of the sum over iter_size passes, each already a mean over its samples.
        """
        limit = self.param.clip_gradients
        if limit < 0:
            return 1.0
        self._measure.run()
        norm = sqrt(self._norm[0]) * scale * max(1, self.param.iter_size)
        return limit / norm if norm > limit else 1.0
