"""The table of reference kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
KERNELS: dict[str, Callable[..., None]] = {}


def kernel(function: Callable[..., None]) -> Callable[..., None]:
    """Enter a function under its own name."""
    KERNELS[function.__name__] = function
    return function
