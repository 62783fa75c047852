"""A run's parameters and solver state as files Caffe reads and writes."""

from __future__ import annotations

from pathlib import Path

from batchbrew.solver import snapshot
from batchbrew.solver.net import Net
from batchbrew.solver.solvers import Solver


class CaffeFiles:
    """Read and write .caffemodel and .solverstate files of one net and solver; ``hdf5`` chooses the .h5 form."""

    def __init__(self, net: Net, solver: Solver, hdf5: bool) -> None:
        self._net, self._solver, self._suffix = net, solver, ".h5" if hdf5 else ""

    def load_weights(self, path: Path) -> list[str]:
        """Take up the weights of equally named layers; return the layers of the file that were not used."""
        return snapshot.load_weights(self._net, path)

    def restore(self, path: Path) -> None:
        """Take up iteration, history and parameters."""
        snapshot.restore(self._solver, path)

    def save(self, prefix: str) -> tuple[Path, Path]:
        """Write ``<prefix>_iter_<updates>.caffemodel`` and ``.solverstate``; return both paths."""
        base = f"{prefix}_iter_{self._solver.iter}"
        model, state = Path(f"{base}.caffemodel{self._suffix}"), Path(f"{base}.solverstate{self._suffix}")
        snapshot.save_caffemodel(self._net, model)
        snapshot.save_solverstate(self._solver, state, model)
        return model, state
