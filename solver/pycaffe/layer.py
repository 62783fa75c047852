"""Layer: what Python layers derive from, and what stands for a net's layers in pycaffe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchbrew.solver import layer as engine
from batchbrew.solver.pycaffe.blob import Blob, BlobVec, ParameterBlob


class Layer:
    """A layer written in Python, named in a prototxt: ``type: "Python" python_param { module: "m" layer: "Double" }``.

    Derive from it and implement ``setup``, ``reshape``, ``forward`` and ``backward``. ``param_str`` is the text of
    python_param, ``phase`` TRAIN (0) or TEST (1), ``blobs`` the parameters: ``self.blobs.add_blob(3, 4)`` in ``setup``
    adds one, whose gradient ``backward`` adds to ``self.blobs[0].diff``.

    >>> class Double(Layer):
    ...     def reshape(self, bottom, top):
    ...         top[0].reshape(*bottom[0].shape)
    ...
    ...     def forward(self, bottom, top):
    ...         top[0].data[...] = 2 * bottom[0].data
    ...
    ...     def backward(self, top, propagate_down, bottom):
    ...         bottom[0].diff[...] = 2 * top[0].diff
    """

    param_str: str = ""
    param_str_: str = ""  # the same under its name of before 2015
    phase: int = 0

    def __init__(self, param: Any = None, *_: Any) -> None:
        self.blobs = BlobVec()

    @property
    def type(self) -> str:
        """The type that prototxt files name."""
        return "Python"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read ``param_str``, check the bottoms, add parameters; called once."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Reshape the tops; called before each ``forward``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement reshape(bottom, top)")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Write ``top[i].data``, which may be reshaped here too."""
        raise NotImplementedError(f"{type(self).__name__} does not implement forward(bottom, top)")

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Write ``bottom[i].diff`` where ``propagate_down[i]``; add to the gradients of the parameters."""
        raise NotImplementedError(f"{type(self).__name__} does not implement backward(top, propagate_down, bottom)")


class BuiltIn(Layer):
    """A layer of the engine: its type and its parameters."""

    def __init__(self, layer: engine.Layer) -> None:
        super().__init__()
        self._layer = layer
        self.phase = layer.phase
        self.blobs = BlobVec(ParameterBlob(parameter) for parameter in layer.parameters)

    @property
    def type(self) -> str:
        """The type that prototxt files name."""
        return self._layer.type
