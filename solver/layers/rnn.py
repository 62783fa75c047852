"""RNN."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder
from batchbrew.solver.layers.recurrent import Recurrent


@LAYERS.register("RNN")
class RNN(Recurrent):
    """A simple recurrent network with an output of its own.

    h = tanh(W_xh x + b_h (+ W_static x_static) + W_hh (cont h)), top = tanh(W_ho h + b_o). State: h.
    Parameters: W_xh (D, K), b_h, [W_static (D, S)], W_hh (D, D), W_ho (D, D), b_o.
    """

    states = 1
    gates = 1
    keeps_top = True

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare the weights of the output as well."""
        super().setup(bottoms)
        p = self.param.recurrent_param
        self.add_parameter((self.outputs, self.outputs), p.weight_filler, order=(1, 0))
        self.add_parameter((self.outputs,), p.bias_filler)

    def step_forward(self, build: Builder, cont: Array, gates: Array, histories: Sequence[Array], top: Array) -> None:
        """Run the steps, then the output of all steps at once."""
        self.before = build.scratch("before", top.shape)
        build.op("rnn_steps_forward", gates, cont, self.parameters[self.loop].data, self.before, histories[0])
        self.out, rows = top, (self.steps * self.streams, self.outputs)
        self.h = histories[0][1:].reshape(rows)
        weights, bias = (p.data for p in self.parameters[self.loop + 1 :])
        build.op("dense_forward", self.h, weights, bias, top.reshape(rows))
        build.op("tanh_forward", top, top)

    def step_backward(self, build: Builder, cont: Array, gates: Array, histories: Sequence[Array], top: Blob) -> Array:
        """Run the output backward, then the steps."""
        rows = self.h.shape
        dout, dh, dgates = (build.scratch(name, self.out.shape) for name in ("dout", "dh", "dgates"))
        build.op("tanh_backward", self.out, top.diff, dout)
        self.weights_backward(build, self.loop + 1, self.h, dout.reshape(rows))
        if self.learns(self.loop + 2):
            build.op("bias_backward", dout.reshape(rows), self.parameters[self.loop + 2].grad)
        self.inputs_backward(build, self.loop + 1, dout.reshape(rows), dh)
        build.op("rnn_steps_backward", cont, self.parameters[self.loop].data, histories[0], dh, dgates)
        self.weights_backward(build, self.loop, self.before.reshape(rows), dgates.reshape(rows))
        return dgates
