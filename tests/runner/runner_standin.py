"""A softmax regression with the engine's interface, so that the runner is tested without the engine.

``python [-m mpi4py] runner_standin.py FOLDER`` is one rank of a run on it. BREW_FAULT injects what must be survived:
``raise:RANK:UPDATE``, ``kill:RANK:UPDATE``, ``nan:RANK:UPDATE``, ``drift:RANK:UPDATE``, ``refuse:RANK:UPDATE``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.runner import worker
from batchbrew.runner.build import Built
from batchbrew.runner.job import Job
from batchbrew.runner.world import find_world

INPUTS, CLASSES, TRAIN, TEST = 24, 4, 203, 61
NAMES = ("accuracy", "loss")


def samples(count: int, seed: int):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    centres = np.random.default_rng(99).normal(size=(CLASSES, INPUTS))
    return (centres[labels] + rng.normal(scale=1.5, size=(count, INPUTS))).astype(np.float32), labels


class Flat:
    def __init__(self, size: int) -> None:
        self.values = np.zeros(size, np.float32)
        self.message = np.zeros(size + 2 * len(NAMES), np.float32)
        self.grads = self.message[:size]
        self.size = size

    def checksum(self) -> str:
        return hashlib.sha256(self.values.tobytes()).hexdigest()


class Net:
    """Weights [CLASSES, INPUTS]; loss = softmax cross-entropy."""

    def __init__(self, seed: int, part, share: Net | None = None, rank: int = 0) -> None:
        self.images, self.labels = part
        self.rank = rank
        self.whole_batch: list[str] = []
        self.flat = share.flat if share else Flat(CLASSES * INPUTS)
        if share is None:
            self.flat.values[:] = np.random.default_rng(seed).normal(scale=0.1, size=self.flat.size)
        self.clock, self.fed_seconds = time.perf_counter, 0.0
        self.statistics = {name: np.zeros(2) for name in NAMES}
        self.update = 0
        kind, _, where = os.environ.get("BREW_FAULT", "").partition(":")
        self.fault = (kind, *map(int, where.split(":"))) if kind and share is None else None
        self.slow = float(os.environ.get("BREW_SLOW", "0"))

    @property
    def count(self) -> float:
        return self.statistics["loss"][1]

    @property
    def mean_loss(self) -> float:
        total, count = self.statistics["loss"]
        return float(total / max(count, 1))

    def zero_sums(self) -> None:
        self.flat.grads[:] = 0
        for pair in self.statistics.values():
            pair[:] = 0

    def _forward(self, indices):
        x, y = self.images[indices], self.labels[indices]
        scores = x @ self.flat.values.reshape(CLASSES, INPUTS).T
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
        p = np.exp(scores)
        p /= p.sum(axis=1, keepdims=True)
        rows = np.arange(len(y))
        self.statistics["loss"] += -np.log(p[rows, y]).sum(), len(y)
        self.statistics["accuracy"] += (p.argmax(axis=1) == y).sum(), len(y)
        p[rows, y] -= 1
        return x, p

    def expect(self, indices, epoch) -> None:
        pass

    def accumulate(self, indices, epoch: int, ready=None) -> None:
        if self.slow:
            time.sleep(self.slow)
        x, residual = self._forward(indices)
        self.flat.grads += (residual.T @ x).ravel()
        if ready is not None:
            for start in range((CLASSES - 1) * INPUTS, -1, -INPUTS):
                ready(start, start + INPUTS)

    def evaluate(self, indices) -> None:
        self._forward(indices)

    def pack_tail(self) -> None:
        self.flat.message[self.flat.size :] = np.concatenate([self.statistics[name] for name in NAMES])
        self.update += 1
        if self.fault and self.fault[1:] == (self.rank, self.update):
            self.fail(self.fault[0])

    def fail(self, kind: str) -> None:
        if kind == "raise":
            raise RuntimeError("the injected fault")
        if kind == "refuse":
            raise UserError("the injected refusal")
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "nan":
            self.flat.grads[3] = np.nan
        if kind == "drift":
            self.flat.values[0] += 1

    def unpack_tail(self) -> None:
        for name, pair in zip(NAMES, self.flat.message[self.flat.size :].reshape(-1, 2), strict=True):
            self.statistics[name][:] = pair

    def sync_local(self, mean) -> None:
        pass


class Solver:
    """SGD with momentum, h <- m h + rate g; w <- w - h."""

    def __init__(self, net: Net, base_lr: float) -> None:
        self.net, self.base_lr, self.iter = net, base_lr, 0
        self.history = [np.zeros_like(net.flat.values)]

    def rate(self, iter: int) -> float:
        return self.base_lr * 0.5 ** (iter // 40)

    def finite(self) -> bool:
        return bool(np.isfinite(self.net.flat.message).all())

    def apply(self, rate: float) -> None:
        history = self.history[0]
        history *= np.float32(0.9)
        history += np.float32(rate) * (self.net.flat.grads / np.float32(self.net.count))
        self.net.flat.values -= history
        self.iter += 1


def build(folder, spec) -> Built:
    rank = find_world().rank
    net = Net(spec.seed, samples(TRAIN, 1), rank=rank)
    test = Net(spec.seed, samples(TEST, 2), share=net)
    about = {"name": "standin", "parameters": net.flat.size, "flops_per_sample": 1.0, "layers": []}
    data = {"name": "standin", "train": TRAIN, "test": TEST, "digest": "sha256:0"}
    job = Job(spec, net, Solver(net, spec.base_lr), test)
    return Built(job, pb.SolverParameter(display=10, lr_policy="step"), about, data)


def main() -> int:
    return worker.main(Path(sys.argv[1]), find_world(), sys.argv[2] if len(sys.argv) > 2 else "quiet", build)


if __name__ == "__main__":
    sys.exit(main())
