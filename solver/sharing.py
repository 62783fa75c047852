"""Parameters that several layers, of one net or of two, have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.layer import Layer
from batchbrew.solver.parameter import Array, Parameter


def share_parameters(layers: Sequence[Layer]) -> list[Parameter]:
    """Join parameters of one name and return the owners in order. Raises UserError where they do not fit."""
    owners: list[Parameter] = []
    named: dict[str, tuple[Layer, list[Parameter]]] = {}  # the first layer, and all of the name, the owner first
    given: dict[tuple[str, str], float] = {}  # (name, lr_mult or decay_mult), where some layer states it
    for layer in layers:
        if len(layer.param.param) > len(layer.parameters):
            raise layer.error(f"has {len(layer.param.param)} param entries for {len(layer.parameters)} parameters")
        for parameter in layer.parameters:
            if not parameter.name or parameter.name not in named:
                owners.append(parameter)
                if parameter.name:
                    named[parameter.name] = (layer, [parameter])
                    _join_multipliers(layer, parameter, layer, parameter, given)
                continue
            owner_layer, (owner, *_) = named[parameter.name]
            permissive = layer.param.param[parameter.index].share_mode == pb.ParamSpec.PERMISSIVE
            if parameter.shape != owner.shape and not (permissive and parameter.count == owner.count):
                raise layer.error(
                    f"shares '{parameter.name}' {owner.shape} with layer '{owner_layer.name}', but its own "
                    f"shape is {parameter.shape}"
                )
            _join_multipliers(layer, parameter, owner_layer, owner, given)
            parameter.owner = owner
            named[parameter.name][1].append(parameter)
    for _, users in named.values():
        if not all(_agree(parameter, users[0]) for parameter in users):
            for parameter in users:
                parameter.lie(tuple(range(len(parameter.shape))))
    return owners


def _join_multipliers(
    layer: Layer, parameter: Parameter, owner_layer: Layer, owner: Parameter, given: dict[tuple[str, str], float]
) -> None:
    """Give owner and sharer the multipliers that any of the layers states; those stated must be equal."""
    spec = layer.param.param[parameter.index]
    for field_name in ("lr_mult", "decay_mult"):
        key = (parameter.name, field_name)
        if spec.HasField(field_name):
            if given.setdefault(key, getattr(spec, field_name)) != getattr(spec, field_name):
                raise layer.error(
                    f"shares '{parameter.name}' with layer '{owner_layer.name}', but their {field_name} differ"
                )
            setattr(owner, field_name, given[key])
        setattr(parameter, field_name, getattr(owner, field_name))


def _agree(parameter: Parameter, owner: Parameter) -> bool:
    """Whether the same place in memory holds the same element of both, counted in C order."""
    if (parameter.shape, parameter.order) == (owner.shape, owner.order):
        return True
    places: list[Array] = [p.shaped(np.arange(p.count)) for p in (parameter, owner)]
    return np.array_equal(places[0].ravel(), places[1].ravel())


def adopt(layers: Sequence[Layer], other: Sequence[Layer]) -> list[Parameter]:
    """Use the parameters of the equally named layers of another net; return those that found none."""
    theirs: dict[str, Layer] = {}
    for layer in other:
        theirs.setdefault(layer.name, layer)
    alone = []
    for layer in layers:
        source = theirs.get(layer.name)
        for parameter in layer.parameters:
            match = source.parameters[parameter.index] if source and parameter.index < len(source.parameters) else None
            if match is None:
                alone.append(parameter)
            elif match.shape != parameter.shape:
                raise layer.error(
                    f"parameter {parameter.index} has shape {parameter.shape} here and {match.shape} in "
                    f"the net it shares with"
                )
            else:
                parameter.owner = match.owner or match
                parameter.lie(match.order)
    for parameter in alone:
        if parameter.owner is not None and not _agree(parameter, parameter.owner):
            raise UserError(
                f"parameter {parameter.label} {parameter.shape} cannot be that of {parameter.owner.label} "
                f"{parameter.owner.shape}, whose values lie in another order in the net it shares with"
            )
    return alone
