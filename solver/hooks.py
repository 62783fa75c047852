"""What the caller wants to be called for, layer by layer."""

from __future__ import annotations

from collections.abc import Callable


class Hooks:
    """Functions of the caller, called with the number of each layer before or after it runs; passes are slower then."""

    def __init__(self) -> None:
        self._functions: dict[str, list[Callable[[int], None]]] = {}

    def add(self, when: str, function: Callable[[int], None]) -> None:
        """Call ``function`` at ``when``: before_forward, after_forward, before_backward or after_backward."""
        self._functions.setdefault(when, []).append(function)

    def call(self, when: str, layer: int) -> None:
        """Call what has been added for ``when``."""
        for function in self._functions.get(when, ()):
            function(layer)

    @property
    def forward(self) -> bool:
        """Whether there are any for forward passes."""
        return any(when.endswith("forward") for when in self._functions)

    @property
    def backward(self) -> bool:
        """Whether there are any for backward passes."""
        return any(when.endswith("backward") for when in self._functions)
