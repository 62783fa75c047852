"""Convolution and deconvolution against their definition, written out as loops, and against each other."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, inputs, layer, net_of, randomise

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb


@pytest.fixture(params=KERNEL_SETS)
def kernels(request):
    return request.param


def made(kernels, kind, rest, x, *, tops="y", phase=pb.TRAIN, seed=1):
    """Return a net of one layer whose parameters are drawn, after its forward pass."""
    x = np.asarray(x)
    net = net_of(inputs(x=x.shape) + layer("one", kind, "x", tops, f"convolution_param {{ {rest} }}")
                 + "force_backward: true", phase, kernels=kernels)  # fmt: skip
    randomise(net, seed)
    net.blobs["x"].data[...] = x
    net.forward()
    return net


def backward(net, dy):
    net.blobs["y"].diff[...] = dy
    net.zero_sums()
    net.backward()
    return [net.blobs["x"].diff, *(p.grad for p in net.params["one"])]


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def settings(geometry, group):
    """Return the parameters of 8 outputs; a geometry is (kernel, stride, pad, dilation), each a number an axis."""
    each = [f"kernel_size: {k} stride: {s} pad: {p} dilation: {d}" for k, s, p, d in zip(*geometry, strict=True)]
    return f"num_output: 8 group: {group} {' '.join(each)}"


def links(wide, narrow, geometry):
    """Yield (place of the wide side, place of the narrow side, tap) for all that a filter brings together."""
    for out in product(*map(range, narrow)):
        for tap in product(*map(range, geometry[0])):
            at = tuple(o * s - p + t * d for o, t, s, p, d in zip(out, tap, *geometry[1:], strict=True))
            if all(0 <= a < size for a, size in zip(at, wide, strict=True)):
                yield at, out, tap


GEOMETRIES = [
    ((5, 6), ((3, 2), (1, 1), (0, 0), (1, 1)), 1),
    ((5, 6), ((3, 3), (2, 1), (1, 2), (1, 1)), 2),
    ((7, 6), ((2, 3), (3, 2), (0, 1), (2, 2)), 1),
    ((4, 4), ((1, 1), (3, 2), (1, 0), (1, 1)), 2),
    ((6, 6), ((2, 2), (4, 3), (1, 1), (3, 1)), 4),
    ((9,), ((3,), (2,), (1,), (2,)), 2),
    ((3, 4, 4), ((2, 1, 3), (1, 2, 1), (1, 0, 1), (1, 1, 1)), 2),
    ((2, 3, 2, 3), ((2, 2, 1, 2), (1, 1, 2, 1), (0, 1, 0, 0), (1, 1, 1, 2)), 1),
    ((), ((), (), (), ()), 2),
]


@pytest.mark.parametrize(("wide", "geometry", "group"), GEOMETRIES)
def test_convolution_by_definition(kernels, wide, geometry, group):
    """Also the gradients: each product of forward gives one of each."""
    x = drawn(2, 4, *wide)
    net = made(kernels, "Convolution", settings(geometry, group), x)
    w, b = (p.data for p in net.params["one"])
    y = net.blobs["y"].data
    sizes = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(wide, *geometry, strict=True)]
    assert y.shape == (2, 8, *sizes)
    assert w.shape == (8, 4 // group, *geometry[0])
    dy = drawn(*y.shape, seed=3)
    dx, dw, db = (np.array(each) for each in backward(net, dy))
    wanted = np.zeros(y.shape) + b.reshape(8, *[1] * len(wide))
    wanted_dx, wanted_dw = np.zeros(x.shape), np.zeros(w.shape)
    for at, out, tap in links(wide, sizes, geometry):
        for k in range(8):
            g = slice(k // (8 // group) * (4 // group), (k // (8 // group) + 1) * (4 // group))
            wanted[:, k, *out] += x[:, g, *at] @ w[k, :, *tap]
            wanted_dx[:, g, *at] += dy[:, k, *out][:, None] * w[k, :, *tap]
            wanted_dw[k, :, *tap] += dy[:, k, *out] @ x[:, g, *at]
    for found, right in ((y, wanted), (dx, wanted_dx), (dw, wanted_dw)):
        assert_close(found, right, 1e-5)
    assert_close(db, dy.sum(axis=(0, *range(2, dy.ndim))), 1e-5)


@pytest.mark.parametrize(("narrow", "geometry", "group"), [
    ((3, 4), ((3, 2), (1, 1), (0, 0), (1, 1)), 1),
    ((3, 4), ((3, 4), (2, 1), (1, 2), (1, 1)), 2),
    ((3, 2), ((2, 3), (3, 2), (0, 1), (2, 2)), 1),
    ((4, 3), ((1, 2), (3, 2), (1, 0), (1, 1)), 2),
    ((3, 3), ((2, 2), (4, 3), (1, 1), (3, 1)), 4),
    ((5,), ((4,), (3,), (1,), (2,)), 2),
    ((3, 2, 3), ((2, 1, 3), (1, 2, 1), (1, 0, 1), (1, 1, 1)), 2),
    ((), ((), (), (), ()), 2),
])  # fmt: skip
def test_deconvolution_by_definition(kernels, narrow, geometry, group):
    x = drawn(2, 4, *narrow)
    net = made(kernels, "Deconvolution", settings(geometry, group), x)
    w, b = (p.data for p in net.params["one"])
    y = net.blobs["y"].data
    sizes = [s * (n - 1) + d * (k - 1) + 1 - 2 * p for n, k, s, p, d in zip(narrow, *geometry, strict=True)]
    assert y.shape == (2, 8, *sizes)
    assert w.shape == (4, 8 // group, *geometry[0])
    dy = drawn(*y.shape, seed=3)
    dx, dw, db = (np.array(each) for each in backward(net, dy))
    wanted = np.zeros(y.shape) + b.reshape(8, *[1] * len(narrow))
    wanted_dx, wanted_dw = np.zeros(x.shape), np.zeros(w.shape)
    for at, out, tap in links(sizes, narrow, geometry):
        for c in range(4):
            g = slice(c // (4 // group) * (8 // group), (c // (4 // group) + 1) * (8 // group))
            wanted[:, g, *at] += x[:, c, *out][:, None] * w[c, :, *tap]
            wanted_dx[:, c, *out] += dy[:, g, *at] @ w[c, :, *tap]
            wanted_dw[c, :, *tap] += x[:, c, *out] @ dy[:, g, *at]
    for found, right in ((y, wanted), (dx, wanted_dx), (dw, wanted_dw)):
        assert_close(found, right, 1e-5)
    assert_close(db, dy.sum(axis=(0, *range(2, dy.ndim))), 1e-5)


def test_deconvolution_of_ones(kernels):
    """Number 0 of a row is seen once, those in between where windows overlap twice."""
    net = made(kernels, "Deconvolution", "num_output: 4 kernel_size: 3 stride: 2", np.ones((2, 3, 6, 4)))
    net.params["one"][0].data[...], net.params["one"][1].data[...] = 1, 0.1
    y = net.forward()["y"]
    assert y.shape == (2, 4, 13, 9)
    rows, cols = ([1 + (i % 2 == 0 and 0 < i < size - 1) for i in range(size)] for size in (13, 9))
    assert_close(y, np.broadcast_to(3 * np.outer(rows, cols) + 0.1, y.shape), 1e-6)


@pytest.mark.parametrize(("group", "outputs"), [(1, 4), (3, 3)])
def test_shapes_of_two_bottoms(kernels, group, outputs):
    rest = f"num_output: {outputs} group: {group} kernel_size: 3 stride: 2 weight_filler {{ type: 'gaussian' }}"
    net = net_of(inputs(x=(2, 3, 6, 4), z=(2, 3, 6, 4))
                 + layer("one", "Convolution", "x z", "a b", f"convolution_param {{ {rest} }}"), kernels=kernels)  # fmt: skip
    net.blobs["x"].data[...] = net.blobs["z"].data[...] = drawn(2, 3, 6, 4)
    net.blobs["z"].data[1] *= 2
    net.forward()
    a, b = net.blobs["a"].data, net.blobs["b"].data
    assert a.shape == b.shape == (2, outputs, 2, 1)
    assert a.any()
    assert np.array_equal(a[0], b[0])
    assert_close(2 * a[1], b[1], 1e-6)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_any_number_of_axes_against_pictures(kernels, kind):
    """One more axis of size 1 changes nothing, nor do axes of samples before the channels."""
    x, rest = drawn(4, 6, 5, 7), "num_output: 4 group: 2 kernel_size: 3 kernel_size: 2 stride: 2 pad: 1"
    plain = made(kernels, kind, rest, x)
    dy = drawn(*plain.blobs["y"].shape, seed=2)
    wanted = [plain.blobs["y"].data, *backward(plain, dy)]
    rest3 = "num_output: 4 group: 2 kernel_size: 1 kernel_size: 3 kernel_size: 2 stride: 1 stride: 2 stride: 2"
    deep = made(kernels, kind, rest3 + " pad: 0 pad: 1 pad: 1", x[:, :, None])
    apart = made(kernels, kind, rest + " axis: 2", x.reshape(2, 2, 6, 5, 7))
    for net, shape in ((deep, lambda a: a), (apart, lambda a: a)):
        for mine, yours in zip(net.params["one"], plain.params["one"], strict=True):
            mine.data[...] = yours.data.reshape(mine.shape)
        net.forward()
        found = [net.blobs["y"].data, *backward(net, shape(dy.reshape(net.blobs["y"].shape)))]
        for each, right in zip(found, wanted, strict=True):
            assert_close(np.reshape(each, right.shape), right, 1e-5)


@pytest.mark.parametrize(("shape", "axis"), [((2, 3), 1), ((2, 3), -1), ((2, 4, 5, 3), 3), ((3,), 0)])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_no_spatial_axis_is_an_inner_product(kernels, kind, shape, axis):
    x = drawn(*shape)
    net = made(kernels, kind, f"num_output: 4 axis: {axis}", x)
    w, b = (p.data for p in net.params["one"])
    assert w.shape == ((4, 3) if kind == "Convolution" else (3, 4))
    y = x @ (w.T if kind == "Convolution" else w) + b
    assert net.blobs["y"].shape == (*shape[:-1], 4)
    assert_close(net.blobs["y"].data, y, 1e-5)
    dy = drawn(*y.shape, seed=1)
    dx, dw, db = backward(net, dy)
    assert_close(dx, dy @ (w if kind == "Convolution" else w.T), 1e-5)
    product_ = dy.reshape(-1, 4).T @ x.reshape(-1, 3)
    assert_close(dw, product_ if kind == "Convolution" else product_.T, 1e-5)
    assert_close(db, dy.reshape(-1, 4).sum(axis=0), 1e-5)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize(
    ("channels", "outputs", "group"), [(18, 18, 18), (6, 18, 6), (18, 6, 6), (8, 4, 2), (32, 64, 16)]
)
def test_groups_are_layers_side_by_side(kernels, kind, channels, outputs, group):
    x, rest = drawn(2, channels, 6, 5), "kernel_size: 3 pad: 1 stride: 2"
    net = made(kernels, kind, f"num_output: {outputs} group: {group} {rest}", x)
    dy = drawn(*net.blobs["y"].shape, seed=1)
    whole = [np.array(each) for each in backward(net, dy)]
    c, k = channels // group, outputs // group
    own = c if kind == "Deconvolution" else k  # along axis 0 of the filters
    for g in range(group):
        one = made(kernels, kind, f"num_output: {k} {rest}", x[:, g * c : (g + 1) * c])
        for part, all_, size in zip(one.params["one"], net.params["one"], (own, k), strict=True):
            part.data[...] = all_.data[g * size : (g + 1) * size]
        one.forward()
        assert_close(net.blobs["y"].data[:, g * k : (g + 1) * k], one.blobs["y"].data, 1e-5)
        dx, dw, db = backward(one, dy[:, g * k : (g + 1) * k])
        assert_close(whole[0][:, g * c : (g + 1) * c], dx, 1e-5)
        assert_close(whole[1][g * own : (g + 1) * own], dw, 1e-5)
        assert_close(whole[2][g * k : (g + 1) * k], db, 1e-5)


def test_deconvolution_is_the_transpose(kernels):
    """<conv x, y> = <x, deconv y> with the same filters; stride 8 and 16 taps as for upsampling."""
    rest = "kernel_size: 16 stride: 8 pad: 4 group: 5 bias_term: false"
    y = drawn(2, 5, 3, 4)
    deconv = made(kernels, "Deconvolution", f"num_output: 5 {rest}", y)
    x = drawn(*deconv.blobs["y"].shape, seed=1)
    assert x.shape == (2, 5, 24, 32)
    conv = made(kernels, "Convolution", f"num_output: 5 {rest}", x)
    conv.params["one"][0].data[...] = deconv.params["one"][0].data
    forward = np.vdot(conv.forward()["y"].astype(np.float64), y)
    assert forward == pytest.approx(np.vdot(x.astype(np.float64), deconv.blobs["y"].data), rel=1e-5)


def test_bilinear_upsampling_of_a_constant(kernels):
    """The usual use of Deconvolution: inside the border, factor 2 reproduces what is constant or linear."""
    rest = ("num_output: 3 group: 3 kernel_size: 4 stride: 2 pad: 1 bias_term: false "
            "weight_filler { type: 'bilinear' }")  # fmt: skip
    ramp = np.broadcast_to(np.arange(6.0)[:, None] + 10 * np.arange(5.0), (1, 3, 6, 5))
    source = inputs(x=ramp.shape) + layer("up", "Deconvolution", "x", "y", f"convolution_param {{ {rest} }}")
    net = net_of(source, kernels=kernels)
    net.blobs["x"].data[...] = ramp
    y = net.forward()["y"]
    assert y.shape == (1, 3, 12, 10)
    fine = (np.arange(12.0)[:, None] - 0.5) / 2 + 10 * (np.arange(10.0) - 0.5) / 2
    assert_close(y[0, 1, 1:-1, 1:-1], fine[1:-1, 1:-1], 1e-6)


def test_a_bottom_of_another_size(kernels):
    """The geometry follows the input; the border that filters read stays zero."""
    source = (inputs(x=(1, 2, 4, 4)) + layer("c", "Convolution", "x", "y", "convolution_param { num_output: 3 kernel_size: 3 pad: 1 stride: 2 }")
              + layer("d", "Deconvolution", "y", "z", "convolution_param { num_output: 2 kernel_size: 4 pad: 1 stride: 2 }")
              + "force_backward: true")  # fmt: skip
    net = net_of(source, kernels=kernels)
    randomise(net)
    for size in ((5, 7), (4, 4), (9, 3), (5, 7)):
        net.whole.resize("x", (2, 2, *size))
        fresh = net_of(
            source.replace("dim: 1 dim: 2 dim: 4 dim: 4", f"dim: 2 dim: 2 dim: {size[0]} dim: {size[1]}"),
            kernels=kernels,
        )
        randomise(fresh)
        for each in (net, fresh):
            each.blobs["x"].data[...] = drawn(2, 2, *size)
            each.forward()
            each.blobs["z"].diff[...] = drawn(*each.blobs["z"].shape, seed=1)
            each.zero_sums()
            each.backward()
        assert np.array_equal(net.blobs["z"].data, fresh.blobs["z"].data)
        assert np.array_equal(net.blobs["x"].diff, fresh.blobs["x"].diff)
        assert np.array_equal(net.flat.grads, fresh.flat.grads)


def test_what_may_be_cut():
    for axis, may in ((0, False), (1, True), (2, True)):
        net = net_of(
            inputs(x=(2, 3, 4, 5))
            + layer("c", "Convolution", "x", "y", f"convolution_param {{ num_output: 2 kernel_size: 1 axis: {axis} }}")
        )
        assert net.layers[1].cuttable is may


def test_a_layer_keeps_what_it_was_set_up_for():
    for kind in ("Convolution", "Deconvolution"):
        one = net_of(
            inputs(x=(2, 3, 4, 5)) + layer("one", kind, "x", "y", "convolution_param { num_output: 1 kernel_size: 2 }")
        ).layers[1]
        with pytest.raises(UserError, match=r"\): was set up for 3 channels, found 4$"):
            one.reshape([(2, 4, 4, 5)])
        with pytest.raises(UserError, match=r"\): was set up for 4 axes, found a bottom \(2, 3, 4\)$"):
            one.reshape([(2, 3, 4)])


@pytest.mark.parametrize(("kind", "shapes", "multiply_adds"), [
    ("Convolution", ((2, 4, 6, 6), (2, 6, 4, 4)), 2 * 6 * 16 * 2 * 9),
    ("Deconvolution", ((2, 4, 6, 6), (2, 6, 8, 8)), 2 * 4 * 36 * 3 * 9),
])  # fmt: skip
def test_work_is_counted(kind, shapes, multiply_adds):
    one = net_of(
        inputs(x=shapes[0])
        + layer("one", kind, "x", "y", "convolution_param { num_output: 6 kernel_size: 3 group: 2 }")
    ).layers[1]
    assert one.reshape([shapes[0]]) == [shapes[1]]
    assert one.multiply_adds([shapes[0]], [shapes[1]]) == multiply_adds
