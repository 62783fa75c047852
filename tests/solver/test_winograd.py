"""Winograd's convolution: kernels against the definition and the NumPy reference, layers against direct convolution."""

from __future__ import annotations

from itertools import product

import h5py
import numpy as np
import pytest
from engine_support import COMPILED, KERNEL_SETS, assert_close, data, inputs, layer, net_of, randomise, samples
from test_kernels_agree import guarded_memory  # noqa: F401 - a fixture for every test here
from test_layers_caffe import LARGE, RECORDED, RECORDINGS, recorded_names, replay
from test_solver_caffe import REFERENCE, Recorded

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Storage, aligned_zeros
from batchbrew.solver.kernels import compile_program
from batchbrew.solver.kernels.reference import winograd
from batchbrew.solver.layers.algorithm import Case as Pass
from batchbrew.solver.layers.algorithm import by_rule, direct
from batchbrew.solver.tuning import cases

VARIANTS = [(2, 3), (4, 3), (2, 5), (4, 5)]  # outputs of a tile, taps
SIZES = [(7, 7), (9, 5), (1, 6), (16, 16), (12, 13)]


@pytest.mark.parametrize(("tile", "taps"), VARIANTS)
def test_the_matrices_make_a_correlation(tile, taps):
    size = tile + taps - 1
    rng = np.random.default_rng(1)
    d, w = rng.normal(size=size), rng.normal(size=taps)
    n, b = winograd.slopes(size), winograd.inputs(size)
    found = winograd.powers(size, tile).T @ ((winograd.powers(size, taps) @ w / n) * (b @ d))
    np.testing.assert_allclose(found, np.correlate(d, w, "valid"), rtol=1e-12)


class Case:
    """Arrays of one geometry, as layers hold them, and what direct convolution in float64 makes of them."""

    def __init__(self, tile, taps, shape, outputs, *, pad, bias, seed=0):
        n, c, height, width = shape
        rng = np.random.default_rng([seed, tile, taps, outputs, pad])
        self.tile, self.taps, self.pad = tile, taps, pad
        self.x = Storage(np.float32, (0, max(pad, 0))).view(shape)
        self.y = Storage(np.float32, (0, 1)).view((n, outputs, height + 2 * pad - taps + 1, width + 2 * pad - taps + 1))
        self.dy = Storage(np.float32).view(self.y.shape)
        weights = [aligned_zeros(outputs * c * taps * taps, t) for t in (np.float32, np.float64)]
        self.w, self.dw = (a.reshape(taps, taps, c, outputs).transpose(3, 2, 0, 1) for a in weights)
        self.bias = aligned_zeros(outputs, np.float32) if bias else None
        for array in (self.x, self.dy, self.w) + ((self.bias,) if bias else ()):
            array[...] = rng.normal(size=array.shape)
        blocks = -(-outputs // winograd.BLOCK)
        shape = (blocks, (tile + taps - 1) ** 2, c + 1, winograd.BLOCK)
        self.u = aligned_zeros(int(np.prod(shape)), np.float32).reshape(shape)[:, :, :-1]

    def run(self, kernels):
        calls = [
            ("winograd_weights", (self.w, self.u)),
            ("winograd_forward", (self.x, self.u, self.bias, self.y, self.tile, self.taps, self.pad, self.pad)),
            ("winograd_backward_weight", (self.x, self.dy, self.dw, self.tile, self.pad, self.pad)),
        ]
        self.y[...] = np.nan
        self.dw[...] = 0
        compile_program(calls, kernels).run()
        return self

    def wanted(self):
        y, dw = np.zeros(self.y.shape), np.zeros(self.dw.shape)
        x, dy, w, bias = (a if a is None else a.astype(np.float64) for a in (self.x, self.dy, self.w, self.bias))
        geometry = (1, 1, self.pad, self.pad, 1, 1, 1)
        calls = [("conv_forward", (x, w, bias, y, *geometry)), ("conv_backward_weight", (x, dy, dw, *geometry))]
        compile_program(calls, "reference").run()
        return y, dw


def check(case, kernels):
    case.run(kernels)
    for found, wanted in zip((case.y, case.dw), case.wanted(), strict=True):
        assert np.abs(found - wanted).max() <= 3e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("tile", "taps"), VARIANTS)
