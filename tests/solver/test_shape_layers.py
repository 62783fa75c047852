"""Layers that move, join, cut, look up and reduce, on every kernel set: tables of Caffe's own tests, and NumPy."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from engine_support import KERNEL_SETS, assert_close, data, inputs, layer, net_of, samples

from batchbrew.errors import UserError
from batchbrew.solver.blob import Storage
from batchbrew.solver.kernels import compile_program

X = (2, 3, 6, 5)
SHAPES = [(4,), (4, 6), (4, 2, 6), (4, 2, 6, 3), (4, 2, 6, 1, 2), (2, 1, 4, 2, 1, 2, 3)]
AXES = [(shape, axis) for shape in SHAPES for axis in range(-1, len(shape))]


@pytest.fixture(params=KERNEL_SETS)
def kernels(request):
    return request.param


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Case:
    """A net of one layer `one` between inputs and tops, with gradients for all that can have one."""

    def __init__(self, kernels, kind, rest, tops="y", **given):
        arrays = {name: np.asarray(values, np.float32) for name, values in given.items()}
        source = inputs(**{name: values.shape for name, values in arrays.items()})
        source += layer("one", kind, " ".join(arrays), tops, rest) + "force_backward: true"
        self.net = net_of(source, kernels=kernels)
        self.layer = self.net.layers[-1]
        for name, values in arrays.items():
            self.net.blobs[name].data[...] = values

    def forward(self, name="y"):
        self.net.forward()
        return self.net.blobs[name].data

    def gradient(self, name="x", **diffs):
        for top, values in diffs.items():
            self.net.blobs[top].diff[...] = values
        for bottom, needed in zip(self.net.wiring.bottoms[-1], self.net.wiring.needs[-1], strict=True):
            if needed:
                self.net.blobs[bottom.name].diff[...] = 7  # to be overwritten
        self.net.zero_sums()
        self.net.backward()
        return self.net.blobs[name].diff


# --- the kernels below ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_copy_add_and_fill_take_any_view(kernels, seed):
    """Whole blobs, parts of blobs and blobs in other shapes; what lies around a view stays as it is."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(rng.integers(1, 6)) for _ in range(seed % 5))
    pair = []
    for _ in range(2):
        before = [int(rng.integers(0, 3)) for _ in shape]
        base = tuple(b + size + int(rng.integers(0, 3)) for b, size in zip(before, shape, strict=True))
        storage = Storage(np.float32, border=(int(rng.integers(3)), int(rng.integers(3))))
        view = storage.view(base)
        if shape:
            view = view[tuple(slice(b, b + size) for b, size in zip(before, shape, strict=True))]
        storage._buffer[...] = rng.normal(size=storage._buffer.shape)
        pair.append((view, storage._buffer))
    (x, _), (y, memory) = pair
    assert x.shape == y.shape == shape
    for name, wanted in (("copy", x.copy()), ("add", 2 * x), ("fill", np.full(shape, 2.5))):
        around = memory.copy()
        compile_program([(name, (y, 2.5) if name == "fill" else (x, y))], kernels).run()
        assert np.array_equal(y, wanted.astype(np.float32)), name
        inside = np.zeros(memory.shape, bool)
        np.lib.stride_tricks.as_strided(
            inside.reshape(-1)[(y.__array_interface__["data"][0] - memory.__array_interface__["data"][0]) // 4 :],
            y.shape, [stride // 4 for stride in y.strides])[...] = True  # fmt: skip
        assert np.array_equal(memory[~inside], around[~inside]), f"{name} wrote around its view"


# --- Concat, Slice, Tile, Crop, Reshape, Flatten ----------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "axis"), AXES)
def test_concat_and_slice(kernels, shape, axis):
    other = list(shape)
    other[axis] += 3
    a, b = numbers(*shape), numbers(*other, seed=1)
    case = Case(kernels, "Concat", f"concat_param {{ axis: {axis} }}", x=a, z=b)
    both = np.concatenate([a, b], axis)
    assert np.array_equal(case.forward(), both)
    assert np.array_equal(case.gradient(y=2 * both), 2 * a)
    assert np.array_equal(case.gradient("z"), 2 * b)
    sizes = f"slice_param {{ axis: {axis} slice_point: {shape[axis]} }}"
    cut = Case(kernels, "Slice", sizes, "p q", x=both)
    assert np.array_equal(cut.forward("p"), a)
    assert np.array_equal(cut.forward("q"), b)
    assert np.array_equal(cut.gradient(p=3 * a, q=-b), np.concatenate([3 * a, -b], axis))


@pytest.mark.parametrize(("rest", "axis", "sizes"), [
    ("slice_param { axis: 0 }", 0, (2, 2, 2)),
    ("slice_param { slice_dim: 0 slice_point: 1 slice_point: 5 }", 0, (1, 4, 1)),
    ("", 1, (4, 4, 4)),
    ("slice_param { slice_point: 3 slice_point: 4 }", 1, (3, 1, 8)),
    ("slice_param { axis: -1 }", 3, (1, 1, 1)),
    ("slice_param { axis: -4 slice_point: 2 slice_point: 3 }", 0, (2, 1, 3)),
])  # fmt: skip
def test_slice_as_in_caffes_tests(kernels, rest, axis, sizes):
    x = numbers(6, 12, 2, 3)
    case = Case(kernels, "Slice", rest, "p q r", x=x)
    for name, wanted in zip("pqr", np.split(x, np.cumsum(sizes)[:-1], axis), strict=True):
        assert np.array_equal(case.forward(name), wanted)
    assert case.layer.cuttable == (axis != 0)


def test_concat_and_slice_of_one_blob_pass_it_on(kernels):
    x = numbers(2, 3, 4, 5)
    for kind in ("Concat", "Slice"):
        case = Case(kernels, kind, "", x=x)
        assert np.array_equal(case.forward(), x)
        assert np.array_equal(case.gradient(y=x + 1), x + 1)
    case = Case(kernels, "Concat", "concat_param { concat_dim: 3 }", x=x, z=x)
    assert np.array_equal(case.forward(), np.concatenate([x, x], 3))


@pytest.mark.parametrize(("shape", "axis"), AXES)
def test_tile(kernels, shape, axis):
    x = numbers(*shape)
    case = Case(kernels, "Tile", f"tile_param {{ axis: {axis} tiles: 3 }}", x=x)
    assert np.array_equal(case.forward(), np.concatenate([x] * 3, axis))
    dy = [numbers(*shape, seed=seed) for seed in (1, 2, 3)]
    assert_close(case.gradient(y=np.concatenate(dy, axis)), sum(dy), 1e-6)
    assert case.layer.cuttable == (axis % len(shape) != 0)


@pytest.mark.parametrize(("x", "like", "rest", "window"), [
    ((2, 4, 5, 4), (2, 3, 4, 2), "axis: 0", np.s_[:2, :3, :4, :2]),
    ((2, 4, 5, 4), (2, 3, 4, 2), "", np.s_[:, :, :4, :2]),
    ((2, 4, 5, 4), (2, 3, 4, 2), "axis: -1", np.s_[:, :, :, :2]),
    ((2, 4, 5, 4), (2, 3, 4, 2), "axis: 0 offset: 0 offset: 1 offset: 1 offset: 2", np.s_[:2, 1:4, 1:5, 2:4]),
    ((2, 4, 5, 4), (2, 3, 4, 2), "axis: 1 offset: 1", np.s_[:, 1:4, 1:5, 1:3]),
    ((2, 4, 5, 4, 3), (2, 3, 4, 2, 1), "axis: 2 offset: 1 offset: 1 offset: 0", np.s_[:, :, 1:5, 1:3, :1]),
    ((2, 4, 5, 4, 3), (2, 3, 4, 2, 1), "axis: 0 offset: 0", np.s_[:, :3, :4, :2, :1]),
    ((5, 4), (9, 2), "axis: -1 offset: 2", np.s_[:, 2:4]),
    ((5, 4), (1, 2, 7), "axis: 0 offset: 2 offset: 1", np.s_[2:3, 1:3]),
])  # fmt: skip
def test_crop(kernels, x, like, rest, window):
    x = numbers(*x)
    case = Case(kernels, "Crop", f"crop_param {{ {rest} }}", x=x, z=numbers(*like))
    assert np.array_equal(case.forward(), x[window])
    wanted = np.zeros_like(x)
    wanted[window] = 1 + x[window]
    assert np.array_equal(case.gradient(y=1 + x[window]), wanted)
    assert not case.gradient("z").any()
    assert case.layer.cuttable == ("axis: 0" not in rest)


@pytest.mark.parametrize(("x", "dims", "rest", "wanted"), [
    (X, (0, -1, 1, 1), "", (2, 90, 1, 1)),
    (X, (0, 0, 0, 0), "", X),
    (X, (0, 3, 10, -1), "", (2, 3, 10, 3)),
    (X, (3, 10, -1), "axis: 1", (2, 3, 10, 3)),
    (X, (1, 1, 1), "axis: 0 num_axes: 0", (1, 1, 1, 2, 3, 6, 5)),
    (X, (1, 1), "axis: 2 num_axes: 0", (2, 3, 1, 1, 6, 5)),
    (X, (1, 1, 1), "axis: -1 num_axes: 0", (2, 3, 6, 5, 1, 1, 1)),
    (X, (-1,), "axis: 1 num_axes: 2", (2, 18, 5)),
    (X, (6, 2, 3, 5), "", (6, 2, 3, 5)),
    (X, (), "axis: 4", X),
    (X, (5, 0, -1), "", (5, 3, 12)),
    ((4, 2, 2), (2, 0), "num_axes: 1", (2, 2, 2, 2)),
    ((4, 2, 2), (-1, 0), "num_axes: 1", (2, 2, 2, 2)),
    ((2, 3, 4, 5), (0, -1, 10), "", (2, 6, 10)),
    ((6,), (2, -1), "", (2, 3)),
    ((1, 1), (), "", ()),
    ((), (1, -1), "", (1, 1)),
])  # fmt: skip
def test_reshape(kernels, x, dims, rest, wanted):
    x = numbers(*x)
    shape = " ".join(f"dim: {dim}" for dim in dims)
    case = Case(kernels, "Reshape", f"reshape_param {{ shape {{ {shape} }} {rest} }}", x=x)
    assert np.array_equal(case.forward(), x.reshape(wanted))
    assert np.array_equal(case.gradient(y=3 * x.reshape(wanted)), 3 * x)


@pytest.mark.parametrize(("dims", "rest", "cuttable"), [
    ((0, -1), "", True), ((-1, 90), "", True), ((-1, 3, 30), "", True), ((-1, 45), "", False), ((2, -1), "", False),
    ((3, 30), "axis: 1", True), ((1,), "axis: 0 num_axes: 0", False), ((1, 1), "axis: -1 num_axes: 0", True),
    ((3, 2), "num_axes: 2", False), ((2, 3), "num_axes: 2", False), ((0, -1), "num_axes: 2", True),
])  # fmt: skip
def test_reshape_is_cut_only_where_axis_0_stays_that_of_the_samples(dims, rest, cuttable):
    shape = " ".join(f"dim: {dim}" for dim in dims)
    case = Case("reference", "Reshape", f"reshape_param {{ shape {{ {shape} }} {rest} }}", x=numbers(*X))
    assert case.layer.cuttable == cuttable


@pytest.mark.parametrize(("shape", "rest", "wanted"), [
    (X, "", (2, 90)), (X, "axis: 2", (2, 3, 30)), (X, "end_axis: -2", (2, 18, 5)), (X, "axis: 0 end_axis: -2", (36, 5)),
    ((2, 3, 4, 1, 2), "axis: 3", (2, 3, 4, 2)), ((2, 3, 4, 1, 2), "axis: 0 end_axis: 1", (6, 4, 1, 2)),
    ((2, 3, 1, 2, 2, 3), "axis: -4 end_axis: -3", (2, 3, 2, 2, 3)), ((5,), "axis: 0", (5,)),
])  # fmt: skip
def test_flatten(kernels, shape, rest, wanted):
    x = numbers(*shape)
    case = Case(kernels, "Flatten", f"flatten_param {{ {rest} }}", x=x)
    assert np.array_equal(case.forward(), x.reshape(wanted))
    assert np.array_equal(case.gradient(y=-x.reshape(wanted)), -x)


# --- Reduction, MVN, ArgMax -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "axis"), [(shape, axis) for shape in SHAPES for axis in range(-1, len(shape), 2)])
def test_reduction(kernels, shape, axis):
    x, first = numbers(*shape), axis % len(shape)
    behind, lead = tuple(range(first, len(shape))), shape[:first]
    dy = numbers(*lead, seed=1)
    wide = dy.reshape(*lead, *(1 for _ in behind))
    for operation, value, slope in (
        ("SUM", x, np.ones_like(x)),
        ("ASUM", abs(x), np.sign(x)),
        ("SUMSQ", x**2, 2 * x),
        ("MEAN", x / np.prod(shape[first:]), np.full_like(x, 1 / np.prod(shape[first:]))),
    ):
        case = Case(kernels, "Reduction", f"reduction_param {{ operation: {operation} axis: {axis} coeff: 2.3 }}", x=x)
        assert_close(case.forward(), 2.3 * value.sum(axis=behind), 1e-5)
        assert_close(case.gradient(y=dy), 2.3 * slope * wide, 1e-5)
        assert case.layer.cuttable == (first > 0)


def test_reduction_sums_everything_unless_told_otherwise(kernels):
    case = Case(kernels, "Reduction", "", x=np.arange(12).reshape(3, 4))
    assert case.forward().shape == ()
    assert case.forward() == 66


@pytest.mark.parametrize(("shape", "across"), [((2, 3, 4, 5), False), ((2, 3, 4, 5), True), ((2, 3, 7), False),
                                               ((4, 6), True), ((3,), True)])  # fmt: skip
def test_mvn(kernels, shape, across):
    x = 5 + 3 * numbers(*shape)
    four = (*shape, 1, 1, 1)[:4]
    axes = (1, 2, 3) if across else (2, 3)
    flat = x.astype(np.float64).reshape(four)
    mean, std = flat.mean(axes, keepdims=True), flat.std(axes, keepdims=True)
    dy = numbers(*four, seed=1)
    for normal, scale, eps in (("true", std + 0.5, "eps: 0.5"), ("false", np.ones_like(std), ""), ("true", std, "")):
        rest = f"mvn_param {{ normalize_variance: {normal} across_channels: {str(across).lower()} {eps} }}"
        case = Case(kernels, "MVN", rest, x=x)
        y = (flat - mean) / np.maximum(scale, 1e-9)
        assert_close(case.forward(), y, 1e-5)
        dx = dy - dy.mean(axes, keepdims=True)
        if normal == "true":
            dx = (dx - y * (dy * y).mean(axes, keepdims=True)) / np.maximum(scale, 1e-9)
        assert_close(case.gradient(y=dy), dx.reshape(shape), 1e-4)


@pytest.mark.parametrize(("shape", "top_k", "wanted"), [
    ((10, 10, 20, 20), 1, (10, 1, 1, 1)), ((10, 10, 20, 20), 5, (10, 1, 5, 1)), ((4, 7), 3, (4, 1, 3)),
    ((4,), 1, (4, 1, 1)), ((4, 5, 6), 2, (4, 1, 2)), ((3, 2, 2, 2, 2), 2, (3, 1, 2, 1, 1)),
])  # fmt: skip
def test_argmax_of_samples(kernels, shape, top_k, wanted):
    x = numbers(*shape)
    rows = x.reshape(len(x), -1)
    order = np.argsort(-rows, axis=1)[:, :top_k]
    found = Case(kernels, "ArgMax", f"argmax_param {{ top_k: {top_k} }}", x=x).forward()
    assert found.shape == wanted
    assert np.array_equal(found.reshape(order.shape), order)
    both = Case(kernels, "ArgMax", f"argmax_param {{ top_k: {top_k} out_max_val: true }}", x=x).forward()
    assert both.shape == (wanted[0], 2, *wanted[2:])
    assert np.array_equal(both[:, 0].reshape(order.shape), order)
    assert np.array_equal(both[:, 1].reshape(order.shape), np.take_along_axis(rows, order, 1))


@pytest.mark.parametrize(("shape", "axis"), [(shape, axis) for shape, axis in AXES if shape[axis] > 1])
def test_argmax_along_an_axis(kernels, shape, axis):
    x = numbers(*shape)
    order = np.argsort(-x, axis=axis).take(range(2), axis=axis)
    case = Case(kernels, "ArgMax", f"argmax_param {{ top_k: 2 axis: {axis} }}", x=x)
    assert np.array_equal(case.forward(), order)
    assert case.layer.cuttable == (axis % len(shape) != 0)
    values = Case(kernels, "ArgMax", f"argmax_param {{ top_k: 2 axis: {axis} out_max_val: true }}", x=x).forward()
    assert np.array_equal(values, np.take_along_axis(x, order, axis))


def test_argmax_of_equal_numbers_names_the_later_first(kernels):
    x = [[1, 3, 3, 0, 3], [2, 2, 2, 2, 2], [np.nan, -np.inf, 0, -1, -1]]
    assert np.array_equal(Case(kernels, "ArgMax", "", x=x).forward()[:, 0, 0], [4, 4, 2])
    three = Case(kernels, "ArgMax", "argmax_param { top_k: 3 axis: 1 }", x=x).forward()
    assert np.array_equal(three, [[4, 2, 1], [4, 3, 2], [2, 4, 3]])


# --- Embed, BatchReindex, Filter --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 1, 3), (2, 3, 1, 2)])
def test_embed(kernels, shape):
    index = np.random.default_rng(0).integers(0, 10, shape)
    index.flat[:2] = 9  # a row twice, and the last one
    case = Case(kernels, "Embed", "embed_param { input_dim: 10 num_output: 5 }", x=index)
    weights, bias = case.layer.parameters
    weights.data[...], bias.data[...] = numbers(10, 5), numbers(5, seed=1)
    assert np.array_equal(case.forward(), weights.data[index] + bias.data)
    dy = numbers(*shape, 5, seed=2)
    case.gradient(y=dy)
    wanted = np.zeros((10, 5))
    for row, values in zip(index.ravel(), dy.reshape(-1, 5), strict=True):
        wanted[row] += values
    assert_close(weights.grad, wanted, 1e-6)
    assert_close(bias.grad, dy.reshape(-1, 5).sum(0), 1e-6)
    plain = Case(kernels, "Embed", "embed_param { input_dim: 10 num_output: 5 bias_term: false }", x=index)
    plain.layer.parameters[0].data[...] = numbers(10, 5)
    assert np.array_equal(plain.forward(), numbers(10, 5)[index])
    assert len(plain.layer.parameters) == 1


def test_batch_reindex(kernels):
    x, index = np.arange(120).reshape(5, 4, 3, 2), [4, 0, 4, 0, 1, 2]
    case = Case(kernels, "BatchReindex", "", x=x, i=index)
    assert np.array_equal(case.forward(), x[index])
    dy = numbers(6, 4, 3, 2)
    wanted = np.zeros((5, 4, 3, 2))
    np.add.at(wanted, index, dy)
    assert_close(case.gradient(y=dy), wanted, 1e-6)
    assert not case.layer.cuttable


@pytest.mark.parametrize(("wrong", "text"), [(5, "5"), (-1, "-1"), (np.nan, "nan"), (1e10, "1e\\+10")])
def test_numbers_of_rows_are_checked(kernels, wrong, text):
    for kind, rest, blobs in (
        ("BatchReindex", "", {"x": numbers(5, 2), "i": [0, 4, wrong]}),
        ("Embed", "embed_param { input_dim: 5 num_output: 1 }", {"i": [[0, 4, wrong]]}),
    ):
        case = Case(kernels, kind, rest, **blobs)
        with pytest.raises(UserError, match=rf"\({kind}\): index {text} \(number 2\) is not one of the 5 rows$"):
            case.forward()


def test_filter(kernels):
    x, z = numbers(4, 2, 3, 2), numbers(4, 5, seed=1)
    case = Case(kernels, "Filter", "", "y u", x=x, z=z, s=np.reshape([0, 1, 1, 0], (4, 1, 1, 1)))
    assert case.net.blobs["y"].shape == x.shape  # until there is a selector to look at
    for selector in ([0, 1, 1, 0], [0, 0, -2, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0.5, 0, 0, 0]):
        case.net.blobs["s"].data[:, 0, 0, 0] = selector
        kept = np.array(selector) != 0
        assert np.array_equal(case.forward(), x[kept])
        assert np.array_equal(case.forward("u"), z[kept])
        wanted = np.zeros_like(x)
        wanted[kept] = 2
        assert np.array_equal(case.gradient(y=2, u=3), wanted)
        assert np.array_equal(case.net.blobs["z"].diff, np.where(kept[:, None], 3, np.zeros((4, 5))))
    assert not case.layer.cuttable


def test_layers_before_a_filter_keep_what_they_need_when_its_shape_changes(kernels):
    net = net_of(
        inputs(x=(4, 2, 4, 4), s=(4,))
        + layer("p", "Pooling", "x", "p", "pooling_param { kernel_size: 2 stride: 2 }")
        + layer("f", "Filter", "p s", "y") + "force_backward: true", kernels=kernels)  # fmt: skip
    x = np.random.default_rng(0).permutation(128).reshape(4, 2, 4, 4)
    for selector in ([0, 1, 1, 0], [0, 0, 0, 1]):
        net.blobs["x"].data[...], net.blobs["s"].data[...] = x, selector
        net.forward()
        net.blobs["y"].diff[...] = 1
        net.backward()
        assert np.array_equal((net.blobs["x"].diff != 0).sum(axis=(1, 2, 3)), 8 * np.array(selector))


@pytest.mark.parametrize(("body", "wanted"), [
    ("", (0, 2, 3, 2)),
    (layer("n", "Concat", "y y", "z", "concat_param { axis: 2 }"), (0, 2, 6, 2)),
    (layer("n", "Slice", "y", "z w"), (0, 1, 3, 2)),
    (layer("n", "Tile", "y", "z", "tile_param { tiles: 2 }"), (0, 4, 3, 2)),
    (layer("n", "Reshape", "y", "z", "reshape_param { shape { dim: 0 dim: -1 } }"), (0, 12)),
    (layer("n", "Reshape", "y", "z", "reshape_param { shape { dim: -1 dim: 6 dim: 2 } }"), (0, 6, 2)),
    (layer("n", "Reduction", "y", "z", "reduction_param { axis: 1 operation: MEAN }"), (0,)),
    (layer("n", "Reduction", "y", "z", "reduction_param { operation: MEAN }"), ()),
    (layer("n", "ArgMax", "y", "z"), (0, 1, 1, 1)),
    (layer("n", "MVN", "y", "z"), (0, 2, 3, 2)),
    (layer("n", "Im2col", "y", "z", "convolution_param { kernel_size: 2 }"), (0, 8, 2, 1)),
    (layer("n", "SPP", "y", "z", "spp_param { pyramid_height: 2 }"), (0, 10)),
    (layer("n", "InnerProduct", "y", "z", "inner_product_param { num_output: 3 }"), (0, 3)),
])  # fmt: skip
def test_a_filter_may_keep_nothing(kernels, body, wanted):
    source = inputs(x=(4, 2, 3, 2), s=(4,)) + layer("f", "Filter", "x s", "y") + body + "force_backward: true"
    net = net_of(source, kernels=kernels)
    net.blobs["x"].data[...] = 1
    net.forward()
    assert net.blobs["z" if body else "y"].shape == wanted
    net.backward()
    assert not net.blobs["x"].diff.any()


# --- Im2col, SPP ------------------------------------------------------------------------------------------------------


def test_im2col_as_in_caffes_tests(kernels):
    x = numbers(2, 3, 6, 5)
    found = Case(kernels, "Im2col", "convolution_param { kernel_size: 3 stride: 2 }", x=x).forward()
    assert found.shape == (2, 27, 2, 2)
    for c in range(27):
        assert np.array_equal(found[:, c, 0, 0], x[:, c // 9, (c // 3) % 3, c % 3])
    wide = numbers(2, 3, 10, 11)
    rest = "convolution_param { kernel_size: 3 stride: 2 dilation: 3 }"
    assert Case(kernels, "Im2col", rest, x=wide).forward().shape == (2, 27, 2, 3)


@pytest.mark.parametrize(("shape", "axis", "geometry", "rest"), [
    ((2, 3, 6, 5), 1, ((3, 3), (2, 2), (1, 1), (1, 1)), "kernel_size: 3 stride: 2 pad: 1"),
    ((2, 3, 6, 5), 1, ((2, 3), (1, 2), (0, 2), (1, 1)),
     "kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 0 pad_w: 2"),
    ((2, 3, 9), 1, ((3,), (2,), (2,), (2,)), "kernel_size: 3 stride: 2 pad: 2 dilation: 2 force_nd_im2col: true"),
    ((2, 2, 4, 3, 5), 1, ((2, 2, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
     "kernel_size: 2 kernel_size: 2 kernel_size: 3"),
    ((2, 2, 4, 5), 2, ((3,), (1,), (1,), (1,)), "kernel_size: 3 pad: 1 axis: -2"),
    ((3, 4, 5), 0, ((2, 2), (1, 1), (0, 0), (1, 1)), "kernel_size: 2 axis: 0"),
])  # fmt: skip
def test_im2col(kernels, shape, axis, geometry, rest):
    """Against the definition, place by place; the gradient against the transposed map."""
    x, (size, stride, pad, dilation) = numbers(*shape), geometry
    spatial = len(size)
    wide = np.pad(x, [(0, 0)] * (axis + 1) + [(p, p) for p in pad])
    case = Case(kernels, "Im2col", f"convolution_param {{ {rest} }}", x=x)
    y = case.forward()
    patches = y.reshape(*shape[:axis], shape[axis], *size, *y.shape[axis + 1 :])
    for place in np.ndindex(*size, *y.shape[axis + 1 :]):
        tap, out = place[:spatial], place[spatial:]
        at = tuple(o * s + t * d for o, s, t, d in zip(out, stride, tap, dilation, strict=True))
        assert np.array_equal(patches[(..., *place)], wide[(..., *at)])
    dy = numbers(*y.shape, seed=1)
    assert np.vdot(case.gradient(y=dy), x) == pytest.approx(float(np.vdot(dy, y)), rel=1e-4)
    assert case.layer.cuttable == (axis != 0)


@pytest.mark.parametrize(("shape", "height", "features"), [
    ((2, 3, 9, 8), 3, 63), ((1, 3, 64, 47), 5, 1023), ((10, 3, 7, 7), 3, 63), ((2, 2, 1, 1), 1, None), ((3, 2, 5, 4), 1, None),
])  # fmt: skip
def test_spp_gives_as_many_features_for_any_size(kernels, shape, height, features):
    found = Case(kernels, "SPP", f"spp_param {{ pyramid_height: {height} }}", x=numbers(*shape)).forward()
    assert found.shape == ((shape[0], features) if features else (*shape[:2], 1, 1))


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_spp_is_pooling_at_several_levels(kernels, method):
    """9 x 8: bins 1 (kernel 9 x 8), 2 (5 x 4, pad 1 x 0) and 4 (3 x 2, pad 2 x 0)."""
    x, dy = numbers(2, 3, 9, 8), numbers(2, 63, seed=1)
    spp = Case(kernels, "SPP", f"spp_param {{ pyramid_height: 3 pool: {method} }}", x=x)
    levels = [
        Case(kernels, "Pooling",
             f"pooling_param {{ pool: {method} kernel_h: {h} kernel_w: {w} stride_h: {h} stride_w: {w} "
             f"pad_h: {pad} pad_w: 0 }}", x=x)
        for h, w, pad in ((9, 8, 0), (5, 4, 1), (3, 2, 2))
    ]  # fmt: skip
    joined = np.concatenate([level.forward().reshape(2, -1) for level in levels], axis=1)
    assert np.array_equal(spp.forward(), joined)
    parts = [part.reshape(2, 3, bins, bins) for part, bins in zip(np.split(dy, [3, 15], 1), (1, 2, 4), strict=True)]
    wanted = sum(level.gradient(y=part) for level, part in zip(levels, parts, strict=True))
    assert_close(spp.gradient(y=dy), wanted, 1e-6)


# --- HDF5Output -------------------------------------------------------------------------------------------------------


@pytest.fixture
def writer(tmp_path, kernels):
    def make(**blobs):
        return Case(kernels, "HDF5Output", f'hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }}', "", **blobs)

    return make


def test_hdf5_output_writes_what_caffe_writes(writer, tmp_path):
    x, z = numbers(5, 2, 3, 4), np.arange(5)
    writer(x=numbers(2, 1), z=np.arange(2)).net.forward()  # an older file gives way
    case = writer(x=x, z=z)
    case.net.forward()
    with h5py.File(tmp_path / "out.h5") as file:
        assert sorted(file) == ["data", "label"]
        assert file["data"].dtype == file["label"].dtype == np.float32
        assert np.array_equal(file["data"], x)
        assert np.array_equal(file["label"], z.reshape(5, 1, 1, 1))
    case.net.backward()
    assert not case.net.blobs["x"].diff.any()
    assert not case.layer.cuttable


def test_hdf5_output_adds_the_rows_of_later_batches(writer, tmp_path):
    case = writer(x=numbers(3, 2), z=np.arange(3))
    for _ in range(3):
        case.net.forward()
        case.net.blobs["z"].data[...] += 3
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["label"][:, 0, 0, 0], np.arange(9))
        assert np.array_equal(file["data"], np.concatenate([numbers(3, 2)] * 3).reshape(9, 2, 1, 1))


def test_hdf5_output_that_cannot_write(writer, tmp_path):
    case = writer(x=numbers(2, 3), z=np.arange(2))
    case.net.forward()
    case.net.whole.resize("x", (2, 4))[...] = 0
    with pytest.raises(UserError, match=r"cannot add rows \(4, 1, 1\) to rows \(3, 1, 1\) of data in '.*out.h5'$"):
        case.net.forward()
    with (
        h5py.File(tmp_path / "out.h5", "w"),
        pytest.raises(UserError, match=r"\(HDF5Output\): cannot write '.*out.h5': "),
    ):
        writer(x=numbers(2, 3), z=np.arange(2)).net.forward()


# --- gradients that cannot be had, and batches in pieces --------------------------------------------------------------


@pytest.mark.parametrize(("kind", "rest", "bottoms", "text"), [
    ("ArgMax", "", "h", "its bottom"),
    ("Embed", "embed_param { input_dim: 9 num_output: 2 }", "h", "the numbers of rows"),
    ("BatchReindex", "", "x r", "the numbers of rows"),
    ("Filter", "", "x r", "its selector"),
])  # fmt: skip
def test_gradients_that_cannot_be_had_are_refused_when_asked_for(kernels, kind, rest, bottoms, text):
    source = (
        inputs(x=(2, 3))
        + layer("ip", "InnerProduct", "x", "h", "inner_product_param { num_output: 1 }")
        + (layer("r", "Reshape", "h", "r", "reshape_param { shape { dim: -1 } }") if "r" in bottoms else "")
        + layer("one", kind, bottoms, "y", rest)
        + layer("loss", "Reduction", "y", "loss", "loss_weight: 1")
    )
    net = net_of(source, kernels=kernels)
    net.forward()
    with pytest.raises(UserError, match=rf"layer 'one' \({kind}\): has no gradient for {text}$"):
        net.backward()


BLOCK = (
    layer("c", "Convolution", "data", "c", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } }")
    + layer("d", "Convolution", "data", "d", "convolution_param { num_output: 6 kernel_size: 1 weight_filler { type: 'xavier' } }")
    + layer("join", "Concat", "c d", "j")
    + layer("cut", "Slice", "j", "p q", "slice_param { slice_point: 3 }")
    + layer("tile", "Tile", "p", "t", "tile_param { tiles: 2 axis: 2 }")
    + layer("crop", "Crop", "t q", "k", "crop_param { axis: 2 offset: 3 offset: 0 }")
    + layer("mvn", "MVN", "k", "m")
    + layer("spp", "SPP", "m", "s", "spp_param { pyramid_height: 2 }")
    + layer("im", "Im2col", "q", "i", "convolution_param { kernel_size: 2 stride: 2 }")
    + layer("mean", "Reduction", "i", "r", "reduction_param { axis: 2 operation: MEAN }")
    + layer("all", "Concat", "s r", "a")
    + layer("re", "Reshape", "a", "z", "reshape_param { shape { dim: 0 dim: -1 dim: 1 } }")
    + layer("ip", "InnerProduct", "z", "ip", "inner_product_param { num_output: 4 weight_filler { type: 'xavier' } }")
    + layer("loss", "SoftmaxWithLoss", "ip label", "loss")
)  # fmt: skip


def test_a_batch_may_be_computed_in_pieces(kernels):
    found = []
    for chunk in (2, 8):
        net = net_of(data(8) + BLOCK, data=samples(8), kernels=kernels, chunk=chunk, seed=1)
        assert not net.uncut
        net.zero_sums()
        net.accumulate(np.arange(8), 0)
        found.append(net.flat.grads.copy())
    assert np.abs(found[0]).max() > 1e-2
    assert_close(found[0], found[1], 1e-5)
