"""The text of every mistake a net's file can hold: what, where (file:line:col), what to do."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_support import data, inputs, layer, net_of, samples

import batchbrew.solver
from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver import load
from batchbrew.solver.kernels import choose
from batchbrew.solver.layer import LAYERS

X = {"x": (2, 3, 4, 5)}
XL = {"x": (2, 3), "label": (2,)}
IP = "inner_product_param { num_output: 3 }"


# inputs, layers, message; the mistake is in the last layer, which "AT " stands for the place of
ROWS = [
    # --- the graph
    (X, layer("a", "ReLU", "z", "y"), "AT unknown bottom blob 'z' (layer 'a', bottom index 0)"),
    ({"data": (1, 2)}, layer("a", "ReLU", "dat", "y"),
     "AT unknown bottom blob 'dat' (layer 'a', bottom index 0) - did you mean 'data'?"),
    (X, layer("a", "ReLU", "x", "y", "include { } exclude { }"),
     "AT layer 'a': give include rules or exclude rules, not both"),
    (X, layer("a", "Relu", "x", "y"),
     f"AT layer 'a': unknown layer type 'Relu' - did you mean 'ReLU'? (known: {', '.join(LAYERS.names())})"),
    (X, layer("a", "ReLU", "x x", "y"), "AT layer 'a' (ReLU): takes 1 bottom blob(s) as input (found 2)"),
    (X, layer("a", "ReLU", "x", ""), "AT layer 'a' (ReLU): takes 1 top blob(s) as output (found 0)"),
    (X, layer("a", "Split", "x", ""), "AT layer 'a' (Split): takes at least 1 top blob(s) as output (found 0)"),
    (X, layer("a", "Scale", "x x x", "y"), "AT layer 'a' (Scale): takes 1 to 2 bottom blob(s) as input (found 3)"),
    (X, layer("a", "ReLU", "x", "y") + layer("b", "ReLU", "y", "x"),
     "AT layer 'b' (ReLU): top blob 'x' is produced more than once"),
    (X, layer("a", "Split", "x", "y y"), "AT layer 'a' (Split): top blob 'y' is produced more than once"),
    ({"x": (1,) * 33}, "",
     f"AT layer 'x' (Input): blobs of more than 32 axes are not supported (top 'x' {(1,) * 33})"),
    ({"x": (1 << 16, 1 << 15)}, "",
     "AT layer 'x' (Input): top 'x' (65536, 32768) would have more than 2147483647 elements"),
    ({"x": (2, 0)}, "", "AT layer 'x' (Input): top 'x' would be empty: (2, 0)"),
    (XL, layer("l", "SoftmaxWithLoss", "x label", "l", "loss_weight: 1 loss_weight: 2"),
     "AT layer 'l' (SoftmaxWithLoss): loss_weight must be left out or given once for each of the 1 tops"),
    (XL, layer("l", "SoftmaxWithLoss", "x label", "l", "propagate_down: true"),
     "AT layer 'l' (SoftmaxWithLoss): propagate_down must be given once for each of the 2 bottoms"),
    (X, layer("i", "InnerProduct", "x", "y", f"param {{ }} param {{ }} param {{ }} {IP}"),
     "AT layer 'i' (InnerProduct): has 3 param entries for 2 parameters"),
    # --- shared parameters
    (XL, layer("a", "InnerProduct", "x", "y", f'param {{ name: "w" }} {IP}')
     + layer("b", "InnerProduct", "x", "z", 'param { name: "w" } inner_product_param { num_output: 4 }'),
     "AT layer 'b' (InnerProduct): shares 'w' (3, 3) with layer 'a', but its own shape is (4, 3)"),
    (XL, layer("a", "InnerProduct", "x", "y", f'param {{ name: "w" }} {IP}')
     + layer("b", "InnerProduct", "x", "z", f'param {{ name: "w" lr_mult: 2 }} {IP}')
     + layer("c", "InnerProduct", "x", "u", f'param {{ name: "w" lr_mult: 3 }} {IP}'),
     "AT layer 'c' (InnerProduct): shares 'w' with layer 'a', but their lr_mult differ"),
    # --- the others
    (XL, layer("l", "LRN", "x", "y"), "AT layer 'l' (LRN): needs a bottom (N, C, H, W), found (2, 3)"),
    (X, layer("l", "LRN", "x", "y", "lrn_param { local_size: 4 }"),
     "AT layer 'l' (LRN): local_size must be odd (found 4)"),
    ({"x": (3,)}, layer("b", "BatchNorm", "x", "y"),
     "AT layer 'b' (BatchNorm): needs a channel axis, found a bottom (3,)"),
    (X, layer("b", "BatchNorm", "x", "y", "param { lr_mult: 1 } param { lr_mult: 1 }"),
     "AT layer 'b' (BatchNorm): its statistics are not learnt: write lr_mult: 0 in its param entries"),
    (X, layer("s", "Scale", "x", "y", "scale_param { axis: 2 num_axes: 3 }"),
     "AT layer 's' (Scale): num_axes 3 from axis 2 is more than the bottom (2, 3, 4, 5) has"),
    ({**X, "z": (4,)}, layer("s", "Scale", "x z", "y"),
     "AT layer 's' (Scale): factor (4,) does not fit axes (3,) of the bottom (2, 3, 4, 5)"),
    (X, layer("s", "Softmax", "x", "y", "softmax_param { axis: 4 }"),
     "AT layer 's' (Softmax): axis 4 is out of range for a blob of 4 axes (2, 3, 4, 5)"),
    (X, layer("i", "InnerProduct", "x", "y"), "AT layer 'i' (InnerProduct): num_output must be at least 1"),
    (X, layer("d", "Dropout", "x", "y", "dropout_param { dropout_ratio: 1 }"),
     "AT layer 'd' (Dropout): dropout_ratio must be at least 0 and less than 1 (found 1)"),
    (X, layer("f", "Flatten", "x", "x"), "AT layer 'f' (Flatten): cannot work in place; give the top another name"),
    (X, layer("f", "Flatten", "x", "y", "flatten_param { axis: 2 end_axis: 1 }"),
     "AT layer 'f' (Flatten): end_axis 1 lies before axis 2 for a bottom (2, 3, 4, 5)"),
    ({"x": (2, 3), "label": (3,)}, layer("l", "SoftmaxWithLoss", "x label", "l"),
     "AT layer 'l' (SoftmaxWithLoss): needs one label a position: 2 for x (2, 3), found 3 in (3,)"),
    ({"x": (2, 3), "z": (2, 4)}, layer("l", "EuclideanLoss", "x z", "l"),
     "AT layer 'l' (EuclideanLoss): needs bottoms (N, ...) of one size, found (2, 3) and (2, 4)"),
    ({"x": (2, 3), "label": (3,)}, layer("a", "Accuracy", "x label", "l"),
     "AT layer 'a' (Accuracy): needs one label a position: 2 for x (2, 3), found 3 in (3,)"),
    (XL, layer("a", "Accuracy", "x label", "l", "accuracy_param { top_k: 4 }"),
     "AT layer 'a' (Accuracy): top_k 4 is more than the 3 classes"),
    # --- sources
    ({}, layer("i", "Input", "", "x", "input_param { shape { dim: 1 } shape { dim: 1 } }"),
     "AT layer 'i' (Input): give one shape, or one for each of the 1 tops (found 2)"),
    ({}, layer("d", "DummyData", "", "x", "dummy_data_param { shape { dim: 1 } data_filler { } data_filler { } }"),
     "AT layer 'd' (DummyData): give no data_filler, one, or one for each of the 1 tops (found 2)"),
    ({}, layer("d", "DummyData", "", "x", "dummy_data_param { num: 1 }"),
     "AT layer 'd' (DummyData): give num, channels, height and width once, or once for each of the 1 tops"),
    ({}, layer("d", "DummyData", "", "x", "dummy_data_param { shape { dim: 1 } shape { dim: 1 } }"),
     "AT layer 'd' (DummyData): give one shape, or one for each of the 1 tops (found 2)"),
    ({}, data(0), "AT layer 'data' (Data): batch_size must be at least 1"),
]  # fmt: skip


for path in sorted(Path(__file__).parent.glob("errors_*.py")):  # the layers of one family each
    ROWS += importlib.import_module(path.stem).ROWS


@pytest.mark.parametrize(("shapes", "layers", "message"), ROWS)
def test_message(shapes, layers, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = f'name: "n"\n\n{inputs(**shapes)}{layers}'
    Path("net.prototxt").write_text(source.replace("\nlayer", "\n   layer"))
    with pytest.raises(UserError) as error:
        load.read_net_file("net.prototxt").build(pb.TRAIN, data=samples(4))
    assert str(error.value) == message.replace("AT ", f"net.prototxt:{source.count(chr(10))}:4: ")


RUN_ONLY = (
    "was set up for",
    "propagate a gradient",
    "here and",
    "samples of varying shape",
    "is not known",
)  # tested below, in test_graph.py or in test_winograd.py
for path in sorted(Path(__file__).parent.glob("errors_*.py")):  # those of a family are tested with its layers
    RUN_ONLY += getattr(importlib.import_module(path.stem), "RUN_ONLY", ())


def raised() -> Iterator[str]:
    """Yield a pattern for every text that layers and wiring raise: what is filled in matches anything."""
    folder = Path(batchbrew.solver.__file__).parent
    for file in [*folder.glob("layers/*.py"), folder / "wiring.py", folder / "graph.py"]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                text = node.exc.args[0]
                parts = text.values if isinstance(text, ast.JoinedStr) else [text]
                yield "".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".*" for part in parts)


def test_every_message_is_tried():
    messages = [message for _, _, message in ROWS]
    untried = [text for text in raised() if not any(re.search(text, message) for message in messages)]
    assert [text for text in untried if not any(re.escape(known) in text for known in RUN_ONLY)] == []
    assert len(list(raised())) > 50


def test_old_formats_are_upgraded():
    net = net_of('input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 layers { name: "r" type: RELU '
                 'bottom: "x" top: "y" }')  # fmt: skip
    assert [layer.type for layer in net.layers] == ["Input", "ReLU"]
    with pytest.raises(UserError, match=r"^n.prototxt: 1 input\(s\) need 4 values of input_dim, 4 for each, found 1$"):
        net_of('input: "x" input_dim: 1', where="n.prototxt")


def test_mistakes_that_show_when_run():
    whole = net_of(data(4) + layer("i", "InnerProduct", "data", "y", "inner_product_param { axis: 0 num_output: 1 }"),
                   data=samples(6), where="n.prototxt")  # fmt: skip
    with pytest.raises(
        UserError, match=r"^n.prototxt: layer 'i' \(InnerProduct\): was set up for 288 inputs, found 216 "
    ):
        whole.evaluate(np.arange(3))
    for kind, rest in (("Convolution", "convolution_param { num_output: 1 kernel_size: 1 }"), ("BatchNorm", "")):
        one = net_of(inputs(x=(2, 3, 4, 5)) + layer("one", kind, "x", "y", rest)).layers[1]
        with pytest.raises(UserError, match=r"was set up for 3 channels, found 4"):
            one.reshape([(2, 4, 4, 5)])


def test_nets_that_do_not_fit_each_other():
    source = inputs(x=(2, 3)) + layer("i", "InnerProduct", "x", "y", "inner_product_param { num_output: NUMBER }")
    first, second = (source.replace("NUMBER", number) for number in "34")
    with pytest.raises(
        UserError, match=r"layer 'i' \(InnerProduct\): parameter 0 has shape \(4, 3\) here and \(3, 3\) in the net"
    ):
        net_of(second, share=net_of(first))


def test_solver_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.prototxt").write_text('net: "a.prototxt" train_net: "b.prototxt"')
    solver = load.read_solver("s.prototxt")
    with pytest.raises(UserError, match=r"^s.prototxt: needs exactly one of net, .* \(found net, train_net\)$"):
        load.solver_net(solver, "s.prototxt", pb.TRAIN)
    solver.ClearField("train_net")
    with pytest.raises(UserError, match=r"^s.prototxt: net: no such file 'a.prototxt' \(looked in "):
        load.solver_net(solver, "s.prototxt", pb.TRAIN)
    solver.ClearField("net")
    with pytest.raises(UserError, match=r"\(found none\)$"):
        load.solver_net(solver, "s.prototxt", pb.TRAIN)
    Path("sub").mkdir()
    Path("sub/a.prototxt").write_text('name: "beside"')
    Path("t.prototxt").write_text('name: "tested"')
    solver.net = "a.prototxt"
    assert load.solver_net(solver, "sub/s.prototxt", pb.TRAIN).param.name == "beside"
    solver.test_net.append("t.prototxt")
    assert load.solver_net(solver, "sub/s.prototxt", pb.TEST).param.name == "tested"


def test_kernel_names(monkeypatch):
    with pytest.raises(
        UserError, match=r"^kernels 'refrence' are not available here - did you mean 'reference'\? \(here: auto, "
    ):
        choose("refrence")
    monkeypatch.setenv("BATCHBREW_KERNELS", "reference")
    assert choose() == "reference"