def test_agrees_with_direct_convolution(tile, taps, size, kernels):
    for (n, channels, outputs), pad, bias in product([(1, 1, 1), (3, 17, 5), (2, 20, 50)], range(5), (True, False)):
        if min(size) + 2 * pad >= taps:
            check(Case(tile, taps, (n, channels, *size), outputs, pad=pad, bias=bias), kernels)


@pytest.mark.parametrize("kernels", COMPILED)
@pytest.mark.parametrize("outputs", range(1, 51, 7))
@pytest.mark.parametrize(("tile", "taps"), VARIANTS)
def test_any_number_of_channels(tile, taps, outputs, kernels):
    for channels in (1, 3, 16, 31, 33, 64):
        check(Case(tile, taps, (2, channels, 6, 7), outputs, pad=2, bias=True), kernels)


@pytest.mark.parametrize("kernels", COMPILED)
@pytest.mark.parametrize(("tile", "taps"), VARIANTS)
def test_transformed_filters(tile, taps, kernels):
    case = Case(tile, taps, (1, 19, 5, 5), 45, pad=2, bias=False)
    found = case.run(kernels).u.copy()
    wanted = case.run("reference").u
    for block, outputs in enumerate((32, 13)):
        assert_close(found[block, :, :, :outputs], wanted[block, :, :, :outputs], 1e-6)


@pytest.mark.parametrize("kernels", COMPILED)
@pytest.mark.parametrize(("tile", "taps"), VARIANTS)
def test_samples_do_not_depend_on_their_batch(tile, taps, kernels):
    """The very bits of an output, and a gradient that adds up."""
    whole = Case(tile, taps, (23, 40, 9, 11), 33, pad=2, bias=True).run(kernels)
    sums = np.zeros_like(whole.dw)
    for start, stop in ((0, 1), (1, 8), (8, 23)):
        part = Case(tile, taps, (stop - start, 40, 9, 11), 33, pad=2, bias=True)
        for name in ("x", "dy", "w", "bias"):
            given = getattr(whole, name)
            getattr(part, name)[...] = given[start:stop] if name in ("x", "dy") else given
        part.run(kernels)
        assert np.array_equal(part.y, whole.y[start:stop])
        sums += part.dw
    assert_close(sums, whole.dw, 1e-13)


# --- layers -----------------------------------------------------------------------------------------------------------


def one_layer(kind, settings, shape, convolution, kernels="auto", **options):
    source = inputs(x=shape) + layer("c", kind, "x", "y", f"convolution_param {{ {settings} }}")
    net = net_of(source + "force_backward: true", kernels=kernels, convolution=convolution, **options)
    randomise(net, 3)
    return net


def passed(net, seed=0):
    """Return outputs and gradients for drawn numbers."""
    rng = np.random.default_rng(seed)
    net.blobs["x"].data[...] = rng.normal(size=net.blobs["x"].shape)
    net.forward()
    net.blobs["y"].diff[...] = rng.normal(size=net.blobs["y"].shape)
    net.zero_sums()
    net.backward()
    found = [net.blobs["y"].data, net.blobs["x"].diff, *(p.grad for p in net.params["c"])]
    return [array.copy() for array in found]


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("bias", ["true", "false"])
@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_layers_agree_with_direct_convolution(kind, taps, bias, kernels):
    for pad in range(taps if kind == "Convolution" else 3):
        settings = f"num_output: 9 kernel_size: {taps} pad: {pad} bias_term: {bias}"
        one, other = (one_layer(kind, settings, (3, 18, 9, 7), c, kernels) for c in ("winograd", "direct"))
        assert {c.tiles for c in cases(one.wiring)} == {(2, 4)} and len(cases(one.wiring)) == 3
        for found, wanted in zip(passed(one), passed(other), strict=True):
            assert_close(found, wanted, 3e-5)


