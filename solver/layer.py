"""What a layer is: the abstract class every layer derives from, and the registry of their types."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.registry import Registry
from batchbrew.solver.blob import Blob, Shape, aligned_zeros
from batchbrew.solver.kernels import Call, Copies, Lanes, Program, compile_program
from batchbrew.solver.parameter import Parameter

Array = NDArray[Any]
LAYERS: Registry[type[Layer]] = Registry("layer type")


class Builder:
    """Collects the operations of one program while the layers write them down."""

    def __init__(
        self,
        dtype: DTypeLike,
        sums: bool,
        samples: int,
        factors: dict[int, float],
        copies: Copies | None = None,
        *,
        choose: Callable[[Any, int], int] = lambda case, pictures: 0,
    ) -> None:
        self.dtype = dtype
        self.sums = sums  # losses yield sums over samples (training) instead of Caffe's means
        self.samples = samples
        self.rows: dict[int, Array] = {samples: np.zeros(samples, np.uint64)}
        self.factors = factors  # weight of each loss within the sums, by its salt
        self.copies = copies or Copies(1)
        self.lanes = self.copies.lanes  # threads that run the program: rows of working memory with role `l` (brew.h)
        self.alone: set[int] = set()  # operations that are not for several of them
        self.choose = choose  # how a convolution is computed (layers/algorithm.py)
        self.calls: list[Call] = []
        self.layer = 0  # number of the layer that writes, so that layers of one name have scratch of their own
        self.working: dict[tuple[Any, ...], Array] = {}  # what ``scratch`` gave, by layer number, name and shape

    def anew(self) -> Builder:
        """Return one for the same program in which nothing is written yet."""
        return Builder(self.dtype, self.sums, self.samples, self.factors, self.copies, choose=self.choose)

    def row_keys(self, rows: int) -> Array:
        """Return one 64-bit key a row, for random draws: those of the samples where there are as many rows."""
        return self.rows.setdefault(rows, np.zeros(rows, np.uint64))

    def op(self, kernel: str, *arguments: Any) -> None:
        """Append an operation: arrays (or None), integers and numbers in the order of the reference kernel."""
        self.calls.append((kernel, arguments))

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Append a call of a Python function, for what is no kernel: other people's code, files."""
        self.calls.append((function, arguments))

    def program(self, kernels: str) -> Program:
        """Return the operations as a program of a kernel set."""
        return compile_program(self.calls, kernels, Lanes(self.lanes, self.samples, self.copies, self.alone))

    def scratch(self, name: str, shape: Shape, dtype: DTypeLike | None = None) -> Array:
        """Return a zeroed working array, the same one for the same name and shape; pictures lie as n, h, w, c."""
        key = (self.layer, name, shape)
        if key not in self.working:
            stored = (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else shape
            flat = aligned_zeros(prod(stored), self.dtype if dtype is None else dtype)
            array = flat.reshape(stored)
            self.working[key] = array.transpose(0, 3, 1, 2) if len(shape) == 4 else array
        return self.working[key]


class Layer(ABC):
    """One layer of a net. This docstring is the manual for adding a layer type.

    Put the class in a file of ``solver/layers/`` and decorate it with ``@LAYERS.register("Type")``, the type that
    prototxt files name. Set, where the defaults do not fit:

    * ``bottoms``, ``tops``: least and greatest number of inputs and outputs (None: no limit);
    * ``loss = True``: a loss, whose first top has weight 1 unless the prototxt says otherwise;
    * ``in_place = True``: the top may use the bottom's memory; ``keeps_top = True``: backward reads the top.

    Implement:

    * ``setup(bottoms)``: read ``self.param``, check it (``self.error(text)`` makes the exception), declare learnable
      parameters with ``self.add_parameter(shape, filler)``; shapes are tuples, pictures are (N, C, H, W);
    * ``reshape(bottoms)``: return the top shapes; called before each ``forward``, so it may keep geometry in ``self``;
    * ``forward(build, bottom, top)``: write down the operations with ``build.op("kernel", arrays..., numbers...)``;
    * ``backward(build, bottom, top, needed)``: the same for ``bottom[i].diff`` (overwritten) where ``needed[i]``, and
      the parameters' ``grad`` (added to) where ``self.learns(i)``.

    A kernel is one function in ``solver/kernels/reference/`` and, where speed matters, one of the same name in C; what
    existing kernels compute needs no new one. Example, a layer that doubles::

        @LAYERS.register("Double")
        class Double(Layer):
            def reshape(self, bottoms):
                return [bottoms[0]]

            def forward(self, build, bottom, top):
                build.op("copy", bottom[0].data, top[0].data)
                build.op("add", bottom[0].data, top[0].data)

            def backward(self, build, bottom, top, needed):
                build.op("copy", top[0].diff, bottom[0].diff)
                build.op("add", top[0].diff, bottom[0].diff)
    """

    bottoms: ClassVar[tuple[int, int | None]] = (1, 1)
    tops: ClassVar[tuple[int, int | None]] = (1, 1)
    loss: ClassVar[bool] = False
    in_place: bool = False  # may depend on settings: set it in setup
    keeps_top: ClassVar[bool] = False
    dynamic: ClassVar[bool] = False  # top shapes may change though bottom shapes do not; see reshape_live
    statistic: ClassVar[bool] = False  # its first top is a mean over samples, kept as (sum, count) while training

    def __init__(self, param: pb.LayerParameter, phase: int, where: str) -> None:
        self.param = param
        self.phase = phase
        self.where = where  # "file:line:col: " of the layer
        self.name: str = param.name
        self.type: str = param.type
        self.parameters: list[Parameter] = []
        self.stat: Array = np.zeros(2)  # (sum, count) of a statistic layer
        self.salt = 0  # the layer's number, in random draws
        self.forced = False  # the net's force_backward: every parameter gets its gradient

    def may_force(self, bottom: int) -> bool:
        """Whether the net's force_backward may ask for the gradient of a bottom; a loss has none for its labels."""
        return not (self.loss and bottom == 1)

    @property
    def whole_batch(self) -> bool:
        """Whether the layer must see the whole batch at once."""
        return False

    @property
    def cuttable(self) -> bool:
        """Whether axis 0 is that of the samples and their results do not depend on each other."""
        return True

    @property
    def reshapes(self) -> bool:
        """Whether its top is but its bottom in another shape: in Caffe one memory, which layers in place change."""
        return False

    def error(self, text: str) -> UserError:
        """Return the exception for a mistake in this layer."""
        return UserError(f"{self.where}layer '{self.name}' ({self.type}): {text}")

    def add_parameter(
        self, shape: Shape, filler: pb.FillerParameter, order: tuple[int, ...] | None = None, **fields: Any
    ) -> None:
        """Declare the next learnable parameter; ``order`` is the order of its axes in memory."""
        index = len(self.parameters)
        if index < len(self.param.param):
            spec = self.param.param[index]
            fields = {"name": spec.name, "lr_mult": spec.lr_mult, "decay_mult": spec.decay_mult, **fields}
        self.parameters.append(Parameter(self.name, index, shape, order or tuple(range(len(shape))), filler, **fields))

    def learns(self, index: int) -> bool:
        """Whether parameter ``index`` wants a gradient: by the layer's own lr_mult, also where it is shared."""
        specs = self.param.param
        own = specs[index].lr_mult if index < len(specs) else self.parameters[index].lr_mult
        return bool(self.forced or own != 0)

    def axis(self, axis: int, shape: Sequence[int]) -> int:
        """Return a possibly negative axis as 0 <= axis < len(shape)."""
        if not -len(shape) <= axis < len(shape):
            raise self.error(f"axis {axis} is out of range for a blob of {len(shape)} axes {tuple(shape)}")
        return axis % len(shape)

    def setup(self, bottoms: Sequence[Shape]) -> None:  # noqa: B027 - many layers have nothing to set up
        """Check the layer's settings and declare its parameters."""

    @abstractmethod
    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the shapes of the tops."""

    def reshape_live(self, bottom: Sequence[Blob]) -> list[Shape]:
        """Return the shapes of the tops just before a forward pass of a dynamic layer, from what the bottoms hold."""
        return self.reshape([blob.shape for blob in bottom])

    def borders(self, bottom: int) -> tuple[int, int]:
        """Return the zero border (rows, columns) this layer reads around the data of a bottom."""
        return (0, 0)

    def diff_borders(self, top: int, needed: bool) -> tuple[int, int]:
        """Return the zero border (rows, columns) this layer reads around the diff of a top.

        ``needed``: whether it makes the gradient of a bottom.
        """
        return (0, 0)

    def prepare(self, build: Builder) -> None:  # noqa: B027 - few layers derive anything from their weights
        """Write down what is computed of the parameters beforehand, once after they have changed."""

    def prepare_backward(self, build: Builder, needed: Sequence[bool]) -> None:  # noqa: B027
        """Write down what else is then computed for ``backward``."""

    @abstractmethod
    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Write down the operations of the forward pass."""

    @abstractmethod
    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Write down the operations of the backward pass."""

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Return the multiplications and additions of one forward pass (pairs counted once)."""
        return 0
