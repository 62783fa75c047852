"""Where a solver's snapshots go."""

from __future__ import annotations

from pathlib import Path

from batchbrew.errors import UserError
from batchbrew.glog import log
from batchbrew.protos import messages as pb


def settle_prefix(param: pb.SolverParameter, path: Path | str) -> None:
    """Complete snapshot_prefix of a solver read from the file ``path``: none, or a folder, takes the file's name."""
    path = Path(path)
    if not param.HasField("snapshot_prefix"):
        param.snapshot_prefix = str(path.with_suffix(""))
        log("upgrade_proto.cpp:1129", f"snapshot_prefix was not specified and is set to {param.snapshot_prefix}")
    elif Path(param.snapshot_prefix).is_dir():
        param.snapshot_prefix = str(Path(param.snapshot_prefix) / path.stem)
        log("upgrade_proto.cpp:1133", f"snapshot_prefix was a directory and is replaced to {param.snapshot_prefix}")


def snapshot_file(param: pb.SolverParameter, iteration: int, extension: str) -> str:
    """Return the name of a file of the snapshot after ``iteration`` updates.

    >>> snapshot_file(pb.SolverParameter(snapshot_prefix="out/", snapshot_format="HDF5"), 5, ".caffemodel")
    'out/_iter_5.caffemodel.h5'
    """
    suffix = ".h5" if param.snapshot_format == pb.SolverParameter.HDF5 else ""
    return f"{param.snapshot_prefix}_iter_{iteration}{extension}{suffix}"


def check_writable(param: pb.SolverParameter, where: str = "") -> None:
    """Refuse a solver that will not be able to save what it is asked to; ``where`` begins the error text."""
    if not param.snapshot:
        return
    if not param.HasField("snapshot_prefix"):
        raise UserError(f"{where}In solver params, snapshot is specified but snapshot_prefix is not")
    probe = Path(f"{param.snapshot_prefix}_iter_0.tempfile")
    try:
        probe.touch()
        probe.unlink()
    except (OSError, ValueError):
        raise UserError(
            f"{where}Cannot write to snapshot prefix '{param.snapshot_prefix}'.  Make sure that the directory exists "
            "and is writable."
        ) from None
