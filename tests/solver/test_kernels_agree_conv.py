"""Compiled convolution, deconvolution and pooling against the NumPy reference: drawn geometries of every special path."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from engine_support import COMPILED, KERNEL_SETS, assert_close, inputs, layer, net_of, randomise
from test_kernels_agree import guarded_memory  # noqa: F401 - a fixture for every test here

from batchbrew.solver.kernels import compile_program

COUNTS = {"depthwise": 30, "grouped": 30, "few": 24, "deconv": 36, "axes": 24, "point": 20, "large": 6, "pool": 24}
DRAWS = [(kind, seed) for kind, count in COUNTS.items() for seed in range(count)]


class Draw:
    """A random geometry of one kind, as shapes and a layer."""

    def __init__(self, kind: str, seed: int) -> None:
        self.rng = np.random.default_rng([seed, sum(map(ord, kind))])
        self.shapes, self.source = getattr(self, kind)()

    def pick(self, *of):
        return of[self.rng.integers(len(of))]

    def filters(self, kind, channels, outputs, *, group, kernel, shape=None, stride=(1, 1, 2, 3)):
        dilation = [self.pick(1, 1, 2), self.pick(1, 1, 3)]
        extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        pad = [int(self.rng.integers(0, e + 1)) for e in extent]
        size = shape or [int(self.rng.integers(1, 12)), int(self.rng.integers(1, 12))]
        steps = [self.pick(*stride), self.pick(*stride)]
        if kind == "Convolution":
            size = [max(s, e - 2 * p) for s, e, p in zip(size, extent, pad, strict=True)]
        else:
            pad = [min(p, (s * (n - 1) + e - 1) // 2) for p, s, n, e in zip(pad, steps, size, extent, strict=True)]
        each = "".join(
            f" kernel_{a}: {kernel[i]} pad_{a}: {pad[i]} stride_{a}: {steps[i]} dilation: {dilation[i]}"
            for i, a in enumerate("hw")
        )
        text = f"num_output: {outputs} group: {group} bias_term: {self.pick('true', 'false')}{each}"
        source = layer("conv", kind, "x", "y", f"convolution_param {{ {text} }}")
        return {"x": (self.pick(1, 2, 3, 17), channels, *size)}, source

    def kernel(self):
        return [self.pick(1, 2, 3, 5), self.pick(1, 2, 3, 4, 7)]

    def depthwise(self):
        group = self.pick(1, 2, 5, 16, 20, 33, 64)
        outputs = group * self.pick(1, 1, 1, 2, 3)
        return self.filters("Convolution", group, outputs, group=group, kernel=self.kernel())

    def grouped(self):
        group, inside, outside = self.pick(2, 3, 4, 8), self.pick(1, 2, 3, 4, 6, 8, 20), self.pick(1, 2, 3, 4, 5, 8, 40)
        return self.filters("Convolution", group * inside, group * outside, group=group, kernel=self.kernel())

    def few(self):
        group = self.pick(1, 1, 1, 2)
        return self.filters(
            "Convolution",
            group * self.pick(3, 16, 37),
            group * self.pick(1, 2, 3, 4),
            group=group,
            kernel=self.kernel(),
        )

    def deconv(self):
        group = self.pick(1, 1, 2, 16, 21)
        inside, outside = (
            (self.pick(1, 2, 3), self.pick(1, 1, 2)) if group > 2 else (self.pick(1, 5, 20), self.pick(1, 3, 33))
        )
        return self.filters(
            "Deconvolution", group * inside, group * outside, group=group, kernel=self.kernel(), stride=(1, 2, 3, 4, 8)
        )

    def axes(self):
        """Blobs of other than 4 axes, and 4 axes with the channels elsewhere."""
        shape, axis = self.pick(
            ((2, 5), 1), ((3, 4, 9), 1), ((2, 3, 8), 2), ((2, 6, 5, 4, 3), 1), ((2, 3, 4, 6, 7), 2), ((4, 6, 5, 3), 0),
            ((2, 3, 4, 5), 2), ((2, 3, 4, 5), -1), ((1, 2, 3, 3, 2, 2), 1), ((2, 6, 4, 3, 2, 2), 3), ((3, 7), 0), ((4,), 0),
        )  # fmt: skip
        kind, spatial = self.pick("Convolution", "Deconvolution"), len(shape) - axis % len(shape) - 1
        group = self.pick(1, 2) if shape[axis] % 2 == 0 else 1
        kernel = (
            [] if not spatial else [self.pick(1, 2)] if self.pick(0, 1) else [self.pick(1, 2) for _ in range(spatial)]
        )
        each = "".join(f" kernel_size: {k}" for k in kernel) + f" stride: {self.pick(1, 2)}" * (spatial > 0)
        text = f"num_output: {group * self.pick(1, 3)} group: {group} axis: {axis}{each}{' pad: 1' * (spatial == 1)}"
        return {"x": shape}, layer("conv", kind, "x", "y", f"convolution_param {{ {text} }}")

    def point(self):
        """Outputs or filters of one pixel."""
        kind, kernel = self.pick("Convolution", "Deconvolution"), self.pick([1, 1], [3, 4])
        group, inside, outside = self.pick(1, 1, 2, 20), self.pick(1, 4, 20), self.pick(1, 7, 50)
        group = group if inside < 20 else 1
        shape = kernel if kind == "Convolution" else [1, 1]
        return self.filters(kind, group * inside, group * outside, group=group, kernel=kernel, shape=shape)

    def large(self):
        kind = self.pick("Convolution", "Deconvolution")
        kernel = self.pick([33, 32], [1, 1100], [40, 40])
        group = self.pick(1, 2, 17)
        shape = [max(1, kernel[0] - 2), kernel[1] + 3] if kind == "Convolution" else [3, 2]
        return self.filters(
            kind, group, group * self.pick(1, 2), group=group, kernel=kernel, shape=shape, stride=(1, 2, 16)
        )

    def pool(self):
        kernel = [self.pick(1, 2, 3, 5), self.pick(1, 2, 3)]
        method = self.pick("MAX", "AVE")
        rest = self.pick("", f"pad_h: {kernel[0] // 2} pad_w: {kernel[1] - 1}") + self.pick("", " round_mode: FLOOR")
        text = f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {self.pick(1, 2, 3)} stride_w: {self.pick(1, 2)}"
        size = [int(self.rng.integers(kernel[0], 10)), int(self.rng.integers(kernel[1], 10))]
        tops = self.pick("y", "y mask") if method == "MAX" else "y"
        source = layer("pool", "Pooling", "x", tops, f"pooling_param {{ pool: {method} {text} {rest} }}")
        return {"x": (self.pick(1, 3), self.pick(1, 5, 16, 40), *size)}, source


def compute(draw: Draw, seed: int, kernels: str, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Return outputs and gradients for drawn numbers."""
    net = net_of(inputs(**draw.shapes) + draw.source + "force_backward: true", kernels=kernels, dtype=dtype, seed=5)
    randomise(net, seed, 0.2)
    rng = np.random.default_rng(seed)
    net.blobs["x"].data[...] = rng.normal(size=draw.shapes["x"]).astype(np.float32)
    for _ in range(2):  # nothing is left behind in working memory
        net.forward()
    net.blobs["y"].diff[...] = rng.normal(size=net.blobs["y"].shape).astype(np.float32)
    net.zero_sums()
    net.backward()
    found = {name: net.blobs[name].data.copy() for name in net.outputs} | {"dx": net.blobs["x"].diff.copy()}
    return found | {p.label: p.grad.copy() for p in net.flat.parameters}


