"""The graph of a net before it is compiled: rules of inclusion, Split insertion, and which layers run backward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from batchbrew.errors import UserError, did_you_mean
from batchbrew.protos import messages as pb

Positions = Sequence[str]  # "file:line:col: " of each layer


def met(rule: pb.NetStateRule, state: pb.NetState) -> bool:
    """Return whether every stated condition of ``rule`` holds in ``state``.

    >>> met(pb.NetStateRule(phase=pb.TEST), pb.NetState(phase=pb.TRAIN))
    False
    """
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )


def included(layer: pb.LayerParameter, state: pb.NetState, where: str = "") -> bool:
    """Return whether ``layer`` belongs to a net in ``state``."""
    if len(layer.include) and len(layer.exclude):
        raise UserError(f"{where}layer '{layer.name}': give include rules or exclude rules, not both")
    if len(layer.include):
        return any(met(rule, state) for rule in layer.include)
    return not any(met(rule, state) for rule in layer.exclude)


def insert_splits(layers: Sequence[pb.LayerParameter], where: Positions) -> tuple[list[pb.LayerParameter], list[str]]:
    """Return the layers with a Split behind every top that is used more than once, and their positions.

    A use is a later bottom, or an explicit non-zero loss_weight of the producer (which moves to the Split's first
    top). Raises UserError for a bottom that nothing has produced before.
    """
    producer: dict[str, tuple[int, int]] = {}
    source: dict[tuple[int, int], tuple[int, int]] = {}  # (layer, bottom) -> (layer, top)
    uses: dict[tuple[int, int], int] = defaultdict(int)
    for i, layer in enumerate(layers):
        for j, name in enumerate(layer.bottom):
            if name not in producer:
                raise UserError(
                    f"{where[i]}unknown bottom blob '{name}' (layer '{layer.name}', bottom index {j})"
                    f"{did_you_mean(name, producer)}"
                )
            source[i, j] = producer[name]
            uses[producer[name]] += 1
        for j, name in enumerate(layer.top):
            producer[name] = (i, j)
            if j < len(layer.loss_weight) and layer.loss_weight[j] and len(layer.loss_weight) == len(layer.top):
                uses[i, j] += 1
    out: list[pb.LayerParameter] = []
    places: list[str] = []
    next_use: dict[tuple[int, int], int] = defaultdict(int)
    for i, original in enumerate(layers):
        layer = pb.LayerParameter()
        layer.CopyFrom(original)
        for j in range(len(layer.bottom)):
            made = source[i, j]
            if uses[made] > 1:
                layer.bottom[j] = _split_top(layers[made[0]], made[1], next_use[made])
                next_use[made] += 1
        out.append(layer)
        places.append(where[i])
        for j, name in enumerate(original.top):
            if uses[i, j] <= 1:
                continue
            split = pb.LayerParameter(name=_split_name(original, j), type="Split", bottom=[name])
            split.top.extend(_split_top(original, j, k) for k in range(uses[i, j]))
            if j < len(original.loss_weight) and original.loss_weight[j]:
                split.loss_weight.extend([original.loss_weight[j]] + [0.0] * (uses[i, j] - 1))
                layer.loss_weight[j] = 0
                next_use[i, j] = 1
            out.append(split)
            places.append(where[i])
    return out, places


def _split_name(layer: pb.LayerParameter, top: int) -> str:
    return f"{layer.top[top]}_{layer.name}_{top}_split"


def _split_top(layer: pb.LayerParameter, top: int, use: int) -> str:
    return f"{_split_name(layer, top)}_{use}"


@dataclass(frozen=True)
class Node:
    """A layer as the backward analysis sees it: which blobs it reads and writes, by number."""

    bottoms: tuple[int, ...]
    tops: tuple[int, ...]
    learns: bool
    loss: bool  # one of its tops has a loss weight
    propagate: tuple[bool, ...] | None  # the prototxt's propagate_down
    may_force: tuple[bool, ...]  # bottoms that force_backward may switch on


def backward_needs(nodes: Sequence[Node], force: bool) -> tuple[list[bool], list[list[bool]]]:
    """Return which layers run backward, and for each of their bottoms whether its gradient is wanted.

    A layer runs if a bottom or a parameter of its own wants a gradient and it leads to a loss; ``force`` (the net's
    force_backward) runs all, and wants every gradient that can be. But where nothing reads the tops of a layer without
    bottoms, nothing has made a gradient for it.
    """
    wanted: dict[int, bool] = {}
    runs: list[bool] = []
    bottoms: list[list[bool]] = []
    for node in nodes:
        needs = [
            (node.propagate[i] if node.propagate is not None else wanted.get(blob, False))
            for i, blob in enumerate(node.bottoms)
        ]
        run = node.learns or any(needs)
        runs.append(run)
        bottoms.append(needs)
        for blob in node.tops:
            wanted[blob] = run
    leads: set[int] = set()
    blocked: set[int] = set()
    for i in reversed(range(len(nodes))):
        node = nodes[i]
        to_loss = node.loss or any(blob in leads for blob in node.tops)
        skipped = all(blob in blocked for blob in node.tops)
        if not to_loss or skipped:
            runs[i] = False
        if to_loss:
            leads.update(node.bottoms)
        for j, blob in enumerate(node.bottoms):
            if not runs[i] or not bottoms[i][j]:
                blocked.add(blob)
            else:
                blocked.discard(blob)
        if not runs[i]:
            bottoms[i] = [False] * len(node.bottoms)
    if force:
        read = {blob for node in nodes for blob in node.bottoms}
        runs = [bool(node.bottoms) or not read.isdisjoint(node.tops) for node in nodes]
        bottoms = [
            [bottoms[i][j] or node.may_force[j] for j in range(len(node.bottoms))] for i, node in enumerate(nodes)
        ]
    return runs, bottoms
