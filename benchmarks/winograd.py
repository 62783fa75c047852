"""Direct convolution against Winograd's tiles: single layers, and whole training updates. One thread.

For each layer the pass to the outputs, that back to the inputs and the gradient of the filters: microseconds a picture
(in brackets what the rule expects), GFLOP/s of direct convolution's arithmetic, and the error against float64 relative
to the largest number. Then images/s with all convolutions computed directly, by the rule, and as measured.

python benchmarks/winograd.py [--rounds N] [--kernels NAME] [--batch N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ours import NETDEFS, noise

from batchbrew.protos import messages as pb
from batchbrew.runner.convolutions import measured, use
from batchbrew.solver.kernels import choose
from batchbrew.solver.layers.algorithm import UPDATE, Case, by_rule
from batchbrew.solver.load import read_solver, solver_net
from batchbrew.solver.solvers import make_solver
from batchbrew.solver.tuning import trials

LAYERS = {  # channels, outputs, size, taps, pad
    "cifar10_quick conv1": (3, 32, 32, 5, 2),
    "cifar10_quick conv2": (32, 32, 16, 5, 2),
    "cifar10_quick conv3": (32, 64, 8, 5, 2),
    "LeNet conv2": (20, 50, 12, 5, 0),
    "ResNet-20 16 at 32x32": (16, 16, 32, 3, 1),
    "ResNet-20 32 at 16x16": (32, 32, 16, 3, 1),
    "ResNet-20 64 at 8x8": (64, 64, 8, 3, 1),
    "GoogLeNet 5x5": (16, 32, 28, 5, 2),
    "VGG 64 at 56x56": (64, 64, 56, 3, 1),
    "VGG 256 at 14x14": (256, 256, 14, 3, 1),
    "VGG 512 at 7x7": (512, 512, 7, 3, 1),
}
NETS = dict.fromkeys(("cifar10_quick", "cifar10_full", "resnet20_cifar10"), (3, 32, 32)) | {"lenet": (1, 28, 28)}
RATE = 131e9  # multiply-adds a second of direct convolution that make seconds of what the rule expects


def passes(channels: int, outputs: int, size: int, taps: int, pad: int) -> dict[str, Case]:
    """Return each pass over a layer by its name."""
    out, back = size + 2 * pad - taps + 1, taps - 1 - pad
    return {
        "outputs": Case(False, channels, outputs, (size, size), taps, (pad, pad)),
        "inputs": Case(False, outputs, channels, (out, out), taps, (back, back)),
        "gradient": Case(True, channels, outputs, (size, size), taps, (pad, pad)),
    }


def layers(kernels: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Measure, print and yield one row for each pass over each layer; `*` marks what the rule chooses."""
    for layer, geometry in LAYERS.items():
        for name, case in passes(*geometry).items():
            found = trials(case, kernels, time.thread_time, rounds)
            print(f"{layer:23}{name:9}", end="")
            for tile, trial in found.items():
                what = f"F({tile},{case.taps})" if tile else "direct"
                rate, rule = 2e-9 * case.cost(0, UPDATE) / trial.seconds, 1e6 * case.cost(tile, UPDATE) / RATE
                mark = "*" if tile == by_rule(case, UPDATE) else " "
                print(
                    f" {mark}{what:7}{1e6 * trial.seconds:6.1f} us ({rule:5.1f}){rate:6.0f} {trial.error:.0e}", end=""
                )
            print(flush=True)
            yield {"layer": layer, "pass": name, "trials": {str(tile): asdict(trial) for tile, trial in found.items()}}


def updates(net_name: str, batch: int, kernels: str, rounds: int) -> dict[str, float]:
    """Return the best images/s of whole training updates for each way to choose, in turns."""
    path = NETDEFS / f"{net_name}_solver.prototxt"
    param, part, indices = read_solver(path), noise(NETS[net_name], 2048), np.arange(batch)
    runs: dict[str, Callable[[], None]] = {}
    for how in ("direct", "rule", "measured"):
        name = "direct" if how == "direct" else "auto"
        net = solver_net(param, path, pb.TRAIN).build(pb.TRAIN, data=part, kernels=kernels, convolution=name)
        if how == "measured":
            use([net], measured([net]))
        solver = make_solver(param, net)

        def update(net: Any = net, solver: Any = solver) -> None:
            net.zero_sums()
            net.accumulate(indices, 0)
            solver.apply(0.0)

        update()
        runs[how] = update
    best = dict.fromkeys(runs, np.inf)
    for _ in range(rounds):
        for how, run in runs.items():
            begin = time.thread_time()
            run()
            best[how] = min(best[how], time.thread_time() - begin)
    return {how: batch / seconds for how, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--kernels", default=None)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kernels = choose(options.kernels)
    rows = list(layers(kernels, options.rounds))
    rates = {}
    print(f"\n{'images/s':23}{'direct':>10}{'rule':>10}{'measured':>10}")
    for name in NETS:
        rates[name] = updates(name, options.batch, kernels, options.rounds)
        print(f"{name:23}" + "".join(f"{rate:10.0f}" for rate in rates[name].values()), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"kernels": kernels, "layers": rows, "updates": rates}, indent=1) + "\n")


if __name__ == "__main__":
    main()
