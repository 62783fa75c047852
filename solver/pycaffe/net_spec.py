"""``caffe.net_spec``: nets written in Python. ``layers.Type(...)`` makes tops, ``NetSpec`` names them.

>>> n = NetSpec()
>>> n.data = layers.Input(shape=dict(dim=[1, 3, 8, 8]))
>>> n.conv = layers.Convolution(n.data, num_output=4, kernel_size=3, weight_filler=dict(type="xavier"))
>>> n.relu = layers.ReLU(n.conv, in_place=True)
>>> n.pool = layers.Pooling(n.relu, pool=params.Pooling.MAX, kernel_size=2, stride=2)
>>> [(layer.name, list(layer.top)) for layer in n.to_proto().layer]
[('data', ['data']), ('conv', ['conv']), ('relu', ['conv']), ('pool', ['pool'])]
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, cast

from google.protobuf.message import Message

from batchbrew.errors import did_you_mean
from batchbrew.protos import messages as pb
from batchbrew.protos.schema import descriptor, is_repeated
from batchbrew.solver.pycaffe.proto import caffe_pb2

Names = dict[Any, str]  # of Tops, and of Functions without tops
Made = dict["Function", pb.LayerParameter]

# layer types whose settings are in the message of another type
_BORROWED = {
    "Deconvolution": "convolution",
    "Im2col": "convolution",
    "LSTM": "recurrent",
    "RNN": "recurrent",
    "SoftmaxWithLoss": "softmax",
}


def param_name_dict() -> dict[str, str]:
    """Return layer type -> name of its settings in LayerParameter without ``_param``.

    >>> param_name_dict()["InnerProduct"], param_name_dict()["ReLU"]
    ('inner_product', 'relu')
    """
    found = {
        field.message_type.name.removesuffix("Parameter"): field.name.removesuffix("_param")
        for field in descriptor(pb.LayerParameter).fields
        if field.message_type and field.name.endswith("_param")
    }
    return found | _BORROWED


_PARAM_NAMES = param_name_dict()


def to_proto(*tops: Top) -> pb.NetParameter:
    """Return the net that computes ``tops``, its blobs and layers named by type and number."""
    return _net((top.fn for top in tops), {})


def _net(functions: Iterable[Function], names: Names) -> pb.NetParameter:
    made: Made = {}
    counts: Counter[str] = Counter()
    for function in functions:
        function.write(made, names, counts)
    return pb.NetParameter(layer=made.values())


def assign_proto(proto: Message, name: str, val: Any) -> None:
    """Set field ``name`` of a message: dicts fill messages, lists fill repeated fields, as does a single value.

    Raises AttributeError if there is no such field.
    """
    fields = descriptor(type(proto)).fields_by_name
    if name not in fields:
        raise AttributeError(f"{proto.DESCRIPTOR.name} has no field '{name}'{did_you_mean(name, fields)}")
    if is_repeated(fields[name]):
        field = getattr(proto, name)
        many = isinstance(val, Iterable) and not isinstance(val, (str, bytes, Mapping))
        for item in val if many else [val]:
            if isinstance(item, Mapping):
                _fill(field.add(), item)
            else:
                field.append(item)
    elif isinstance(val, Mapping):
        getattr(proto, name).SetInParent()
        _fill(getattr(proto, name), val)
    elif isinstance(val, Message):
        getattr(proto, name).CopyFrom(val)
    else:
        setattr(proto, name, val)


def _fill(proto: Message, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        assign_proto(proto, name, value)


class Top:
    """Output ``n`` of a layer that is yet to be written: what other layers take as bottom."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> pb.NetParameter:
        """Return the net that computes this top, its blobs and layers named by type and number."""
        return to_proto(self)

    def _update(self, params: Mapping[str, Any]) -> None:
        self.fn.params.update(params)


