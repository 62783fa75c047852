"""The solver file, the nets it names and the data set: read once, when a run is planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.runner.spec import Metric, digest

if TYPE_CHECKING:
    from batchbrew.solver.load import NetFile


@dataclass(frozen=True)
class DataFacts:
    """What planning needs to know of the data: the prepared file, its sizes and its content digest.

    ``source`` is empty where the layers of the net read what they name themselves, as in Caffe.
    """

    source: str
    train: int
    test: int
    digest: str


@dataclass(frozen=True)
class SourceFiles:
    """A solver and its nets as text (copied into every run folder), and what was read from them."""

    solver_path: Path
    net_path: str
    solver_text: str
    net_text: str
    test_text: str | None
    batch_size: int
    data: DataFacts
    metrics: tuple[str, ...]
    solver: pb.SolverParameter = field(compare=False, repr=False)

    @property
    def schedule_batch(self) -> int:
        """Return the global batch the solver file was written for: batch_size x iter_size."""
        return self.batch_size * max(1, self.solver.iter_size)

    @property
    def metric(self) -> Metric:
        """Return ``accuracy`` where the test net has such an output, else ``loss``."""
        return "accuracy" if "accuracy" in self.metrics else "loss"

    @property
    def max_samples(self) -> int | None:
        """Return the length of the solver file's schedule in samples, None without max_iter."""
        return self.solver.max_iter * self.schedule_batch if self.solver.HasField("max_iter") else None

    @property
    def texts(self) -> dict[str, str]:
        """Return the files of a run folder by name."""
        files = {"solver.prototxt": self.solver_text, "net.prototxt": self.net_text}
        return files | ({"test_net.prototxt": self.test_text} if self.test_text is not None else {})


def read_sources(solver_path: Path, data: str | None = None, beside: Path | None = None) -> SourceFiles:
    """Read the solver file, its nets and the sizes of the data set.

    ``data`` (a known name, or a path from here or from the folder ``beside``) stands in for the ``source`` the net
    names. UserError names the file and the place of any mistake.
    """
    from batchbrew.solver import load

    solver = load.read_solver(solver_path)
    train_file = load.solver_net(solver, solver_path, pb.TRAIN)
    test_file = load.solver_net(solver, solver_path, pb.TEST)
    batch_size, facts = _data_of(train_file, test_file, solver, data, beside)
    same = test_file.param == train_file.param
    return SourceFiles(
        solver_path=solver_path,
        net_path=train_file.path,
        solver_text=solver_path.read_text(encoding="utf-8"),
        net_text=_text_of(train_file, solver_path),
        test_text=None if same else _text_of(test_file, solver_path),
        batch_size=batch_size,
        data=facts,
        metrics=_outputs(test_file.param),
        solver=solver,
    )


def _text_of(net: NetFile, solver_path: Path) -> str:
    """Return the text of a net's own file; a net inside the solver file is written out."""
    return text.dump(net.param) if net.path == str(solver_path) else Path(net.path).read_text(encoding="utf-8")


def _present(net: pb.NetParameter, phase: int) -> list[pb.LayerParameter]:
    from batchbrew.solver.graph import included

    state = pb.NetState()
    state.CopyFrom(net.state)
    state.phase = phase
    return [layer for layer in net.layer if included(layer, state)]


def data_layer(net: pb.NetParameter, phase: int) -> tuple[int, str] | None:
    """Return (batch_size, source) of the net's first layer that reads samples in ``phase``, None where it has none."""
    from batchbrew.solver.readers import readers

    for layer in readers(net, phase):
        for descriptor, value in layer.ListFields():
            settings: Any = value
            if descriptor.name.endswith("data_param"):
                return int(getattr(settings, "batch_size", 0)), str(getattr(settings, "source", ""))
        return 0, ""
    return None


def _data_of(
    train_file: NetFile, test_file: NetFile, solver: pb.SolverParameter, data: str | None, beside: Path | None
) -> tuple[int, DataFacts]:
    """Return the batch size and the data: a data set of ours, or what the layers of the net read by themselves."""
    from batchbrew.solver.readers import names_data_set, read, readers

    layers = readers(train_file.param, pb.TRAIN)
    if not layers:
        raise UserError(
            f"{train_file.path}: no layer reads samples in phase TRAIN: add one of type 'Data', or train as Caffe "
            f"does with --as-caffe"
        )
    first = data_layer(train_file.param, pb.TRAIN)
    if first is None or first[0] < 1:
        raise UserError(f"{train_file.path}: layer '{layers[0].name}' ({layers[0].type}): give a batch_size")
    batch_size, source = first
    if data is not None:
        return batch_size, _data_facts(data, beside)
    if not source:
        raise UserError(
            f"{train_file.path}: the data layer names no source: give the data (--data, or data: in a study)"
        )
    if names_data_set(layers[0]):
        return batch_size, _data_facts(source, Path(train_file.path).parent)
    trained = read(layers, pb.TRAIN, train_file.path)
    tests = readers(test_file.param, pb.TEST) if test_file.param != train_file.param or _has_test(solver) else []
    tested = read(tests, pb.TEST, test_file.path) if tests else None
    both = trained.digest + (tested.digest if tested else "")
    return batch_size, DataFacts("", trained.count, tested.count if tested else 0, digest(both))


def _has_test(solver: pb.SolverParameter) -> bool:
    """Return whether the solver tests at all; a net without rules of phase would read its training samples again."""
    return bool(len(solver.test_iter) or solver.test_interval)


def _outputs(net: pb.NetParameter) -> tuple[str, ...]:
    """Return the names of the blobs that no layer of the test net consumes; none without test data."""
    if data_layer(net, pb.TEST) is None:
        return ()
    layers = _present(net, pb.TEST)
    used = {bottom for layer in layers for bottom in layer.bottom if bottom not in layer.top}
    return tuple(dict.fromkeys(top for layer in layers for top in layer.top if top not in used))


def _data_facts(source: str, beside: Path | None) -> DataFacts:
    from batchbrew.solver.data import dataset

    near = beside / source if beside is not None else None
    opened = dataset.resolve(str(near) if near is not None and near.exists() else source)
    return DataFacts(str(Path(opened.path).resolve()), len(opened.train), len(opened.test), opened.digest)
