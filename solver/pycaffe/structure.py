"""What a net of pycaffe is made of: layers, blobs and parameters by name and by number."""

from __future__ import annotations

from abc import ABC
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property

from batchbrew.solver.layers.python_layer import Python
from batchbrew.solver.net import Net as EngineNet
from batchbrew.solver.pycaffe.blob import Blob, BlobVec, NetBlob
from batchbrew.solver.pycaffe.layer import BuiltIn, Layer


class Structure(ABC):
    """The names and parts of a net; all are made when they are first asked for, and then stay."""

    _net: EngineNet

    @cached_property
    def layers(self) -> list[Layer]:
        """The layers in order, with the Splits between; a Python layer is the object of the user's class."""
        return [layer.user if isinstance(layer, Python) else BuiltIn(layer) for layer in self._net.layers]

    @cached_property
    def _layer_names(self) -> list[str]:
        return [layer.name for layer in self._net.layers]

    @cached_property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """Layer name -> layer."""
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @cached_property
    def _blob_names(self) -> list[str]:
        return list(self._net.wiring.tensors)

    @cached_property
    def _blobs(self) -> list[Blob]:
        return [NetBlob(self._net, name) for name in self._blob_names]

    @cached_property
    def blobs(self) -> OrderedDict[str, Blob]:
        """Blob name -> blob, in the order in which layers make them."""
        return OrderedDict(zip(self._blob_names, self._blobs, strict=True))

    @cached_property
    def params(self) -> OrderedDict[str, BlobVec]:
        """Layer name -> weights and biases, of layers that have such."""
        pairs = zip(self._layer_names, self.layers, strict=True)
        return OrderedDict((name, layer.blobs) for name, layer in pairs if len(layer.blobs))

    @cached_property
    def _blob_loss_weights(self) -> list[float]:
        wired = self._net.wiring
        return [float(wired.weights.get(tensor.number, 0.0)) for tensor in wired.tensors.values()]

    @cached_property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """Blob name -> its weight in the loss."""
        return OrderedDict(zip(self._blob_names, self._blob_loss_weights, strict=True))

    @cached_property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """Layer name -> the names of its tops."""
        return self._names_of(self._top_ids)

    @cached_property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """Layer name -> the names of its bottoms."""
        return self._names_of(self._bottom_ids)

    def _names_of(self, ids: Callable[[int], list[int]]) -> OrderedDict[str, list[str]]:
        names = self._blob_names
        return OrderedDict((layer, [names[i] for i in ids(k)]) for k, layer in enumerate(self._layer_names))

    def _top_ids(self, layer: int) -> list[int]:
        return [self._blob_names.index(tensor.name) for tensor in self._net.wiring.tops[layer]]

    def _bottom_ids(self, layer: int) -> list[int]:
        return [self._blob_names.index(tensor.name) for tensor in self._net.wiring.bottoms[layer]]

    @cached_property
    def inputs(self) -> list[str]:
        """The names of the blobs that the caller writes: tops of Input layers."""
        wired = self._net.wiring
        return [top.name for i in sorted(wired.written) for top in wired.tops[i]]

    @cached_property
    def outputs(self) -> list[str]:
        """The names of the blobs that no layer reads, in alphabetical order."""
        return list(self._net.outputs)

    @property
    def _inputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.outputs]