class Function:
    """A layer that is yet to be written: its type, the tops it takes, its settings.

    Raises TypeError for an input that is no Top.
    """

    def __init__(self, type_name: str, inputs: Iterable[Top], params: Mapping[str, Any]) -> None:
        self.type_name = type_name
        self.inputs = tuple(inputs)
        for index, given in enumerate(self.inputs):
            if not isinstance(given, Top):
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(given)})")
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def write(self, made: Made, names: Names, counts: Counter[str]) -> None:
        """Add this layer to ``made``, behind those it takes its inputs from."""
        if self in made:
            return
        bottoms = []
        for given in self.inputs:
            given.fn.write(made, names, counts)
            bottoms.append(made[given.fn].top[given.n])
        layer = pb.LayerParameter(type=self.type_name, bottom=bottoms)
        owned = [self._name(top, names, counts) for top in self.tops]
        layer.top.extend(bottoms if self.in_place else owned)
        layer.name = owned[0] if owned else self._name(self, names, counts)
        for name, value in self.params.items():
            self._assign(layer, name, value)
        made[self] = layer

    def _name(self, thing: Top | Function, names: Names, counts: Counter[str]) -> str:
        if thing not in names:
            counts[self.type_name] += 1
            names[thing] = f"{self.type_name}{counts[self.type_name]}"
        return names[thing]

    def _assign(self, layer: pb.LayerParameter, name: str, value: Any) -> None:
        """Set a setting of the layer's type, or else a field that all layers have."""
        common = descriptor(pb.LayerParameter).fields_by_name
        own = f"{_PARAM_NAMES[self.type_name]}_param" if self.type_name in _PARAM_NAMES else None
        settings: Message | None = getattr(layer, own) if own else None
        known = descriptor(type(settings)).fields_by_name if settings is not None else {}
        if settings is not None and name in known:
            assign_proto(settings, name, value)
        elif name in common:
            assign_proto(layer, name, value)
        else:
            near = did_you_mean(name, [*known, *common])
            raise AttributeError(f"layer '{layer.name}' ({self.type_name}) has no parameter '{name}'{near}")


class NetSpec:
    """A net to which tops are assigned as attributes (or items): their names become those of blobs and layers."""

    tops: OrderedDict[str, Top | Function]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Top | Function) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        if name == "tops" or name not in self.tops:
            raise AttributeError(f"the net has no top '{name}'{did_you_mean(name, self.__dict__.get('tops', ()))}")
        return self.tops[name]

    def __delattr__(self, name: str) -> None:
        del self.tops[name]

    def __setitem__(self, key: str, value: Top | Function) -> None:
        self.tops[key] = value

    def __getitem__(self, key: str) -> Any:
        return self.tops[key]

    def __delitem__(self, key: str) -> None:
        del self.tops[key]

    def __contains__(self, key: object) -> bool:
        return key in self.tops

    def __iter__(self) -> Iterator[str]:
        return iter(self.tops)

    def keys(self) -> KeysView[str]:
        """Return the names of the tops."""
        return self.tops.keys()

    def vals(self) -> ValuesView[Top | Function]:
        """Return the tops."""
        return self.tops.values()

    def update(self, *others: Any, **tops: Top | Function) -> None:
        """Assign many tops, as ``dict.update`` does."""
        self.tops.update(*others, **tops)

    def to_proto(self) -> pb.NetParameter:
        """Return the net with everything assigned and what that depends on."""
        names: Names = {top: name for name, top in self.tops.items()}
        return _net((top.fn if isinstance(top, Top) else top for top in self.tops.values()), names)


class Layers:
    """``layers.Type(*bottoms, ntop=1, in_place=False, **settings)`` returns the top of a new layer.

    With ``ntop`` above 1 it returns a tuple of tops, with 0 the layer (assign it to a NetSpec to keep it).
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def layer(*bottoms: Top, **settings: Any) -> Any:
            function = Function(name, bottoms, settings)
            if function.ntop == 0:
                return function
            return function.tops[0] if function.ntop == 1 else function.tops

        return layer


class _Enums:
    """The enum values of one message."""

    def __init__(self, message: type[Message]) -> None:
        self._message = message

    def __getattr__(self, name: str) -> int:
        values = [value.name for enum in self._message.DESCRIPTOR.enum_types for value in enum.values]
        if name not in values:
            known = f" (known: {', '.join(values)})" if values else ""
            near = did_you_mean(name, values)
            raise AttributeError(f"{self._message.DESCRIPTOR.name} has no value '{name}'{near}{known}")
        return cast("int", getattr(self._message, name))


class Parameters:
    """``params.Pooling.MAX`` is the number of the value MAX in PoolingParameter, and so for other types."""

    def __getattr__(self, name: str) -> _Enums:
        message = getattr(caffe_pb2, f"{name}Parameter", None)
        if message is None or name.startswith("__"):
            raise AttributeError(f"there is no message {name}Parameter")
        return _Enums(message)


layers = Layers()
params = Parameters()
