"""The mistakes that recurrent layers report."""

from engine_support import layer

X = {"x": (4, 3, 2), "cont": (4, 3)}
STATES = {"h": (1, 3, 5), "c": (1, 3, 5)}


def lstm(rest="", bottoms="x cont", tops="y", kind="LSTM"):
    return layer("r", kind, bottoms, tops, f"recurrent_param {{ num_output: 5 {rest} }}")


ROWS = [
    (X, layer("r", "LSTM", "x cont", "y"), "AT layer 'r' (LSTM): num_output must be at least 1"),
    (X, layer("r", "LSTM", "x", "y"), "AT layer 'r' (LSTM): takes 2 to 5 bottom blob(s) as input (found 1)"),
    (X, lstm("expose_hidden: true"),
     "AT layer 'r' (LSTM): takes 4 to 5 bottoms and 3 top(s) with expose_hidden: true (found 2 and 1)"),
    ({**X, **STATES}, lstm("", "x cont h c"),
     "AT layer 'r' (LSTM): takes 2 to 3 bottoms and 1 top(s) with expose_hidden: false (found 4 and 1)"),
    ({**X, **STATES}, lstm("expose_hidden: true", "x cont h", "y", "RNN"),
     "AT layer 'r' (RNN): takes 3 to 4 bottoms and 2 top(s) with expose_hidden: true (found 3 and 1)"),
    ({"x": (4,), "cont": (4, 3)}, lstm(), "AT layer 'r' (LSTM): needs x (time steps, streams, ...), found (4,)"),
    ({"x": (4, 3, 2), "cont": (4, 2)}, lstm(),
     "AT layer 'r' (LSTM): needs cont (4, 3) (time steps, streams), found (4, 2)"),
    ({**X, "s": (2, 7)}, lstm("", "x cont s"),
     "AT layer 'r' (LSTM): needs x_static (3, ...) for its streams, found (2, 7)"),
    ({**X, "h": (1, 3, 5), "c": (3, 5)}, lstm("expose_hidden: true", "x cont h c", "y a b"),
     "AT layer 'r' (LSTM): needs states (1, 3, 5), found (1, 3, 5), (3, 5)"),
    ({"c": (1, 3, 5), "g": (1, 3, 15), "cont": (1, 3)}, layer("u", "LSTMUnit", "c g cont", "d h"),
     "AT layer 'u' (LSTMUnit): needs c (1, N, D), gate inputs (1, N, 4 D) and cont (1, N), found (1, 3, 5), "
     "(1, 3, 15), (1, 3)"),
]  # fmt: skip
