"""``caffe.draw``: pictures of nets, made by pydot and the program ``dot`` of Graphviz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.graph import included
from batchbrew.solver.upgrade import upgraded

LAYER_STYLE = {"shape": "record", "style": "filled", "fillcolor": "#9ecae1"}
IN_PLACE_STYLE = {**LAYER_STYLE, "fillcolor": "#a1d99b"}
BLOB_STYLE = {"shape": "octagon", "style": "filled", "fillcolor": "#e0e0e0"}
COLOURS = {
    "Convolution": "#fc9272",
    "Deconvolution": "#fc9272",
    "Pooling": "#fdd0a2",
    "InnerProduct": "#c994c7",
}
RANKDIRS = ("LR", "RL", "TB", "BT")


def choose_color_by_layertype(layertype: str) -> str:
    """Return the colour of layers of a type."""
    return COLOURS.get(layertype, LAYER_STYLE["fillcolor"])


def get_pooling_types_dict() -> dict[int, str]:
    """Return the name of each pooling method by its number."""
    return {number: name for name, number in pb.PoolingParameter.PoolMethod.items()}


def get_layer_label(layer: pb.LayerParameter, rankdir: str, display_lrm: bool = False) -> str:
    """Return what stands in a layer's box: name and type; kernel, stride and pad; with ``display_lrm`` the multipliers.

    Lines are set side by side where the picture grows upwards or downwards.
    """
    lines = [layer.name, f"({layer.type})"]
    if layer.type in ("Convolution", "Deconvolution"):
        p = layer.convolution_param
        kernel = _sizes(p.kernel_size, p.kernel_h, p.kernel_w, 1)
        stride = _sizes(p.stride, p.stride_h, p.stride_w, 1)
        pad = _sizes(p.pad, p.pad_h, p.pad_w, 0)
        lines += [f"kernel size: {kernel}", f"stride: {stride}", f"pad: {pad}"]
    elif layer.type == "Pooling":
        q = layer.pooling_param
        lines[1] = f"({get_pooling_types_dict()[q.pool]} {layer.type})"
        kernel = "global" if q.global_pooling else _sizes([q.kernel_size], q.kernel_h, q.kernel_w, 0)
        lines += [f"kernel size: {kernel}", f"stride: {_sizes([q.stride], q.stride_h, q.stride_w, 1)}"]
        lines.append(f"pad: {_sizes([q.pad], q.pad_h, q.pad_w, 0)}")
    if display_lrm and len(layer.param):
        lines.append("lr mult: " + ", ".join(f"{spec.lr_mult:g}" for spec in layer.param))
    return (" " if rankdir in ("TB", "BT") else "\n").join(lines)


def get_edge_label(layer: pb.LayerParameter) -> str:
    """Return what stands at the edge to a layer's top: the number of its channels, or the batch size."""
    outputs = {
        "Data": layer.data_param.batch_size,
        "Convolution": layer.convolution_param.num_output,
        "Deconvolution": layer.convolution_param.num_output,
        "InnerProduct": layer.inner_product_param.num_output,
    }
    if layer.type not in outputs:
        return ""
    return f"Batch {outputs[layer.type]}" if layer.type == "Data" else str(outputs[layer.type])


def get_pydot_graph(
    caffe_net: pb.NetParameter,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Any:
    """Return the pydot graph of a net of any format; with ``phase`` only of the layers that belong to it.

    Raises UserError for a ``rankdir`` (direction of growth) other than LR, RL, TB and BT.
    """
    if rankdir not in RANKDIRS:
        raise UserError(f"rankdir must be one of {', '.join(RANKDIRS)} (found '{rankdir}')")
    pydot = _pydot()
    net, _ = upgraded(caffe_net)
    graph = pydot.Dot(_quoted(net.name or "Net"), graph_type="digraph", rankdir=rankdir)
    blobs: dict[str, Any] = {}

    def blob(name: str) -> Any:
        if name not in blobs:
            blobs[name] = pydot.Node(_quoted(f"{name}_blob"), label=_quoted(name), **BLOB_STYLE)
            graph.add_node(blobs[name])
        return blobs[name]

    for number, layer in enumerate(net.layer):
        if phase is not None and not included(layer, pb.NetState(phase=phase)):
            continue
        in_place = list(layer.bottom) == list(layer.top) and len(layer.top) == 1
        style = IN_PLACE_STYLE if in_place else {**LAYER_STYLE, "fillcolor": choose_color_by_layertype(layer.type)}
        label = _quoted(get_layer_label(layer, rankdir, display_lrm))
        node = pydot.Node(_quoted(f"{number}_{layer.name}_{layer.type}"), label=label, **style)
        graph.add_node(node)
        for name in layer.bottom:
            graph.add_edge(pydot.Edge(blob(name), node, label=_quoted("")))
        for name in layer.top:
            edge = get_edge_label(layer) if label_edges else ""
            graph.add_edge(pydot.Edge(node, blob(name), label=_quoted(edge)))
    return graph


def draw_net(
    caffe_net: pb.NetParameter, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """Return the picture of a net as a file of type ``ext`` (png, pdf, svg, ...; raw for Graphviz's own text).

    Raises UserError if pydot or Graphviz is not there.
    """
    graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    if ext == "raw":
        return str(graph.to_string()).encode()
    try:
        return bytes(graph.create(format=ext))
    except FileNotFoundError:
        raise UserError("drawing nets needs the program 'dot' of Graphviz in the PATH: install graphviz") from None
    except AssertionError as problem:
        raise UserError(f"Graphviz could not draw the net as '{ext}': {problem}") from None


def draw_net_to_file(
    caffe_net: pb.NetParameter,
    filename: str | Path,
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write the picture of a net; the file's extension says of which type."""
    Path(filename).write_bytes(draw_net(caffe_net, rankdir, Path(filename).suffix[1:], phase, display_lrm))


def _sizes(both: Any, height: int, width: int, default: int) -> str:
    """Return sizes along the axes as text: one if all are equal."""
    sizes = [height, width] if height or width else list(both) or [default]
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))


def _quoted(text: str) -> str:
    """Return text as a quoted string of Graphviz; what structures the labels of records is escaped."""
    text = "".join(f"\\{character}" if character in '\\"{}<>|' else character for character in text)
    return '"' + text.replace("\n", "\\n") + '"'


def _pydot() -> Any:
    try:
        import pydot
    except ImportError:
        raise UserError("drawing nets needs pydot: pip install 'batchbrew[draw]'") from None
    return pydot
