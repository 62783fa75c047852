"""LSTM, RNN and LSTMUnit against steps written out one by one, and what goes from batch to batch."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, inputs, layer, net_of, randomise

from batchbrew.errors import UserError

STEPS, STREAMS, WIDE, OUT, STATIC = 5, 3, 2, 4, 6
STATES = {"LSTM": 2, "RNN": 1}
KINDS = list(STATES)


def recurrent(kind, static=False, exposed=False, *, steps=STEPS, x=(WIDE,), rest="", fill=""):
    """Return a net of one recurrent layer with random weights."""
    shapes = {"x": (steps, STREAMS, *x), "cont": (steps, STREAMS)}
    shapes |= {"s": (STREAMS, STATIC)} if static else {}
    names = [f"start{i}" for i in range(STATES[kind])] if exposed else []
    shapes |= dict.fromkeys(names, (1, STREAMS, OUT))
    tops = ["y", *(f"end{i}" for i in range(len(names)))]
    param = f"recurrent_param {{ num_output: {OUT} expose_hidden: {str(exposed).lower()} {fill} }}"
    source = inputs(**shapes) + layer("r", kind, " ".join(shapes), " ".join(tops), f"{param} {rest}")
    return source + "force_backward: true"


def made(*arguments, kernels=KERNEL_SETS[0], dtype=np.float32, seed=1, **options):
    net = net_of(recurrent(*arguments, **options), kernels=kernels, dtype=dtype)
    randomise(net, seed)
    return net


def put(net, seed=0, **given):
    """Fill the inputs: cont with a 0 at random places, the others with random numbers; return all."""
    rng = np.random.default_rng(seed)
    values = {}
    for name in net.blobs:
        if name in ("x", "cont", "s") or name.startswith("start"):
            shape = net.blobs[name].shape
            drawn = rng.integers(0, 4, shape) > 0 if name == "cont" else rng.normal(size=shape)
            values[name] = np.asarray(given.get(name, drawn), np.float64)
            net.blobs[name].data[...] = values[name]
    return values


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def by_hand(kind, weights, *, x, cont, s=None, start0=None, start1=None):
    """Return the top and the states at the end, one step and one stream at a time."""
    w = list(weights)
    static = w.pop(2) if s is not None else None
    steps, streams = cont.shape
    start0 = np.zeros((1, streams, OUT)) if start0 is None else start0
    start1 = np.zeros((1, streams, OUT)) if start1 is None else start1
    y, ends = np.zeros((steps, streams, OUT)), [np.zeros((1, streams, OUT)) for _ in range(STATES[kind])]
    for n in range(streams):
        h, c = start0[0, n], start1[0, n]
        for t in range(steps):
            z = w[0] @ x[t, n].ravel() + w[1] + w[2] @ (cont[t, n] * h)
            if static is not None:
                z = z + static @ s[n].ravel()
            if kind == "RNN":
                h = np.tanh(z)
                y[t, n] = np.tanh(w[3] @ h + w[4])
            else:
                i, f, o, g = (z[k * OUT : (k + 1) * OUT] for k in range(4))
                c = cont[t, n] * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = y[t, n] = sigmoid(o) * np.tanh(c)
        for end, state in zip(ends, (h, c), strict=False):
            end[0, n] = state
    return y, ends


def weights(net):
    return [p.data.astype(np.float64) for p in net.params["r"]]


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_forward_is_the_steps_one_by_one(kind, static, exposed, kernels):
    net = made(kind, static, exposed, kernels=kernels)
    values = put(net)
    net.forward()
    y, ends = by_hand(kind, weights(net), **values)
    assert_close(net.blobs["y"].data, y, 1e-5)
    for i, end in enumerate(ends if exposed else []):
        assert_close(net.blobs[f"end{i}"].data, end, 1e-5)


@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_against_differences_of_the_steps(kind, static, exposed):
    net = made(kind, static, exposed, dtype=np.float64, kernels="reference")
    values, w = put(net), weights(net)
    net.forward()
    dy = np.random.default_rng(9).normal(size=net.blobs["y"].shape)
    for name in net.outputs:
        net.blobs[name].diff[...] = dy if name == "y" else 7.0  # Caffe does not read those of the states
    for name in values:
        net.blobs[name].diff[...] = 5.0 if name.startswith("start") else 0.0
    net.zero_sums()
    net.backward()
    tried = [(net.blobs[n].diff, values[n]) for n in values if n in ("x", "s")]
    tried += [(p.grad, w[i]) for i, p in enumerate(net.params["r"])]
    for gradient, array in tried:
        numeric = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            kept = array[place]
            total = []
            for array[place] in (kept + 1e-5, kept - 1e-5):
                total.append((by_hand(kind, w, **values)[0] * dy).sum())
            array[place] = kept
            numeric[place] = (total[0] - total[1]) / 2e-5
        assert_close(gradient, numeric, 1e-8)
    for name in values:
        if name == "cont" or name.startswith("start"):
            assert not net.blobs[name].diff.any()  # nothing goes back before the batch


def test_parameters_have_caffes_order_and_shapes():
    shapes = {(kind, static): [p.shape for p in made(kind, static).params["r"]] for kind in KINDS for static in (0, 1)}
    assert shapes["LSTM", 0] == [(16, 2), (16,), (16, 4)]
    assert shapes["LSTM", 1] == [(16, 2), (16,), (16, 6), (16, 4)]
    assert shapes["RNN", 0] == [(4, 2), (4,), (4, 4), (4, 4), (4,)]
    assert shapes["RNN", 1] == [(4, 2), (4,), (4, 6), (4, 4), (4, 4), (4,)]


@pytest.mark.parametrize("kind", KINDS)
def test_fillers(kind):
    fill = "weight_filler { type: 'uniform' min: 1 max: 2 } bias_filler { value: 0.25 }"
    for parameter in net_of(recurrent(kind, True, fill=fill)).params["r"]:
        if len(parameter.shape) == 1:
            assert (parameter.data == 0.25).all()
        else:
            assert 1 <= parameter.data.min() < parameter.data.max() <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_sequence_is_its_steps_in_batches_of_one(kind):
    whole, single = made(kind), made(kind, steps=1)
    values = put(whole)
    whole.forward()
    for t in range(STEPS):
        put(single, x=values["x"][t : t + 1], cont=values["cont"][t : t + 1])
        single.forward()
        assert_close(single.blobs["y"].data[0], whole.blobs["y"].data[t], 1e-6)
    put(single, x=values["x"][:1], cont=np.ones((1, STREAMS)))  # goes on from where it was
    single.forward()
    assert np.abs(single.blobs["y"].data[0] - whole.blobs["y"].data[0]).max() > 1e-2


@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_cont_zero_starts_again(kind, exposed):
    """Two sequences behind each other yield what each yields alone, whatever came before."""
    net = made(kind, exposed=exposed)
    cont = np.ones((STEPS, STREAMS))
    cont[[0, 2]] = 0
    values = put(net, cont=cont)
    first = net.forward()["y"].copy()
    put(net, cont=cont, **({f"start{i}": np.full((1, STREAMS, OUT), 3.0) for i in range(2)} if exposed else {}))
    assert np.array_equal(net.forward()["y"], first)
    alone, _ = by_hand(kind, weights(net), x=values["x"][2:], cont=cont[2:])
    assert_close(first[2:], alone, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_exposed_states_are_those_kept_otherwise(kind):
    kept, given = made(kind), made(kind, exposed=True)
    starts = {f"start{i}": np.zeros((1, STREAMS, OUT)) for i in range(STATES[kind])}
    for seed in range(3):
        ones = np.ones((STEPS, STREAMS))
        values = put(given, seed, cont=ones, **starts)
        put(kept, seed, x=values["x"], cont=ones)
        out = given.forward()
        assert_close(kept.forward()["y"], out["y"], 1e-6)
        starts = {f"start{i}": out[f"end{i}"].copy() for i in range(STATES[kind])}


@pytest.mark.parametrize("kind", KINDS)
def test_backward_passes_and_other_nets_leave_states_alone(kind):
    nets = [made(kind) for _ in range(2)]
    for seed in range(3):
        for net in nets:
            put(net, seed, cont=np.ones((STEPS, STREAMS)))
            net.forward()
        nets[0].backward()
        assert np.array_equal(nets[0].blobs["y"].data, nets[1].blobs["y"].data)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_streams_may_change(kind):
    """Fewer streams keep the first states; more than ever before start from zero, as Caffe's blobs do."""
    net = made(kind)
    put(net)
    net.forward()
    states = [history[-1].copy() for history in net.layers[-1].histories]
    for streams, starts in ((2, [s[None, :2] for s in states]), (4, [np.zeros((1, 4, OUT))] * 2)):
        net.whole.resize("x", (STEPS, streams, WIDE))
        net.whole.resize("cont", (STEPS, streams))
        values = put(net, cont=np.ones((STEPS, streams)))
        y, _ = by_hand(kind, weights(net), **values, **{f"start{i}": start for i, start in enumerate(starts)})
        assert_close(net.forward()["y"], y, 1e-5)


