"""LSTM, and LSTMUnit, one step of it without weights."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.recurrent import Recurrent


@LAYERS.register("LSTM")
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates).

    i, f, o = sigmoid and g = tanh of W_xc x + b_c (+ W_static x_static) + W_hc (cont h), in this order;
    c = cont f c + i g, h = o tanh c. States: h, c. Parameters: W_xc (4D, K), b_c, [W_static (4D, S)], W_hc (4D, D).
    """

    states = 2
    gates = 4

    def step_forward(self, build: Builder, cont: Array, gates: Array, histories: Sequence[Array], top: Array) -> None:
        """Run the steps; the top is h."""
        h, c = histories
        self.before = build.scratch("before", top.shape)
        build.op("lstm_steps_forward", gates, cont, self.parameters[self.loop].data, self.before, h, c)
        build.op("copy", h[1:], top)

    def step_backward(self, build: Builder, cont: Array, gates: Array, histories: Sequence[Array], top: Blob) -> Array:
        """Run the steps backward."""
        dgates = build.scratch("dgates", gates.shape)
        build.op("lstm_steps_backward", gates, cont, self.parameters[self.loop].data, histories[1], top.diff, dgates)
        rows = self.steps * self.streams
        self.weights_backward(build, self.loop, self.before.reshape(rows, -1), dgates.reshape(rows, -1))
        return dgates


@LAYERS.register("LSTMUnit")
class LSTMUnit(Layer):
    """One step: from c (1, N, D), gate inputs i, f, o, g (1, N, 4D) and cont (1, N) to the next c and h (1, N, D)."""

    bottoms = (3, 3)
    tops = (2, 2)
    keeps_top = True

    @property
    def cuttable(self) -> bool:
        """False: the samples lie along axis 1."""
        return False

    def may_force(self, bottom: int) -> bool:
        """All but cont have a gradient."""
        return bottom != 2

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (1, N, D) twice."""
        c, gates, cont = bottoms
        if len(c) != 3 or c[0] != 1 or gates != (1, c[1], 4 * c[2]) or cont != c[:2]:
            raise self.error(f"needs c (1, N, D), gate inputs (1, N, 4 D) and cont (1, N), found {c}, {gates}, {cont}")
        return [c, c]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """c' = cont f c + i g, h = o tanh c'."""
        build.op("lstm_unit_forward", *(blob.data for blob in bottom), *(blob.data for blob in top))

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Gradients of c and the gate inputs."""
        if needed[2]:
            raise self.error("cannot propagate a gradient to cont, its sequence indicators")
        build.op(
            "lstm_unit_backward",
            *(blob.data for blob in bottom),
            top[0].data,
            top[0].diff,
            top[1].diff,
            *(blob.diff if wanted else None for blob, wanted in zip(bottom[:2], needed[:2], strict=True)),
        )