@cache
def wanted(kind: str, seed: int) -> dict[str, np.ndarray]:
    return compute(Draw(kind, seed), seed, "reference", np.float64)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize(("kind", "seed"), DRAWS)
def test_drawn_layer(kind, seed, kernels):
    draw = Draw(kind, seed)
    found = compute(draw, seed, kernels)
    for name, values in wanted(kind, seed).items():
        assert_close(found[name], values, what=f"{name} of {draw.shapes} {draw.source}")


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize(("shape", "settings"), [
    ((7, 5, 9, 8), "num_output: 6 kernel_size: 3 pad: 1 stride: 2"),
    ((20, 6, 4, 4), "num_output: 40 kernel_size: 4"),
    ((20, 33, 3, 2), "num_output: 40 kernel_size: 1"),
    ((7, 40, 6, 5), "num_output: 40 kernel_size: 3 pad: 1 group: 40"),
    ((7, 32, 6, 5), "num_output: 64 kernel_size: 3 pad: 1 group: 16"),
    ((7, 40, 6, 5), "num_output: 2 kernel_size: 3 pad: 1"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_samples_do_not_depend_on_their_batch(kind, shape, settings, kernels):
    """The very bits of an output, and a gradient that adds up: else trajectories would depend on cuts."""
    one, all_ = (
        net_of(inputs(x=(n, *shape[1:])) + layer("c", kind, "x", "y", f"convolution_param {{ {settings} }}")
               + "force_backward: true", kernels=kernels)
        for n in (1, shape[0])
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=shape), rng.normal(size=all_.blobs["y"].shape)
    for net in (one, all_):
        randomise(net)
        net.zero_sums()
    all_.blobs["x"].data[...] = x
    all_.forward()
    all_.blobs["y"].diff[...] = dy
    all_.backward()
    for i in range(shape[0]):
        one.blobs["x"].data[0] = x[i]
        one.forward()
        one.blobs["y"].diff[0] = dy[i]
        one.backward()
        if kernels != "reference":  # where sums are left to a library
            assert np.array_equal(one.blobs["y"].data[0], all_.blobs["y"].data[i])
            assert np.array_equal(one.blobs["x"].diff[0], all_.blobs["x"].diff[i])
    for a, b in zip(one.params["c"], all_.params["c"], strict=True):
        assert_close(a.grad, b.grad, 1e-13)


@pytest.mark.parametrize("kernels", COMPILED)
@pytest.mark.parametrize("settings", [
    "num_output: 3 kernel_size: 3", "num_output: 40 kernel_size: 3", "num_output: 20 group: 20 kernel_size: 3",
    "num_output: 40 group: 20 kernel_size: 3", "num_output: 20 group: 10 kernel_size: 1", "num_output: 1 kernel_size: 1",
])  # fmt: skip
def test_a_nan_stays_where_filters_reach(kernels, settings):
    """What a vector reads beside what it needs must not reach a result."""
    for kind in ("Convolution", "Deconvolution"):
        net = net_of(
            inputs(x=(2, 20, 9, 9)) + layer("c", kind, "x", "y", f"convolution_param {{ {settings} }}")
            + "force_backward: true", kernels=kernels, convolution="direct")  # fmt: skip
        marked, clean = {}, {}
        for found, value in ((clean, 0.0), (marked, np.nan)):
            randomise(net, 1)
            rng = np.random.default_rng(2)
            net.blobs["x"].data[...] = rng.normal(size=(2, 20, 9, 9))
            net.blobs["x"].data[0, 7, 4, 4] = value
            net.forward()
            net.blobs["y"].diff[...] = rng.normal(size=net.blobs["y"].shape)
            net.blobs["y"].diff[1, 0, 2, 2] = value
            net.zero_sums()
            net.backward()
            found |= {"y": net.blobs["y"].data.copy(), "dx": net.blobs["x"].diff.copy()}
        assert np.isnan(marked["y"]).any() and np.isnan(marked["dx"]).any()
        size = 1 if "kernel_size: 1" in settings else 3
        y, dx = (~np.isnan(marked[name]) for name in ("y", "dx"))
        assert y[1].all() and dx[0].all()
        assert (~y[0]).any(axis=0).sum() == (~dx[1]).any(axis=0).sum() == size * size
        group = int(settings.split("group: ")[1].split()[0]) if "group" in settings else 1
        assert (~y[0]).any(axis=(1, 2)).sum() == y.shape[1] // group
        assert (~dx[1]).any(axis=(1, 2)).sum() == 20 // group
        assert np.array_equal(marked["y"][y], clean["y"][y]) and np.array_equal(marked["dx"][dx], clean["dx"][dx])


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_empty_batches(kernels):
    for kind, rest in (("Convolution", "kernel_size: 2 group: 5"), ("Deconvolution", "kernel_size: 2 stride: 2")):
        x, w = np.zeros((0, 5, 4, 3), np.float32), np.ones((5, 1 if "group" in rest else 5, 2, 2))
        group, wide = (5, x) if "group" in rest else (1, np.zeros((0, 5, 8, 6), np.float32))
        narrow = np.zeros((0, 5, 3, 2), np.float32) if kind == "Convolution" else x
        stride = 2 if kind == "Deconvolution" else 1
        geometry = (stride, stride, 0, 0, 1, 1, group)
        compile_program([
            ("conv_forward", (wide, w.astype(np.float32), None, narrow, *geometry)),
            ("conv_backward_data", (narrow, w.astype(np.float32), None, wide, *geometry)),
            ("conv_backward_weight", (wide, narrow, w, *geometry)),
        ], kernels).run()  # fmt: skip
        assert (w == 1).all()
