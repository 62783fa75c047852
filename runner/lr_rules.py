"""How the learning rate follows the global batch: factor = f(k), k = global batch / base batch.

The factor multiplies what the solver's own policy says. It is evaluated at use and never stored, so a restart
cannot apply it twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from batchbrew.registry import Registry

Rule = Callable[[float], float]
LR_RULES: Registry[Rule] = Registry("lr rule")


@LR_RULES.register("none")
def none(k: float) -> float:
    """Return 1: the learning rate ignores the batch.

    >>> none(8.0)
    1.0
    """
    return 1.0


@LR_RULES.register("linear")
def linear(k: float) -> float:
    """Return k (Goyal et al. 2017, Accurate, Large Minibatch SGD).

    >>> linear(8.0)
    8.0
    """
    return k


@LR_RULES.register("sqrt")
def sqrt(k: float) -> float:
    """Return the square root of k: keeps the variance of an update (Krizhevsky 2014).

    >>> sqrt(4.0)
    2.0
    """
    return math.sqrt(k)


def factor(rule: str, batch: int, base_batch: int | None, warmup_samples: int = 0, samples: int = 0) -> float:
    """Return the factor on the learning rate of the update that begins at stream position ``samples``.

    Gradual warm-up: 1 + (f(k) - 1) min(1, samples / warmup_samples), the ramp of Goyal et al. 2017 counted in samples.

    >>> factor("linear", 256, 64)
    4.0
    >>> [factor("linear", 256, 64, warmup_samples=1000, samples=s) for s in (0, 500, 1000, 5000)]
    [1.0, 2.5, 4.0, 4.0]
    """
    full = LR_RULES.get(rule)(batch / base_batch if base_batch else 1.0)
    reached = min(1.0, samples / warmup_samples) if warmup_samples else 1.0
    return 1.0 + (full - 1.0) * reached
