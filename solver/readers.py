"""The layers of a net that read samples, opened without building the net: how many samples there are, and which."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batchbrew.protos import messages as pb
from batchbrew.solver.data.sources import SOURCES
from batchbrew.solver.data.store import is_store
from batchbrew.solver.graph import included
from batchbrew.solver.layer import LAYERS
from batchbrew.solver.layers.samples import SampleLayer


@dataclass(frozen=True)
class Reading:
    """What a net reads in one phase: samples a batch, samples in all, and what tells them apart from others."""

    batch: int
    count: int
    digest: str


def names_data_set(layer: pb.LayerParameter) -> bool:
    """Return whether a data layer names a data set of ours (by name, file or raw folder), not a source like Caffe's."""
    source = layer.data_param.source
    foreign = is_store(Path(source)) or (layer.data_param.HasField("backend") and source not in SOURCES)
    return layer.type == "Data" and not foreign


def readers(net: pb.NetParameter, phase: int) -> list[pb.LayerParameter]:
    """Return the layers that read samples in ``phase``, in order."""
    state = pb.NetState()
    state.CopyFrom(net.state)
    state.phase = phase
    known = [layer for layer in net.layer if layer.type in LAYERS and included(layer, state)]
    return [layer for layer in known if issubclass(LAYERS.get(layer.type), SampleLayer)]


def read(layers: Sequence[pb.LayerParameter], phase: int, where: str) -> Reading:
    """Open the sources of ``layers`` and return what they hold; the first one counts. Raises UserError."""
    opened: list[SampleLayer] = []
    for param in layers:
        layer = LAYERS.get(param.type)(param, phase, f"{where}: ")
        assert isinstance(layer, SampleLayer)
        layer.open(None, 0)
        opened.append(layer)
    text = " ".join(f"{layer.type} {layer.count} {layer.digest}" for layer in opened)
    return Reading(opened[0].batch, opened[0].count, "sha256:" + hashlib.sha256(text.encode()).hexdigest())
