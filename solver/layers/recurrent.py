"""What LSTM and RNN share: inputs over time, states between batches, and gradients back through the steps of one batch.

T time steps, N independent streams, K inputs, S static inputs, D outputs, G gate inputs a step (4 D or D).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import ClassVar

from batchbrew.solver.blob import Blob, Shape, aligned_zeros
from batchbrew.solver.layer import Array, Builder, Layer
from batchbrew.solver.layers.rows import as_rows


class Recurrent(Layer):
    """A layer that runs over time.

    Bottoms: x (T, N, ...), cont (T, N), which is 0 where a sequence begins and 1 where it goes on, and optionally
    x_static (N, ...), the same at every step. Top: (T, N, D).

    The states after the last step are those before the first step of the next batch. With ``expose_hidden`` they are
    further bottoms instead, (1, N, D) each, and what they end as further tops. As in Caffe no gradient leaves a batch:
    that of states at the end is not read, that of states at the beginning is zero.

    A deriving class sets ``states`` (how many) and ``gates`` (G / D) and writes down the steps between W x + b (+ W
    x_static), which is computed here for all steps at once, and the top.
    """

    bottoms = (2, 5)
    tops = (1, 3)
    states: ClassVar[int]
    gates: ClassVar[int]

    @property
    def cuttable(self) -> bool:
        """False: the samples lie along axis 1, and states go from batch to batch."""
        return False

    def may_force(self, bottom: int) -> bool:
        """All but cont have a gradient."""
        return bottom != 1

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare the weights of x, their bias, the weights of x_static, and those from state to gates."""
        p = self.param.recurrent_param
        if p.num_output < 1:
            raise self.error("num_output must be at least 1")
        self.outputs: int = p.num_output
        self.exposed = self.states if p.expose_hidden else 0
        given = (len(bottoms), len(self.param.top))
        if not 2 <= given[0] - self.exposed <= 3 or given[1] != 1 + self.exposed:
            raise self.error(
                f"takes {2 + self.exposed} to {3 + self.exposed} bottoms and {1 + self.exposed} top(s) with "
                f"expose_hidden: {str(bool(self.exposed)).lower()} (found {given[0]} and {given[1]})"
            )
        self.static = given[0] - self.exposed == 3
        if len(bottoms[0]) < 2:
            raise self.error(f"needs x (time steps, streams, ...), found {bottoms[0]}")
        self.steps, width = bottoms[0][0], self.gates * self.outputs
        self.add_parameter((width, prod(bottoms[0][2:])), p.weight_filler, order=(1, 0))
        self.add_parameter((width,), p.bias_filler)
        if self.static:
            self.add_parameter((width, prod(bottoms[2][1:])), p.weight_filler, order=(1, 0))
        self.loop = len(self.parameters)  # number of the weights from state to gates
        self.add_parameter((width, self.outputs), p.weight_filler, order=(1, 0))
        self.memory: list[Array] = []  # the states between batches, with room for the most streams so far

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (T, N, D), and (1, N, D) for each exposed state."""
        x, cont = bottoms[:2]
        if x[:1] != (self.steps,) or len(x) < 2:
            raise self.error(f"was set up for {self.steps} time steps, found {x}")
        self.streams = x[1]
        if cont != x[:2]:
            raise self.error(f"needs cont {x[:2]} (time steps, streams), found {cont}")
        self.check_inputs(0, prod(x[2:]))
        if self.static:
            if bottoms[2][:1] != (self.streams,):
                raise self.error(f"needs x_static ({self.streams}, ...) for its streams, found {bottoms[2]}")
            self.check_inputs(2, prod(bottoms[2][1:]))
        state = (1, self.streams, self.outputs)
        if self.exposed and any(shape != state for shape in bottoms[-self.exposed :]):
            raise self.error(f"needs states {state}, found {', '.join(map(str, bottoms[-self.exposed :]))}")
        return [(self.steps, self.streams, self.outputs), *[state] * self.exposed]

    def check_inputs(self, parameter: int, inputs: int) -> None:
        """Raise UserError where a bottom does not have the inputs that its weights were made for."""
        if inputs != self.parameters[parameter].shape[1]:
            raise self.error(f"was set up for {self.parameters[parameter].shape[1]} inputs, found {inputs}")

    @abstractmethod
    def step_forward(self, build: Builder, cont: Array, gates: Array, histories: Sequence[Array], top: Array) -> None:
        """Write down the steps: ``gates`` (T, N, G) in, ``histories`` (T + 1, N, D) whose first row is set, and top."""

    @abstractmethod
    def step_backward(self, build: Builder, cont: Array, gates: Array, histories: Sequence[Array], top: Blob) -> Array:
        """Write down the steps backward; return the gradient of ``gates``."""

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """gates = W x + b + W_static x_static; then the steps."""
        steps, streams, outputs = self.steps, self.streams, self.outputs
        width = self.gates * outputs
        self.x, _ = as_rows(build, bottom[0].data, "x", (steps * streams, self.parameters[0].shape[1]), fill=True)
        self.activity = build.scratch("gates", (steps, streams, width))
        rows = self.activity.reshape(steps * streams, width)
        build.op("dense_forward", self.x, self.parameters[0].data, self.parameters[1].data, rows)
        if self.static:
            size = (streams, self.parameters[2].shape[1])
            self.x_static, _ = as_rows(build, bottom[2].data, "x_static", size, fill=True)
            constant = build.scratch("static", (streams, width))
            build.op("dense_forward", self.x_static, self.parameters[2].data, None, constant)
            for t in range(steps):
                build.op("add", constant, self.activity[t])
        self.histories = [build.scratch(f"state {i}", (steps + 1, streams, outputs)) for i in range(self.states)]
        kept = [] if self.exposed else self.kept(build)
        starts = [blob.data for blob in bottom[-self.exposed :]] if self.exposed else kept
        ends = [blob.data for blob in top[1:]] if self.exposed else kept
        for start, history in zip(starts, self.histories, strict=True):
            build.op("copy", start, history[:1])
        self.step_forward(build, bottom[1].data, self.activity, self.histories, top[0].data)
        for history, end in zip(self.histories, ends, strict=True):
            build.op("copy", history[steps:], end)

    def kept(self, build: Builder) -> list[Array]:
        """Return the states (1, N, D) as the batch before left them; zeros at first and where N exceeds all before."""
        count = self.streams * self.outputs
        if not self.memory or self.memory[0].size < count:
            self.memory = [aligned_zeros(count, build.dtype) for _ in range(self.states)]
        return [memory[:count].reshape(1, self.streams, self.outputs) for memory in self.memory]

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Gradients of x, x_static and the weights, through all steps of this batch."""
        if needed[1]:
            raise self.error("cannot propagate a gradient to cont, its sequence indicators")
        dgates = self.step_backward(build, bottom[1].data, self.activity, self.histories, top[0])
        rows = dgates.reshape(len(self.x), -1)
        self.weights_backward(build, 0, self.x, rows)
        if self.learns(1):
            build.op("bias_backward", rows, self.parameters[1].grad)
        if needed[0]:
            self.inputs_backward(build, 0, rows, bottom[0].diff)
        if self.static:
            summed = build.scratch("static gradient", dgates.shape[1:])
            build.op("copy", dgates[0], summed)
            for t in range(1, self.steps):
                build.op("add", dgates[t], summed)
            self.weights_backward(build, 2, self.x_static, summed)
            if needed[2]:
                self.inputs_backward(build, 2, summed, bottom[2].diff)
        for blob, wanted in list(zip(bottom, needed, strict=True))[2 + self.static :]:
            if wanted:
                build.op("fill", blob.diff, 0.0)

    def weights_backward(self, build: Builder, number: int, x: Array, dy: Array) -> None:
        """Add the gradient of weights of x (M, C), given that of their product, dy (M, G)."""
        if self.learns(number):
            build.op("dense_backward_weight", x, dy, self.parameters[number].grad)

    def inputs_backward(self, build: Builder, number: int, dy: Array, dx: Array) -> None:
        """Set the gradient of what weights are multiplied with, given that of the product, dy (M, G)."""
        weights = self.parameters[number].data
        rows, copied = as_rows(build, dx, f"gradient {number}", (len(dy), weights.shape[1]), fill=False)
        build.op("dense_backward_data", dy, weights, rows)
        if copied is not None:
            build.op("copy", copied, dx)

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Return the products of all weights, those of x_static once a stream and the others once a step and stream."""
        own = prod(self.parameters[2].shape) if self.static else 0
        weights = sum(prod(p.shape) for p in self.parameters if len(p.shape) == 2) - own
        return self.streams * (self.steps * weights + own)
