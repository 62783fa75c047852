"""Gradient cases of recurrent layers; see also test_recurrent.py.

The objective runs many times, so the states before the first step are given: otherwise each run would begin where the
last one ended. The loss leaves out the states at the end, through which Caffe propagates nothing.
"""

from engine_support import layer
from gradients_losses import constant

X = {"x": (4, 3, 2), "t": (4, 3, 5)}
LOSS = layer("loss", "EuclideanLoss", "y t", "loss")


def recurrent(kind: str, states: int, static: str = "", cont: float = 1.0) -> str:
    names = [f"start{i}" for i in range(states)]
    bottoms = f"x cont {static} {' '.join(names)}"
    tops = "y " + " ".join(f"end{i}" for i in range(states))
    given = constant("cont", cont, 4, 3) + "".join(constant(name, 0.3, 1, 3, 5) for name in names)
    return given + layer("r", kind, bottoms, tops, "recurrent_param { num_output: 5 expose_hidden: true }") + LOSS


UNIT = {"c": (1, 3, 5), "gates": (1, 3, 20)}
CASES = {
    **{
        kind: [
            (X, recurrent(kind, states)),
            (X, recurrent(kind, states, cont=0.0)),
            ({**X, "s": (3, 2)}, recurrent(kind, states, "s")),
            ({"x": (4, 3, 2, 2), "s": (3, 2, 1, 2), "t": (4, 3, 5)}, recurrent(kind, states, "s")),
        ]
        for kind, states in (("LSTM", 2), ("RNN", 1))
    },
    "LSTMUnit": [
        *((UNIT, constant("cont", cont, 1, 3) + layer("u", "LSTMUnit", "c gates cont", "d h")) for cont in (1.0, 0.0)),
        (UNIT, constant("cont", 1.0, 1, 3) + layer("u", "LSTMUnit", "c gates cont", "d h")
         + layer("after", "Sigmoid", "d", "d")),
    ],
}  # fmt: skip
