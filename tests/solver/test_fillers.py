"""Fillers: distributions, fans, and that values hang on the key alone."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import inputs, layer, net_of

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.fillers import FILLERS, fill

SHAPES = ((60, 50), (20, 10, 15), (30, 8, 5, 5), (10, 4, 3, 5, 5))


def filled(settings: str, shape: tuple[int, ...] = (60, 50), key: tuple[int, ...] = (1, 2, 3)) -> np.ndarray:
    array = np.empty(shape)
    fill(array, text.parse(settings, pb.FillerParameter), key)
    return array


def test_constant():
    assert (filled("") == 0).all()
    assert (filled('type: "constant" value: 0.25') == 0.25).all()


def test_uniform():
    values = filled('type: "uniform" min: -1 max: 3')
    assert -1 <= values.min() < -0.9
    assert 2.9 < values.max() <= 3
    assert values.mean() == pytest.approx(1, abs=0.1)


def test_gaussian():
    values = filled('type: "gaussian" mean: 2 std: 0.5')
    assert values.mean() == pytest.approx(2, abs=0.05)
    assert values.std() == pytest.approx(0.5, abs=0.02)
    share = (filled('type: "gaussian" sparse: 15') != 0).mean()
    assert share == pytest.approx(15 / 60, abs=0.03)
    assert not filled('type: "gaussian" sparse: 0').any()


def test_positive_unitball():
    values = filled('type: "positive_unitball"', (7, 4, 3))
    assert (values > 0).all()
    assert values.sum(axis=(1, 2)) == pytest.approx(np.ones(7))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["FAN_IN", "FAN_OUT", "AVERAGE"])
@pytest.mark.parametrize(("kind", "gain"), [("xavier", 1), ("msra", 2)])
def test_fans(kind, gain, norm, shape):
    count = np.prod(shape)
    n = {
        "FAN_IN": count / shape[0],
        "FAN_OUT": count / shape[1],
        "AVERAGE": count / shape[0] / 2 + count / shape[1] / 2,
    }[norm]
    values = filled(f'type: "{kind}" variance_norm: {norm}', shape)
    assert values.std() == pytest.approx(np.sqrt(gain / n), rel=0.05)
    assert abs(values.mean()) < 0.05 * np.sqrt(gain / n) * 2
    if kind == "xavier":
        assert abs(values).max() <= np.sqrt(3 / n)


@pytest.mark.parametrize(("width", "profile"), [
    (6, [1 / 6, 1 / 2, 5 / 6, 5 / 6, 1 / 2, 1 / 6]), (7, [1 / 4, 1 / 2, 3 / 4, 1, 3 / 4, 1 / 2, 1 / 4]),
])  # fmt: skip
def test_bilinear(width, profile):
    values = filled('type: "bilinear"', (2, 3, width, width))
    assert values == pytest.approx(np.broadcast_to(np.outer(profile, profile), values.shape))


def test_equal_keys_equal_values_whatever_the_layout():
    plain = filled('type: "xavier"', (4, 3, 2, 5))
    other = np.empty((2, 5, 3, 4)).transpose(3, 2, 0, 1)
    fill(other, text.parse('type: "xavier"', pb.FillerParameter), (1, 2, 3))
    assert np.array_equal(plain, other)
    assert not np.array_equal(plain, filled('type: "xavier"', (4, 3, 2, 5), (1, 2, 4)))


def test_a_layer_keeps_its_values_when_others_come_and_go():
    ip = layer("ip", "InnerProduct", "x", "y", "inner_product_param { num_output: 5 weight_filler { type: 'msra' } }")
    first = net_of(inputs(x=(2, 3)) + ip, seed=7).params["ip"][0].data
    more = layer("before", "InnerProduct", "x", "z", "inner_product_param { num_output: 5 }")
    assert np.array_equal(first, net_of(inputs(x=(2, 3)) + more + ip, seed=7).params["ip"][0].data)
    assert not np.array_equal(first, net_of(inputs(x=(2, 3)) + ip, seed=8).params["ip"][0].data)
    assert np.isfinite(net_of(inputs(x=(2, 3)) + ip, seed=-1).params["ip"][0].data).all()


def test_every_filler_is_tried():
    assert set(FILLERS) == {"constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra", "bilinear"}


@pytest.mark.parametrize(("settings", "shape", "message"), [
    ('type: "uniform" min: 2 max: 1', (2, 2), "filler 'uniform': max 1 is less than min 2"),
    ('type: "gaussian" std: -1', (2, 2), "filler 'gaussian': std must not be negative (found -1)"),
    ('type: "xavier" sparse: 3', (2, 2), "filler 'xavier': sparse is for gaussian only"),
    ('type: "bilinear"', (2, 2), "filler 'bilinear' needs square 4-D weights, found (2, 2)"),
    ('type: "bilinear"', (2, 2, 3, 4), "filler 'bilinear' needs square 4-D weights, found (2, 2, 3, 4)"),
    ('type: "gausian"', (2, 2), "unknown filler type 'gausian' - did you mean 'gaussian'? (known: bilinear, constant, "
                                "gaussian, msra, positive_unitball, uniform, xavier)"),
])  # fmt: skip
def test_errors(settings, shape, message):
    with pytest.raises(UserError) as error:
        filled(settings, shape)
    assert str(error.value) == message


def test_an_error_names_the_layer():
    with pytest.raises(UserError, match=r"^layer 'ip' \(InnerProduct\): filler 'uniform': max 0 is less than min 1$"):
        net_of(inputs(x=(2, 3)) + layer("ip", "InnerProduct", "x", "y",
               "inner_product_param { num_output: 5 weight_filler { type: 'uniform' min: 1 max: 0 } }"))  # fmt: skip