@pytest.mark.parametrize(("settings", "shape"), [
    ("num_output: 8 kernel_size: 3 stride: 2", (2, 8, 9, 9)), ("num_output: 8 kernel_size: 4", (2, 8, 9, 9)),
    ("num_output: 8 kernel_size: 3 dilation: 2", (2, 8, 9, 9)), ("num_output: 8 kernel_size: 3 group: 2", (2, 8, 9, 9)),
    ("num_output: 8 kernel_h: 3 kernel_w: 5", (2, 8, 9, 9)), ("num_output: 8 kernel_size: 3", (2, 8, 9)),
    ("num_output: 8 kernel_size: 3", (2, 8, 5, 5, 5)),
])  # fmt: skip
def test_what_cannot_be_cut_into_tiles_is_computed_directly(settings, shape):
    net = one_layer("Convolution", settings, shape, "winograd")
    assert not cases(net.wiring)
    for found, wanted in zip(passed(net), passed(one_layer("Convolution", settings, shape, "direct")), strict=True):
        assert np.array_equal(found, wanted)


def test_a_blob_of_more_axes():
    settings = "num_output: 20 kernel_size: 3 axis: 2 pad: 1"
    one, other = (one_layer("Convolution", settings, (2, 3, 17, 8, 8), c) for c in ("winograd", "direct"))
    assert len(cases(one.wiring)) == 3
    for found, wanted in zip(passed(one), passed(other), strict=True):
        assert_close(found, wanted, 3e-5)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_whole_passes_see_what_users_write_into_parameters(kind):
    """Before any pass, also between forward and backward."""
    settings = "num_output: 16 kernel_size: 3 pad: 1"
    one, other = (one_layer(kind, settings, (2, 16, 8, 8), c) for c in ("winograd", "direct"))
    for scale in (1.0, 3.0):
        for net in (one, other):
            net.params["c"][0].data[...] *= scale
        for found, wanted in zip(passed(one), passed(other), strict=True):
            assert_close(found, wanted, 3e-5)
    for net in (one, other):
        net.params["c"][0].data[...] *= -1
        net.backward()
    assert_close(one.blobs["x"].diff, other.blobs["x"].diff, 3e-5)


NET = data(6) + "".join((
    layer("a", "Convolution", "data", "a", "convolution_param { num_output: 16 kernel_size: 3 pad: 1 }"),
    layer("b", "Convolution", "a", "b", "convolution_param { num_output: 20 kernel_size: 5 pad: 2 }"),
    layer("ip", "InnerProduct", "b", "ip", "inner_product_param { num_output: 4 }"),
    layer("loss", "SoftmaxWithLoss", "ip label", "loss"),
))  # fmt: skip


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_sums_follow_the_parameters_and_do_not_depend_on_chunks_and_threads(kernels):
    part = samples(13)
    nets = [
        net_of(NET, data=part, kernels=kernels, convolution=how, chunk=chunk, threads=threads)
        for how, chunk, threads in (("winograd", 13, 1), ("winograd", 4, 1), ("direct", 13, 1), ("winograd", 6, 2))
    ]
    tests = [net_of(NET, pb.TEST, data=part, kernels=kernels, convolution="winograd", share=net) for net in nets]
    for step in range(3):
        for net, test in zip(nets, tests, strict=True):
            randomise(net, step, 0.2)
            net.zero_sums()
            net.accumulate(np.arange(13), 0)
            test.sums[...] = 0
            test.evaluate(np.arange(13))
            assert test.mean_loss == pytest.approx(net.mean_loss, rel=1e-4)
        for cut in (nets[1], nets[3]):
            assert_close(nets[0].flat.grads, cut.flat.grads, 1e-6 if kernels == "reference" else 1e-12)
        assert_close(nets[0].flat.grads, nets[2].flat.grads, 1e-4)


