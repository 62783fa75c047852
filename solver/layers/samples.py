"""What all layers that read an indexed set of samples have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batchbrew.solver.data.keys import Keys
from batchbrew.solver.data.part import Part
from batchbrew.solver.layer import Array
from batchbrew.solver.layers.sources import SourceLayer


class SampleLayer(SourceLayer):
    """A layer that reads numbered samples, so that a batch may be any of them and may be cut up."""

    @abstractmethod
    def open(self, part: Part | None, seed: int) -> None:
        """Find the samples: ``part`` where the caller of Net gave one, else what the layer's parameters name."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of samples."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """What tells its samples apart from others, cheap to make."""

    @property
    @abstractmethod
    def batch(self) -> int:
        """The batch size of the prototxt."""

    def look(self, indices: NDArray[np.int64]) -> bool:
        """Return whether the samples to come change what ``reshape`` returns."""
        return False

    @abstractmethod
    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Write samples ``indices`` % count; ``indices`` // count is the number of the pass over the samples."""
