"""Check a file a user wrote, without running anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.runner.build import validate
from batchbrew.runner.study import load_study

if TYPE_CHECKING:
    from batchbrew.solver.data.part import Part
    from batchbrew.solver.load import NetFile
    from batchbrew.solver.net import Net

# A net can be checked before its data set is there, if the shape of the pictures is known.
_SHAPES = {"cifar10": (3, 32, 32), "cinic10": (3, 32, 32), "mnist": (1, 28, 28), "generated": (3, 32, 32)}
_SOLVER_FIELDS = re.compile(
    r"^\s*(net|net_param|train_net|train_net_param|base_lr|lr_policy|max_iter|test_iter|test_interval)\s*[:{]",
    re.MULTILINE,
)


def check_file(path: Path) -> str:
    """Return what the file is, in a few words, after everything in it and behind it was found right.

    A study is expanded and its solver and nets built; a solver's nets and a net are built in both phases. Raises
    UserError with the place of the first mistake.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix in (".yaml", ".yml"):
        study = load_study(path)
        runs = study.expand()
        validate(study.sources, runs[0])
        return f"study '{study.file.study}': {len(runs)} runs of {study.sources.net_path}"
    if _SOLVER_FIELDS.search(path.read_text(encoding="utf-8", errors="replace")):
        return _check_solver(path)
    from batchbrew.solver import load

    file = load.read_net_file(path)
    net = _build(file, file)
    return f"net '{net.name}': {len(net.table())} layers, {net.parameters:,} parameters"


def _check_solver(path: Path) -> str:
    from batchbrew.solver import load
    from batchbrew.solver.solvers import make_solver

    solver = load.read_solver(path)
    train_file, test_file = (load.solver_net(solver, path, phase) for phase in (pb.TRAIN, pb.TEST))
    net = _build(train_file, test_file)
    make_solver(solver, net, f"{path}: ")
    return f"{solver.type} solver of {train_file.path}: {net.parameters:,} parameters"


def _build(train_file: NetFile, test_file: NetFile) -> Net:
    """Build a net in both phases where it has both; return the training net, or the test net if it is the only one."""
    from batchbrew.solver.readers import names_data_set, readers

    net: Net | None = None
    for file, phase in ((train_file, pb.TRAIN), (test_file, pb.TEST)):
        layers = readers(file.param, phase)
        if layers:
            named = names_data_set(layers[0])
            part = _part(layers[0].data_param.source, Path(file.path), phase) if named else None
            net = file.build(phase, data=part, share=net)
    return net if net is not None else train_file.build(pb.TRAIN)


def _part(source: str, file: Path, phase: int) -> Part:
    """Return the samples of a data layer; one blank picture stands in for a known data set that is not prepared."""
    from batchbrew.solver.data import dataset

    near = file.parent / source
    try:
        found = dataset.resolve(str(near) if near.exists() else source)
    except UserError as error:
        if source not in _SHAPES:
            raise UserError(f"{file}: {error}") from None
        shape = _SHAPES[source]
        return dataset.Part(np.zeros((1, *shape), np.uint8), np.zeros(1, np.int32), np.zeros(shape, np.float32))
    return found.train if phase == pb.TRAIN else found.test
