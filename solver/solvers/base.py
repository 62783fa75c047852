"""What an update rule is: from gradient sums to new parameter values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import isfinite, sqrt
from typing import ClassVar, NamedTuple

import numpy as np

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.registry import Registry
from batchbrew.solver import schedules
from batchbrew.solver.blob import Array, aligned_zeros
from batchbrew.solver.kernels import Call, Lanes, Program, compile_program
from batchbrew.solver.net import Net

SOLVERS: Registry[type[Solver]] = Registry("solver type")


class Clipping(NamedTuple):
    """A gradient that was longer than allowed: its norm, the limit, and the factor it was multiplied by."""

    norm: float
    limit: float
    factor: float


class Solver(ABC):
    """An update rule over a net's flat parameters. This docstring is the manual for adding one.

    Put the class in a file of ``solver/solvers/`` with ``@SOLVERS.register("Type")``. Set ``histories`` (how many flat
    history buffers it keeps) and implement ``kernel``: the name of a kernel in ``solver/kernels/reference/update.py``
    (and, for speed, in ``solver/kernels/update.h``) that changes one parameter. It is called with the parameter's
    values, gradient sums, the histories, ``self.numbers``, lr_mult, decay_mult, and 1 where the update is to be left in
    place of the gradient. Where the rule wants them, also implement ``check`` (refuse settings it cannot use),
    ``second`` (a second decay) and ``step`` (the learning rate as its kernel wants it).

    An update follows Caffe's order: clip the summed gradient, divide, decay, update.
    """

    histories: ClassVar[int] = 1

    def __init__(self, param: pb.SolverParameter, net: Net, where: str = "") -> None:
        self.param, self.net, self.where = param, net, where
        self.iter = 0
        self.clipping: Clipping | None = None  # of the last update
        self._check_settings()
        self.check()
        self.rate(0)
        flat = net.flat
        self.history: list[Array] = [aligned_zeros(flat.size, net.dtype) for _ in range(self.histories)]
        l1 = float(param.regularization_type == "L1")
        self.numbers = np.array([0.0, 0.0, param.momentum, param.weight_decay, l1, self.second, param.delta])
        self._norm = np.zeros(1)
        lanes = Lanes(net.standing.threads)
        self._update, self._update_and_leave = (
            compile_program(self._calls(leave), net.kernels, lanes) for leave in (0, 1)
        )
        self._measure = compile_program([("sum_squares", (flat.grads, self._norm))], net.kernels)

    def _calls(self, leave: int) -> list[Call]:
        """Return one call a parameter; those of lr_mult 0 have a history as any other."""
        calls: list[Call] = []
        flat = self.net.flat
        for p in flat.parameters:
            part = slice(p.start, p.start + p.count)
            arrays = (flat.values[part], flat.grads[part], *(h[part] for h in self.history), self.numbers)
            calls.append((self.kernel, (*arrays, float(p.lr_mult), float(p.decay_mult), leave)))
        return calls

    def error(self, text: str) -> UserError:
        """Return the exception for a mistake in the solver's settings."""
        return UserError(f"{self.where}solver ({self.param.type}): {text}")

    def _check_settings(self) -> None:
        param = self.param
        if param.regularization_type not in ("L1", "L2"):
            raise self.error(f"unknown regularization_type '{param.regularization_type}' (known: L1, L2)")
        if not 0 <= param.momentum < 1:
            raise self.error(f"momentum must lie in [0, 1) (found {param.momentum:g})")
        for name in ("base_lr", "weight_decay"):
            value = getattr(param, name)
            if not (isfinite(value) and value >= 0):
                raise self.error(f"{name} must be a number of at least 0 (found {value:g})")

    def check(self) -> None:  # noqa: B027 - some rules take all settings
        """Refuse settings the rule cannot use."""

    @property
    @abstractmethod
    def kernel(self) -> str:
        """The name of the kernel that updates one parameter."""

    @property
    def second(self) -> float:
        """The decay of the running mean of squares, for rules that keep one beside momentum."""
        return 0.0

    def step(self, rate: float) -> float:
        """Return what the kernel multiplies by, from the learning rate of the update that follows ``iter`` updates."""
        return rate

    def rate(self, iter: int) -> float:
        """Return the learning rate for the update that follows ``iter`` updates."""
        return schedules.rate(self.param, iter)

    def finite(self) -> bool:
        """Return whether the loss and all gradients summed so far are finite numbers."""
        self._measure.run()
        return bool(isfinite(self._norm[0]) and np.isfinite(self.net.sums).all())

    def apply(self, rate: float) -> None:
        """Update the parameters from the net's sums with learning rate ``rate``; ``iter`` grows by one."""
        self._apply(rate, max(1.0, self.net.count), self._update)

    def apply_passes(self, rate: float, passes: int) -> None:
        """Update as Caffe does from what ``passes`` backward passes have added up; ``iter`` grows by one.

        Each parameter's update is left where its gradient was.
        """
        self._apply(rate, float(passes), self._update_and_leave)

    def _apply(self, rate: float, divisor: float, update: Program) -> None:
        scale = 1.0 / divisor
        self.numbers[0] = self.step(rate)
        self.numbers[1] = scale * self._clip(scale)
        update.run()
        self.iter += 1

    def _clip(self, scale: float) -> float:
        """Return the factor that clip_gradients asks for.

        Caffe measures the norm of the sum over iter_size passes, each already a mean over its samples.
        """
        self.clipping = None
        limit = self.param.clip_gradients
        if limit < 0:
            return 1.0
        self._measure.run()
        norm = sqrt(self._norm[0]) * scale * max(1, self.param.iter_size)
        if norm > limit:
            self.clipping = Clipping(norm, limit, limit / norm)
        return self.clipping.factor if self.clipping else 1.0
