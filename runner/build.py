"""From a run folder to a job: the nets, the solver and the data set of a spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.runner.folder import RunFolder
from batchbrew.runner.job import Job
from batchbrew.runner.overrides import apply_overrides
from batchbrew.runner.source_files import SourceFiles, data_layer
from batchbrew.runner.spec import RunSpec

if TYPE_CHECKING:
    from batchbrew.runner.caffe_files import CaffeFiles
    from batchbrew.solver.data.part import DataSet
    from batchbrew.solver.load import NetFile
    from batchbrew.solver.net import Net


@dataclass(frozen=True)
class Built:
    """A job, and what the head of its record says about net and data."""

    job: Job
    solver_param: pb.SolverParameter
    net: dict[str, Any]
    dataset: dict[str, Any]
    caffe_files: CaffeFiles | None = None
    nets: tuple[Net, ...] = ()  # those of the layer engine


def build(folder: RunFolder, spec: RunSpec) -> Built:
    """Build the job of ``spec`` from the prototxt copies in ``folder``; UserError where files or data do not fit."""
    from batchbrew.solver import load

    solver_param = text.read(folder.path / "solver.prototxt", pb.SolverParameter)
    train_file = load.read_net_file(folder.path / "net.prototxt")
    own_test = folder.path / "test_net.prototxt"
    test_file = load.read_net_file(own_test) if own_test.exists() else train_file
    train_file = load.in_state(train_file, solver_param, pb.TRAIN)
    test_file = load.in_state(test_file, solver_param, pb.TEST)
    return _assemble(spec, solver_param, train_file, test_file, "")


def validate(sources: SourceFiles, spec: RunSpec) -> Built:
    """Build the job once from the user's own files, so that mistakes are named there.

    UserError for whatever does not fit.
    """
    from batchbrew.solver import load

    solver_param = pb.SolverParameter()
    solver_param.CopyFrom(sources.solver)
    train_file, test_file = (load.solver_net(solver_param, sources.solver_path, p) for p in (pb.TRAIN, pb.TEST))
    return _assemble(spec, solver_param, train_file, test_file, f"{sources.solver_path}: ")


def _assemble(
    spec: RunSpec, solver_param: pb.SolverParameter, train_file: NetFile, test_file: NetFile, where: str
) -> Built:
    from batchbrew.runner.caffe_files import CaffeFiles
    from batchbrew.solver.solvers import make_solver

    apply_overrides(solver_param, spec.solver_overrides)
    data = _open(spec) if spec.data else None
    net = train_file.build(pb.TRAIN, data=data.train if data else None, seed=spec.seed, threads=spec.threads)
    net.clock = perf_counter
    _check_cuts(net, spec, train_file.path)
    test_net = None
    if spec.test_samples and data_layer(test_file.param, pb.TEST) is not None:
        test_data = data.test if data else None
        test_net = test_file.build(pb.TEST, data=test_data, seed=spec.seed, threads=spec.threads, share=net)
    solver = make_solver(solver_param, net, where)
    nets = (net,) if test_net is None else (net, test_net)
    files = CaffeFiles(net, solver, solver_param.snapshot_format == pb.SolverParameter.HDF5)
    about_data = {
        "name": data.name if data else "sources of the net",
        "train": spec.train_samples,
        "test": spec.test_samples,
        "digest": spec.data_digest,
    }
    return Built(Job(spec, net, solver, test_net), solver_param, describe_net(net), about_data, files, nets)


def _open(spec: RunSpec) -> DataSet:
    """Open the prepared data set of a run; it must be the one that was planned with."""
    from batchbrew.solver.data import dataset

    data = dataset.open_dataset(Path(spec.data))
    if data.digest != spec.data_digest:
        raise UserError(f"{spec.data}: has changed since the run was planned: make it again, or plan the study afresh")
    return data


def _check_cuts(net: Net, spec: RunSpec, where: str) -> None:
    """Raise UserError if a net that sees whole batches were to be cut."""
    if net.uncut and spec.nodes > 1:
        raise UserError(f"{where}: its batch cannot be cut over {spec.nodes} nodes: {net.uncut[0]}; use one node")


def describe_net(net: Any) -> dict[str, Any]:
    """Return name, sizes and the layer table of a net as JSON values."""
    columns = ("type", "name", "shape", "parameters", "mflop")
    return {
        "name": net.name,
        "parameters": net.parameters,
        "flops_per_sample": net.flops_per_sample,
        "loss_weights": net.loss_weights,
        "layers": [{name: getattr(row, name) for name in columns} for row in net.table()],
    }


def statistics_batch(job: Job, nodes: int) -> dict[str, Any] | None:
    """Return which layers take statistics over how many samples at once, None if the cut of the batch is exact."""
    if not job.net.whole_batch:
        return None
    return {"layers": job.net.whole_batch, "batch": job.shares(nodes)[0] // job.spec.accumulate}
