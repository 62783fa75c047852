"""From a net's text to connected layers: filtered, split, set up, with parameters shared and backward needs known."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

from numpy.typing import DTypeLike

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Shape, Storage
from batchbrew.solver.fillers import fill
from batchbrew.solver.graph import Node, backward_needs, included, insert_splits
from batchbrew.solver.layer import LAYERS, Layer

MAX_AXES = 32  # as Caffe's blobs
MAX_COUNT = (1 << 31) - 1
AUTOMATIC = "(automatic)"  # the name of a loss's top where the prototxt names none


@dataclass(eq=False)
class Tensor:
    """One bottom or top: a name, and the storages of its data and its gradient (shared by in-place layers)."""

    name: str
    data: Storage
    diff: Storage
    number: int
    keeps: bool = False  # whoever wrote the data reads it again when going backward
    origin: Tensor | None = None  # the same memory in Caffe, in the shape it had before Flatten or the like
    changed: bool = False  # a layer in place changes this memory in Caffe, behind Flatten or the like


@dataclass
class Wiring:
    """The layers of one net in order, with their bottoms and tops."""

    layers: list[Layer] = field(default_factory=list)
    bottoms: list[list[Tensor]] = field(default_factory=list)
    tops: list[list[Tensor]] = field(default_factory=list)
    runs: list[bool] = field(default_factory=list)  # which layers run backward
    needs: list[list[bool]] = field(default_factory=list)  # for which bottoms
    tensors: dict[str, Tensor] = field(default_factory=dict)  # the last one of each name
    shapes: list[Shape] = field(default_factory=list)  # by tensor number, for the batch size of the prototxt
    outputs: list[str] = field(default_factory=list)
    weights: dict[int, float] = field(default_factory=dict)  # loss weight by tensor number
    numbered: list[Tensor] = field(default_factory=list)  # all tensors by number
    written: set[int] = field(default_factory=set)  # layers whose tops the caller writes

    def shape_of(self, name: str) -> Shape:
        """Return the shape of a blob for the batch size of the prototxt."""
        return self.shapes[self.tensors[name].number]


def wire(
    param: pb.NetParameter, state: pb.NetState, where: Sequence[str], dtype: DTypeLike, bind: Callable[[Layer], None]
) -> Wiring:
    """Return the connected layers of ``param`` in ``state``; ``bind(layer)`` attaches what a layer needs from outside.

    ``where`` holds the ``file:line:col: `` of each layer. Raises UserError naming place and layer.
    """
    kept = [i for i, layer in enumerate(param.layer) if included(layer, state, where[i])]
    layers, places = insert_splits([param.layer[i] for i in kept], [where[i] for i in kept])
    net = Wiring()
    free: dict[str, Tensor] = {}
    for number, (layer_param, place) in enumerate(zip(layers, places, strict=True)):
        if not layer_param.HasField("phase"):
            layer_param.phase = state.phase
        layer = LAYERS.get(layer_param.type, f"{place}layer '{layer_param.name}': ")(
            layer_param, layer_param.phase, place
        )
        layer.salt, layer.forced = number + 16, param.force_backward
        _check_counts(layer)
        bottoms = [free.pop(name) for name in layer_param.bottom]
        bind(layer)
        layer.setup([net.shapes[b.number] for b in bottoms])
        _check_parameters(layer)
        shapes = layer.reshape([net.shapes[b.number] for b in bottoms])
        tops = _tops(net, layer, bottoms, shapes, dtype)
        net.layers.append(layer)
        net.bottoms.append(bottoms)
        net.tops.append(tops)
        for tensor in tops:
            net.tensors[tensor.name] = free[tensor.name] = tensor
        if layer.type == "Input":
            net.written.add(number)
        _weigh(net, layer, tops)
        for i, bottom in enumerate(bottoms):
            bottom.data.widen(layer.borders(i))
    net.outputs = sorted(free)
    net.runs, net.needs = backward_needs([_node(net, i) for i in range(len(net.layers))], param.force_backward)
    for layer, tops, needs in zip(net.layers, net.tops, net.needs, strict=True):
        for i, top in enumerate(tops):
            top.diff.widen(layer.diff_borders(i, any(needs)))
    return net


def _check_counts(layer: Layer) -> None:
    counts = (
        (layer.bottoms, len(layer.param.bottom), "bottom", "as input"),
        (layer.tops, len(layer.param.top), "top", "as output"),
    )
    for (least, most), found, what, role in counts:
        need = least if not (what == "top" and layer.loss) else 0
        if need <= found and (most is None or found <= most):
            continue
        wanted = f"{least}" if most == least else f"at least {least}" if most is None else f"{least} to {most}"
        raise layer.error(f"takes {wanted} {what} blob(s) {role} (found {found})")


def _check_parameters(layer: Layer) -> None:
    for parameter in layer.parameters:
        if parameter.count > MAX_COUNT:
            raise layer.error(
                f"parameter {parameter.index} {parameter.shape} would have more than {MAX_COUNT} elements"
            )


def _tops(
    net: Wiring, layer: Layer, bottoms: Sequence[Tensor], shapes: Sequence[Shape], dtype: DTypeLike
) -> list[Tensor]:
    """Return the tensors a layer writes: new ones, or the bottom's memory where it works in place."""
    names = list(layer.param.top)
    if layer.loss and not names:
        taken = sum(name.startswith(AUTOMATIC) for name in net.tensors)
        names = [f"{AUTOMATIC} {taken + 1}" if taken else AUTOMATIC]
    if len(names) != len(shapes):
        raise layer.error(f"makes {len(shapes)} top blob(s) of {len(bottoms)} bottom(s) (found {len(names)})")
    tops = []
    for i, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        if len(shape) > MAX_AXES:
            raise layer.error(f"blobs of more than {MAX_AXES} axes are not supported (top '{name}' {shape})")
        if any(size < 1 for size in shape) and not layer.dynamic:
            raise layer.error(f"top '{name}' would be empty: {shape}")
        if prod(shape) > MAX_COUNT:
            raise layer.error(f"top '{name}' {shape} would have more than {MAX_COUNT} elements")
        here = i < len(bottoms) and bottoms[i].name == name
        if (not here and name in net.tensors) or name in names[:i]:
            raise layer.error(f"top blob '{name}' is produced more than once")
        data, diff = Storage(dtype), Storage(dtype)
        keeps = layer.keeps_top
        if here and layer.in_place and not bottoms[i].keeps:
            data, diff = bottoms[i].data, bottoms[i].diff
        elif layer.type == "Split":
            data, keeps = bottoms[0].data, True  # other readers see the same memory
        origin = bottoms[i].origin if here else bottoms[0] if layer.reshapes else None
        if here:
            _note_change(origin)
        elif origin is not None:
            keeps = keeps or origin.keeps
        tops.append(Tensor(name, data, diff, len(net.shapes), keeps, origin))
        net.numbered.append(tops[-1])
        net.shapes.append(shape)
    return tops


