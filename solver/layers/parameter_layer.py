"""Parameter: a learnable blob that other layers read as a bottom."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.views import copy_reshaped


@LAYERS.register("Parameter")
class ParameterLayer(Layer):
    """The top is a learnable blob of ``shape``, 0 at first."""

    bottoms = (0, 0)

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare the blob."""
        self.add_parameter(tuple(self.param.parameter_param.shape.dim), pb.FillerParameter())

    @property
    def cuttable(self) -> bool:
        """False: axis 0 of the top is not that of the samples."""
        return False

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the shape the prototxt gives."""
        return [self.parameters[0].shape]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy the parameter."""
        copy_reshaped(build, self.name, self.parameters[0].data, top[0].data)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Add the top's gradient to the parameter's."""
        if self.learns(0):
            dy, gradient = top[0].diff, self.parameters[0].grad
            if dy.ndim != 4:
                dy, gradient = dy.reshape(dy.size), gradient.reshape(dy.size)
            build.op("scale_backward_parameters", dy, dy, None, gradient)
