"""The lines of Caffe's log about a net that has been built."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.glog import log, number
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.graph import included
from batchbrew.solver.net import Net
from batchbrew.solver.upgrade import Note
from batchbrew.solver.weights import shape_text
from batchbrew.solver.wiring import Tensor

BYTES = 4  # a value
READERS = {
    "Data": "data_layer.cpp:45",
    "ImageData": "image_data_layer.cpp:81",
    "WindowData": "window_data_layer.cpp:203",
}


def log_upgrade(notes: Sequence[Note]) -> None:
    """Write what the upgrade of a file from an older format did."""
    for note in notes:
        log("upgrade_proto.cpp:69", note, note.level)


def log_net(net: Net) -> None:
    """Write which layers were left out and why, and then of each layer its blobs, shapes and whether it runs backward.

    Caffe writes these lines while it builds a net; here it has been built.
    """
    filtered = pb.NetParameter()
    filtered.CopyFrom(net.param)
    filtered.state.CopyFrom(net.state)
    del filtered.layer[:]
    for entry in net.param.layer:
        for rule in entry.exclude or entry.include:
            _log_unmet(rule, net.state, entry.name)
        if included(entry, net.state):
            filtered.layer.add().CopyFrom(entry)
    log("net.cpp:53", f"Initializing net from parameters: \n{text.dump(filtered).rstrip()}")
    _log_layers(net)
    for layer, runs in reversed(list(zip(net.layers, net.wiring.runs, strict=True))):
        log("net.cpp:200", f"{layer.name} {'needs' if runs else 'does not need'} backward computation.")
    for name in net.outputs:
        log("net.cpp:244", f"This network produces output {name}")
    log("net.cpp:257", "Network initialization done.")


def _log_unmet(rule: pb.NetStateRule, state: pb.NetState, layer: str) -> None:
    """Write the first condition of a rule that is not met."""
    end = f"specified by a rule in layer {layer}"
    if rule.HasField("phase") and rule.phase != state.phase:
        log("net.cpp:296", f"The NetState phase ({state.phase}) differed from the phase ({rule.phase}) {end}")
    elif rule.HasField("min_level") and state.level < rule.min_level:
        log("net.cpp:306", f"The NetState level ({state.level}) is below the min_level ({rule.min_level}) {end}")
    elif rule.HasField("max_level") and state.level > rule.max_level:
        log("net.cpp:314", f"The NetState level ({state.level}) is above the max_level ({rule.max_level}) {end}")
    elif missing := [stage for stage in rule.stage if stage not in state.stage]:
        log("net.cpp:330", f"The NetState did not contain stage '{missing[0]}' {end}")
    elif unwanted := [stage for stage in rule.not_stage if stage in state.stage]:
        log("net.cpp:346", f"The NetState contained a not_stage '{unwanted[0]}' {end}")


def _log_layers(net: Net) -> None:
    """Write one block of lines a layer."""
    memory = 0
    owners: dict[str, tuple[str, int]] = {}
    for layer, bottoms, tops in zip(net.layers, net.wiring.bottoms, net.wiring.tops, strict=True):
        log("layer_factory.hpp:77", f"Creating layer {layer.name}")
        log("net.cpp:86", f"Creating Layer {layer.name}")
        for bottom in bottoms:
            log("net.cpp:408", f"{layer.name} <- {bottom.name}")
        for i, top in enumerate(tops):
            here = i < len(bottoms) and bottoms[i].name == top.name
            log("net.cpp:369" if here else "net.cpp:382", f"{layer.name} -> {top.name}{' (in-place)' if here else ''}")
        shapes = [net.wiring.shapes[top.number] for top in tops]
        if layer.type in READERS:
            log(READERS[layer.type], f"output data size: {','.join(map(str, shapes[0]))}")
        log("net.cpp:124", f"Setting up {layer.name}")
        for top, shape in zip(tops, shapes, strict=True):
            log("net.cpp:131", f"Top shape: {shape_text(shape)}")
            _log_weight(net, top)
            memory += BYTES * prod(shape)
        log("net.cpp:139", f"Memory required for data: {memory}")
        for parameter in layer.parameters:
            owner = owners.setdefault(parameter.name, (layer.name, parameter.index))
            if parameter.name and owner != (layer.name, parameter.index):
                shared = f"Sharing parameters '{parameter.name}' owned by layer '{owner[0]}', param index {owner[1]}"
                log("net.cpp:505", shared)


def _log_weight(net: Net, top: Tensor) -> None:
    weight = net.wiring.weights.get(top.number)
    if weight:
        log("net.cpp:134", f"    with loss weight {number(weight)}")