def test_what_may_not_change():
    net = made("LSTM", static=True)
    for name, shape, text in (
        ("x", (STEPS + 1, STREAMS, WIDE), rf"was set up for {STEPS} time steps, found \(6, 3, 2\)"),
        ("x", (STEPS, STREAMS, WIDE + 1), "was set up for 2 inputs, found 3"),
        ("s", (STREAMS, STATIC - 1), "was set up for 6 inputs, found 5"),
    ):
        kept = net.whole.shape(name)
        net.whole.resize(name, shape)
        with pytest.raises(UserError, match=text):
            net.forward()
        net.whole.resize(name, kept)
    net.forward()


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("x", [(2, 3), (2, 3, 1), ()])
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_of_any_shape(kind, x, kernels):
    net = made(kind, x=x, kernels=kernels)
    values = put(net)
    y, _ = by_hand(kind, weights(net), **values)
    assert_close(net.forward()["y"], y, 1e-5)
    net.blobs["y"].diff[...] = 1
    net.backward()
    flat = made(kind, x=(int(np.prod(x)),), kernels=kernels)
    put(flat, x=values["x"].reshape(flat.blobs["x"].shape), cont=values["cont"])
    flat.forward()
    flat.blobs["y"].diff[...] = 1
    flat.backward()
    assert_close(net.blobs["x"].diff.reshape(flat.blobs["x"].shape), flat.blobs["x"].diff, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_that_do_not_learn_get_no_gradient(kind):
    count = len(made(kind, True).params["r"])
    for frozen in range(count):
        rest = "".join(f"param {{ lr_mult: {int(i != frozen)} }} " for i in range(count))
        source = recurrent(kind, True, rest=rest).removesuffix("force_backward: true")
        net = net_of(source + layer("sum", "Reduction", "y", "sum", "loss_weight: 1"))
        randomise(net, 1)
        put(net)
        net.forward()
        net.backward()
        assert [bool(p.grad.any()) for p in net.params["r"]] == [i != frozen for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_top_changed_in_place_does_not_change_the_gradient(kind):
    plain = made(kind)
    source = recurrent(kind).replace("force_backward", layer("after", "Sigmoid", "y", "y") + "force_backward")
    changed = net_of(source)
    randomise(changed, 1)
    for net in (plain, changed):
        put(net)
        net.forward()
    changed.blobs["y"].diff[...] = 1
    plain.blobs["y"].diff[...] = changed.blobs["y"].data * (1 - changed.blobs["y"].data)
    for net in (plain, changed):
        net.backward()
    assert_close(changed.blobs["x"].diff, plain.blobs["x"].diff, 1e-6)


def test_sequence_indicators_have_no_gradient():
    flags = "propagate_down: true propagate_down: true loss_weight: 1"
    with pytest.raises(UserError, match=r"layer 'r' \(LSTM\): cannot propagate a gradient to cont, its sequence"):
        net_of(recurrent("LSTM", rest=flags)).backward()
    unit = inputs(c=(1, 2, 3), gates=(1, 2, 12), cont=(1, 2)) + layer(
        "u", "LSTMUnit", "c gates cont", "d h", f"{flags} propagate_down: true loss_weight: 1"
    )
    with pytest.raises(UserError, match=r"layer 'u' \(LSTMUnit\): cannot propagate a gradient to cont, its sequence"):
        net_of(unit).backward()


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_the_unit_is_one_step_of_an_lstm(kernels):
    lstm = made("LSTM", exposed=True, steps=1, kernels=kernels)
    values, w = put(lstm), weights(lstm)
    lstm.forward()
    unit = net_of(
        inputs(c=(1, STREAMS, OUT), gates=(1, STREAMS, 4 * OUT), cont=(1, STREAMS))
        + layer("u", "LSTMUnit", "c gates cont", "d h"), kernels=kernels)  # fmt: skip
    conted = values["cont"][..., None] * values["start0"]
    unit.blobs["gates"].data[...] = values["x"] @ w[0].T + w[1] + conted @ w[2].T
    unit.blobs["c"].data[...], unit.blobs["cont"].data[...] = values["start1"], values["cont"]
    out = unit.forward()
    assert_close(out["h"], lstm.blobs["y"].data, 1e-6)
    assert_close(out["d"], lstm.blobs["end1"].data, 1e-6)


def test_recurrent_layers_are_not_cut():
    net = made("LSTM")
    assert not net.layers[-1].cuttable
    assert (
        not net_of(inputs(c=(1, 2, 3), gates=(1, 2, 12), cont=(1, 2)) + layer("u", "LSTMUnit", "c gates cont", "d h"))
        .layers[-1]
        .cuttable
    )


def test_multiply_adds():
    for kind, static, wanted in (
        ("LSTM", False, STREAMS * STEPS * (16 * WIDE + 16 * OUT)),
        ("LSTM", True, STREAMS * (STEPS * (16 * WIDE + 16 * OUT) + 16 * STATIC)),
        ("RNN", False, STREAMS * STEPS * (4 * WIDE + 2 * 4 * OUT)),
    ):
        assert made(kind, static).layers[-1].multiply_adds([], []) == wanted
