"""Python: a layer whose class the prototxt names, as pycaffe's Python layers.

Such a layer runs other people's code, so it must be allowed: by ``allow_python_layers`` or in the environment.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from batchbrew.errors import did_you_mean
from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer

if TYPE_CHECKING:
    from batchbrew.solver import pycaffe

B = TypeVar("B")
VARIABLE = "BATCHBREW_PYTHON_LAYERS"
_allowed = False


def allow_python_layers(allowed: bool = True) -> None:
    """Let nets run the Python code that their Python layers name (or forbid it again)."""
    global _allowed
    _allowed = allowed


def python_layers_allowed() -> bool:
    """Return whether Python layers may run: allowed by a call, or by BATCHBREW_PYTHON_LAYERS=1 in the environment."""
    return _allowed or os.environ.get(VARIABLE, "0") not in ("", "0")


@LAYERS.register("Python")
class Python(Layer):
    """The class ``layer`` of module ``module``, derived from pycaffe's Layer.

    Its ``reshape`` and its ``forward`` run when the net asks for the shapes of the tops, for both may change them. They
    write into the net's arrays, or, where a top has a new shape, into some that are copied once the net has its own.
    """

    bottoms = (0, None)
    tops = (0, None)
    in_place = True
    dynamic = True
    user: pycaffe.Layer

    @property
    def cuttable(self) -> bool:
        """False: who knows what it does."""
        return False

    def may_force(self, bottom: int) -> bool:
        """Any bottom may want a gradient."""
        return True

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Make the object and let it set itself up, with blobs that hold zeros."""
        from batchbrew.solver.pycaffe.blob import BlobVec, LayerBlob, ParameterBlob

        def declare(shape: Shape) -> ParameterBlob:
            self.add_parameter(shape, pb.FillerParameter())
            parameter = self.parameters[-1]
            parameter.bind(np.zeros(parameter.count, np.float32), np.zeros(parameter.count))
            parameter.initial = parameter.values
            return ParameterBlob(parameter)

        kind = self._load()
        self._bottom = [LayerBlob(shape) for shape in bottoms]
        self._top = [LayerBlob() for _ in self.param.top]
        self._join()
        self._seen: list[Shape] | None = None
        with self._named("setup"):
            self.user = kind(self.param)
            self.user.param_str = self.user.param_str_ = self.param.python_param.param_str
            self.user.phase = self.phase
            self.user.blobs = BlobVec(declare=declare)
            self.user.setup(self._bottom, self._top)
        self.user.blobs.close()

    def _load(self) -> type[pycaffe.Layer]:
        """Return the class. Raises UserError unless that is allowed and there is one."""
        from batchbrew.solver import pycaffe

        name, kind = self.param.python_param.module, self.param.python_param.layer
        if not python_layers_allowed():
            raise self.error(
                f"would run code of the module '{name}': if you trust it, allow it with pycaffe.install() or "
                f"pycaffe.allow_python_layers() in a script, or with {VARIABLE}=1 in the environment"
            )
        pycaffe.lend_name()
        with self._named("import"):
            try:
                module = importlib.import_module(name)
            except ModuleNotFoundError as problem:
                if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
                    raise
                raise self.error(f"there is no module '{name}': its folder must be in PYTHONPATH") from None
        found = getattr(module, kind, None)
        if found is None:
            raise self.error(f"module '{name}' has no class '{kind}'{did_you_mean(kind, vars(module))}")
        if not (isinstance(found, type) and issubclass(found, pycaffe.Layer)):
            raise self.error(f"'{name}.{kind}' is no Python layer: derive it from caffe.Layer")
        return found

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the shapes of the tops: what the object says for bottoms of new shapes, else what it last said."""
        if self._seen != list(bottoms):
            for blob, shape in zip(self._bottom, bottoms, strict=True):
                blob.reshape(*shape)
            self._seen = list(bottoms)
            self._reshape()
        return [blob.shape for blob in self._top]

    def reshape_live(self, bottom: Sequence[Blob]) -> list[Shape]:
        """Run the object's reshape and forward; return the shapes that its tops have then."""
        self._take(bottom)
        self._seen = [blob.shape for blob in bottom]
        self._reshape()
        for x, y in self._in_place(self._bottom, self._top):
            y.copy(x)
        with self._named("forward"):
            self.user.forward(self._bottom, self._top)
        return [blob.shape for blob in self._top]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing but the copies of tops that have a new shape: the object has run when it was asked for its shapes."""
        for blob, array in zip(self._top, top, strict=True):
            blob.lend(array)
        build.call(self._deliver)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Run the object's backward."""
        build.call(self._backward, bottom, top, list(needed))

    def _join(self) -> None:
        """Give tops in place the shape of their bottoms."""
        for x, y in self._in_place(self._bottom, self._top):
            y.reshape(*x.shape)

    def _reshape(self) -> None:
        self._join()
        with self._named("reshape"):
            self.user.reshape(self._bottom, self._top)

    def _deliver(self) -> None:
        for blob in self._top:
            blob.deliver()

    def _backward(self, bottom: Sequence[Blob], top: Sequence[Blob], needed: list[bool]) -> None:
        self._take(bottom)
        for mine, theirs in zip(self._top, top, strict=True):
            mine.bind(theirs)
        for x, y in self._in_place(bottom, top):
            if x.diff is not y.diff:
                x.diff[...] = y.diff
        with self._named("backward"):
            self.user.backward(self._top, needed, self._bottom)

    def _in_place(self, bottom: Sequence[B], top: Sequence[B]) -> list[tuple[B, B]]:
        """Return the bottoms and tops that are one blob in Caffe, though here they may have memory of their own."""
        names = zip(self.param.bottom, self.param.top, strict=False)
        return [(bottom[i], top[i]) for i, (below, above) in enumerate(names) if below == above]

    def _take(self, bottom: Sequence[Blob]) -> None:
        for mine, theirs in zip(self._bottom, bottom, strict=True):
            mine.bind(theirs)

    @contextmanager
    def _named(self, doing: str) -> Iterator[None]:
        """Let user's code see and write the net's arrays, and an exception of it name the layer it came from."""
        from batchbrew.solver.pycaffe.mirror import users_turn

        try:
            with users_turn(amid=doing in {"forward", "backward"}):
                yield
        except Exception as problem:
            p = self.param.python_param
            problem.add_note(f"{self.where}layer '{self.name}' (Python, {p.module}.{p.layer}): in {doing}")
            raise
