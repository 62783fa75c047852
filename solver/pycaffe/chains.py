"""Blobs that layers change in place, where these have memory of their own: ranges of layers treat them as Caffe's one.

Some layers cannot overwrite what is needed for going backward; the net then keeps several arrays under one name, of
which users see the last. When only some layers run, what is seen must be what the last of these wrote, and what they
read must be what is seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from batchbrew.solver.net import Net
from batchbrew.solver.wiring import Tensor


class Chains:
    """The names of a net that stand for more than one array."""

    def __init__(self, net: Net) -> None:
        self._whole, self._wired = net.whole, net.wiring
        wired = net.wiring
        self._producer = {tensor.number: i for i, tops in enumerate(wired.tops) for tensor in tops}
        self._hidden = [tensor for tensor in wired.numbered if self._seen(tensor).data is not tensor.data]
        self._hidden_diffs = [tensor for tensor in wired.numbered if self._seen(tensor).diff is not tensor.diff]
        self._last = len(wired.layers) - 1

    def _seen(self, tensor: Tensor) -> Tensor:
        return self._wired.tensors[tensor.name]

    def before_forward(self, start: int) -> None:
        """Let layers from ``start`` on read what is seen."""
        for tensor in self._hidden:
            if self._producer[tensor.number] < start and self._reader(tensor) >= start:
                self._copy(self._seen(tensor), tensor, "data")

    def after_forward(self, end: int) -> None:
        """Show what has been written, where layers behind ``end`` would have gone on with it."""
        for tensor in self._hidden:
            if self._producer[tensor.number] <= end < self._reader(tensor):
                self._copy(tensor, self._seen(tensor), "data")

    def before_backward(self, start: int) -> None:
        """Let layers from ``start`` down read the gradients that are seen."""
        for tensor in self._hidden_diffs:
            if self._producer[tensor.number] <= start < self._reader(tensor):
                self._copy(self._seen(tensor), tensor, "diff")

    def _reader(self, tensor: Tensor) -> int:
        """Return the number of the layer that changes a blob in place, and makes the next tensor of its name."""
        return next(self._readers(tensor), self._last + 1)

    def _readers(self, tensor: Tensor) -> Iterator[int]:
        return (i for i, bottoms in enumerate(self._wired.bottoms) if any(b is tensor for b in bottoms))

    def _copy(self, source: Tensor, target: Tensor, what: str) -> None:
        tensors = self._whole.compiled.tensors
        given, taken = getattr(tensors[source.number], what), getattr(tensors[target.number], what)
        if given.shape == taken.shape:
            taken[...] = given