def _note_change(tensor: Tensor | None) -> None:
    while tensor is not None:
        tensor.changed = True
        tensor = tensor.origin


def _weigh(net: Wiring, layer: Layer, tops: Sequence[Tensor]) -> None:
    given = list(layer.param.loss_weight)
    if given and len(given) != len(tops):
        raise layer.error(f"loss_weight must be left out or given once for each of the {len(tops)} tops")
    for i, tensor in enumerate(tops):
        weight = given[i] if given else float(layer.loss and i == 0)
        if weight:
            net.weights[tensor.number] = weight


def _node(net: Wiring, i: int) -> Node:
    layer = net.layers[i]
    propagate = tuple(layer.param.propagate_down)
    if propagate and len(propagate) != len(net.bottoms[i]):
        raise layer.error(f"propagate_down must be given once for each of the {len(net.bottoms[i])} bottoms")
    return Node(
        bottoms=tuple(b.number for b in net.bottoms[i]),
        tops=tuple(t.number for t in net.tops[i]),
        learns=any(p.lr_mult for p in layer.parameters),
        loss=any(t.number in net.weights for t in net.tops[i]),
        propagate=propagate or None,
        may_force=tuple(layer.may_force(j) for j in range(len(net.bottoms[i]))),
    )


def fill_parameters(layers: Sequence[Layer], seed: int) -> None:
    """Give every owned parameter its initial values, keyed by seed, layer name and index."""
    for layer in layers:
        key = zlib.crc32(layer.name.encode())
        for parameter in layer.parameters:
            if parameter.initial is not None and parameter.owner is None:
                parameter.values[...] = parameter.initial
            elif parameter.owner is None:
                fill(parameter.data, parameter.filler, (seed % (1 << 64), key, parameter.index), layer.error)


def positions_of(param: pb.NetParameter, source: str, positions: Sequence[tuple[int, int]]) -> list[str]:
    """Return ``source:line:col: `` for each layer, or plain ``source: `` where positions are not known."""
    if len(positions) == len(param.layer):
        return [f"{source}:{line}:{column}: " for line, column in positions]
    return [f"{source}: " if source else ""] * len(param.layer)
