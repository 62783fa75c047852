"""Speed of one convolution layer for many geometries: forward, data gradient and weight gradient, one thread.

GFLOP/s, and how many times slower a geometry is than its share of FLOPs would say, the dense 3x3 of the first row being
the measure. Each figure is the best of some rounds; a round measures all geometries, so that what else the machine does
falls on all of them.

python benchmarks/convolutions.py [--rounds N] [--kernels NAME] [--only TEXT] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.net import Net

DENSE = "dense 3x3, 64"
PASSES = ("forward", "data", "weight")
SECONDS = 0.02  # least time of one measurement


@dataclass(frozen=True)
class Geometry:
    """A layer on pictures (samples, channels, size, size); ``rest`` are its parameters."""

    name: str
    channels: int
    size: int
    rest: str
    samples: int = 4
    kind: str = "Convolution"

    def net(self, gradient: str) -> Net:
        """Return a net of this layer that computes this gradient, ``data`` or ``weight``, and no other."""
        source = f"""
            layer {{ name: "x" type: "Input" top: "x" input_param {{
              shape {{ dim: {self.samples} dim: {self.channels} dim: {self.size} dim: {self.size} }} }} }}
            layer {{ name: "layer" type: "{self.kind}" bottom: "x" top: "y" loss_weight: 1
              param {{ lr_mult: {int(gradient == "weight")} }} propagate_down: {str(gradient == "data").lower()}
              convolution_param {{ {self.rest} bias_term: false weight_filler {{ type: "gaussian" std: 0.1 }} }} }}"""
        return Net(text.parse(source, pb.NetParameter), pb.TRAIN, kernels=KERNELS)


def same(outputs: int, kernel: int, rest: str = "") -> str:
    return f"num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} {rest}"


GEOMETRIES = (
    Geometry(DENSE, 64, 56, same(64, 3)),
    Geometry("dense 3x3, 256", 256, 14, same(256, 3)),
    Geometry("dense 3x3, 512 at 7x7", 512, 7, same(512, 3)),
    Geometry("dense 3x3, stride 2", 64, 56, same(64, 3, "stride: 2")),
    Geometry("1x1, 64 -> 256", 64, 56, same(256, 1)),
    Geometry("1x1, 512 -> 128 at 7x7", 512, 7, same(128, 1)),
    Geometry("1x1, stride 2", 256, 56, same(128, 1, "stride: 2")),
    Geometry("5x5", 64, 28, same(64, 5)),
    Geometry("7x7", 64, 28, same(64, 7)),
    Geometry("31x31", 16, 32, same(16, 31)),
    Geometry("33x33 (1089 taps)", 16, 32, same(16, 33)),
    Geometry("1x7", 128, 17, "num_output: 128 kernel_h: 1 kernel_w: 7 pad_w: 3"),
    Geometry("7x1", 128, 17, "num_output: 128 kernel_h: 7 kernel_w: 1 pad_h: 3"),
    Geometry("dilation 2", 64, 56, "num_output: 64 kernel_size: 3 pad: 2 dilation: 2"),
    Geometry("dilation 12", 64, 56, "num_output: 64 kernel_size: 3 pad: 12 dilation: 12"),
    Geometry("5x5, group 2", 96, 27, same(256, 5, "group: 2")),
    Geometry("3x3, group 8, 64", 64, 56, same(64, 3, "group: 8")),
    Geometry("3x3, group 32, 128", 128, 56, same(128, 3, "group: 32")),
    Geometry("3x3, group 32, 256", 256, 28, same(256, 3, "group: 32")),
    Geometry("3x3, group 32, 1024", 1024, 7, same(1024, 3, "group: 32")),
    Geometry("1x1, group 32, 256", 256, 28, same(256, 1, "group: 32")),
    Geometry("depthwise 3x3", 128, 56, same(128, 3, "group: 128")),
    Geometry("depthwise 3x3, stride 2", 128, 56, same(128, 3, "stride: 2 group: 128")),
    Geometry("depthwise 3x3 at 7x7", 1024, 7, same(1024, 3, "group: 1024")),
    Geometry("depthwise 5x5", 120, 28, same(120, 5, "group: 120")),
    Geometry("depthwise 7x7", 96, 56, same(96, 7, "group: 96")),
    Geometry("depthwise 3x3, dilation 2", 128, 56, "num_output: 128 kernel_size: 3 pad: 2 dilation: 2 group: 128"),
    Geometry("depthwise 3x3, 2 outputs each", 64, 56, same(128, 3, "group: 64")),
    Geometry("3 channels, 3x3", 3, 112, same(64, 3)),
    Geometry("3 channels, 7x7 stride 2", 3, 112, same(64, 7, "stride: 2")),
    Geometry("3 channels, 11x11 stride 4", 3, 227, "num_output: 96 kernel_size: 11 stride: 4", 2),
    Geometry("1 channel, 5x5", 1, 28, "num_output: 20 kernel_size: 5", 32),
    Geometry("1 output, 3x3", 64, 56, same(1, 3)),
    Geometry("2 outputs, 1x1", 256, 28, same(2, 1)),
    Geometry("fully connected 7x7", 128, 7, "num_output: 1024 kernel_size: 7", 64),
    Geometry("transposed 4x4 stride 2", 64, 28, "num_output: 64 kernel_size: 4 stride: 2 pad: 1", kind="Deconvolution"),
    Geometry(
        "transposed depthwise 16x16 stride 8", 21, 16,
        "num_output: 21 kernel_size: 16 stride: 8 pad: 4 group: 21", kind="Deconvolution"),
)  # fmt: skip


def passes(geometry: Geometry) -> dict[str, Callable[[], object]]:
    """Return what to run for each pass; the data gradient with what it prepares of the filters once an update."""
    data, weight = geometry.net("data"), geometry.net("weight")
    draw = np.random.default_rng(1)
    for net in (data, weight):
        net.blobs["x"].data[...] = draw.normal(size=net.blobs["x"].shape)
        net.blobs["y"].diff[...] = draw.normal(size=net.blobs["y"].shape)
        net.forward()
    compiled = weight.whole.compiled
    return {
        "forward": lambda: compiled.program.run(*compiled.forward[1]),
        "data": data.backward,
        "weight": lambda: compiled.program.run(*compiled.backward[1]),
    }


def seconds(run: Callable[[], object]) -> float:
    """Return the processor seconds of one run, the mean of as many as take SECONDS."""
    repeats = 1
    while True:
        start = time.thread_time()
        for _ in range(repeats):
            run()
        spent = time.thread_time() - start
        if spent > SECONDS:
            return spent / repeats
        repeats = int(repeats * max(2.0, 1.2 * SECONDS / max(spent, 1e-6)))


def measure(geometries: list[Geometry], rounds: int) -> dict[str, dict[str, float]]:
    """Return the best GFLOP/s of each pass of each geometry."""
    best: dict[str, dict[str, float]] = {g.name: dict.fromkeys(PASSES, 0.0) for g in geometries}
    for _ in range(rounds):
        for geometry in geometries:
            runs = passes(geometry)
            net = geometry.net("weight")
            gflop = 2e-9 * net.layers[1].multiply_adds([net.blobs["x"].shape], [net.blobs["y"].shape])
            for name, run in runs.items():
                best[geometry.name][name] = max(best[geometry.name][name], gflop / seconds(run))
    return best


def main() -> None:
    global KERNELS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kernels", default=None)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    KERNELS = options.kernels
    best = measure([g for g in GEOMETRIES if g.name == DENSE or options.only in g.name], options.rounds)
    print(f"{'':38}{'GFLOP/s':^27}{'times slower than its FLOPs say':^36}")
    print(f"{'geometry':38}" + "".join(f"{name:>9}" for name in PASSES) + "".join(f"{name:>12}" for name in PASSES))
    for name, found in best.items():
        ratios = (best[DENSE][each] / found[each] for each in PASSES)
        print(f"{name:38}" + "".join(f"{found[each]:9.1f}" for each in PASSES) + "".join(f"{r:12.1f}" for r in ratios))
    if options.json:
        options.json.write_text(json.dumps(best, indent=1) + "\n")


KERNELS: str | None = None

if __name__ == "__main__":
    main()