@pytest.mark.parametrize("kernels", COMPILED)
@pytest.mark.parametrize("settings", ["num_output: 3 kernel_size: 3 pad: 1", "num_output: 40 kernel_size: 5 pad: 2"])
def test_a_nan_stays_in_the_tiles_that_see_it(kernels, settings):
    """What a vector reads beside what it needs must not reach a result."""
    net = one_layer("Convolution", settings, (2, 20, 14, 14), "winograd", kernels)
    net.blobs["x"].data[...] = 1
    net.blobs["x"].data[0, 7, 13, 13] = np.nan
    net.forward()
    found = np.isnan(net.blobs["y"].data)
    assert found[0, :, 12:, 12:].any(axis=(1, 2)).all() and not found[1].any() and not found[0, :, :8, :8].any()


def test_who_chooses(monkeypatch):
    settings, shape = "num_output: 32 kernel_size: 3 pad: 1", (2, 32, 16, 16)

    def tiles(convolution=None, **options):
        net = one_layer("Convolution", settings, shape, convolution, **options)
        return {net.choose(case, 32) for case in cases(net.wiring)}

    assert tiles("winograd") == tiles(lambda *case: 4) == {4}
    assert tiles("direct") == {0} and tiles(lambda *case: 2) == {2}
    assert tiles("auto") == tiles() == ({4} if COMPILED else {0})
    assert tiles("auto", kernels="reference") == {0}
    assert tiles("winograd", dtype=np.float64) == {4}
    monkeypatch.setenv("BATCHBREW_CONVOLUTION", "direct")
    assert tiles() == {0} and tiles("winograd") == {4}
    monkeypatch.setenv("BATCHBREW_CONVOLUTION", "windograd")
    with pytest.raises(
        UserError, match=r"convolution 'windograd' is not known - did you mean 'winograd'\? \(known: auto"
    ):
        tiles()


def test_the_rule():
    assert by_rule(Pass(False, 32, 32, (16, 16), 5, (2, 2)), 32) == 4
    assert by_rule(Pass(False, 1, 1, (16, 16), 3, (1, 1)), 32) == 0
    assert by_rule(Pass(True, 512, 512, (14, 14), 3, (1, 1)), 32) == 0  # sums would be too large
    large = Pass(False, 512, 512, (7, 7), 3, (1, 1))
    assert (
        by_rule(large, 32) == 4 and by_rule(large, 1) == 0
    )  # the transform of its filters costs more than one picture
    assert direct(Pass(False, 32, 32, (16, 16), 5, (2, 2)), 32) == 0


# --- Caffe's numbers, whatever is chosen ------------------------------------------------------------------------------


def recorded_convolutions() -> list[str]:
    with h5py.File(RECORDED) as file:
        return [name for name in recorded_names() if "onvolution" in file[name].attrs["prototxt"]]


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("how", ["direct", "winograd"])
@pytest.mark.parametrize("name", [*recorded_convolutions(), *LARGE])
def test_agrees_with_caffe(name, how, kernels, monkeypatch):
    monkeypatch.setenv("BATCHBREW_CONVOLUTION", how)
    file = RECORDED if name not in LARGE else RECORDINGS / "layers.h5"
    if not file.exists():
        pytest.skip("the full recordings of Caffe are not beside the project")
    with h5py.File(file) as recordings:
        replay(recordings[name], kernels)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("how", ["direct", "winograd"])
def test_trajectory_agrees_with_caffe(how, kernels, monkeypatch):
    monkeypatch.setenv("BATCHBREW_CONVOLUTION", how)
    with h5py.File(REFERENCE / "caffe_solvers.h5") as recordings:
        run = Recorded(recordings, "nesterov", kernels)
        run.start()
        for _ in range(20):
            run.step()
        run.check()
