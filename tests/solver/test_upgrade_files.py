"""Files in older formats: the command that rewrites them, and reading them as nets, solvers and models."""

from __future__ import annotations

import numpy as np
import pytest
from engine_support import inputs, layer, net_of, randomise

from batchbrew.cli import run
from batchbrew.errors import UserError
from batchbrew.protos import binary, text
from batchbrew.protos import messages as pb
from batchbrew.solver import load, snapshot

OLD = """# seen in the wild
name: "n"  input: "x"
input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "r" type: RELU bottom: "x" top: "x" }
"""
TODAY = """name: "n"
layer { name: "input" type: "Input" top: "x" input_param { shape { dim: [1, 3, 8, 8] } } }
layer { name: "r" type: "ReLU" bottom: "x" top: "x" }
"""
V0 = 'input: "x" layers { layer { name: "r" type: "relu" pad: 1 } bottom: "x" top: "y" }'


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.prototxt").write_text(OLD)
    (tmp_path / "today.prototxt").write_text(TODAY)
    binary.write(tmp_path / "old.caffemodel", text.parse(OLD, pb.NetParameter))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "as_text"),
    [
        ("old.prototxt new.prototxt", True),
        ("old.prototxt old.prototxt", True),
        ("old.prototxt new.caffemodel --binary", False),
        ("old.caffemodel new.caffemodel", False),
        ("old.caffemodel new.prototxt", True),
        ("old.caffemodel new.txt", True),
        ("old.caffemodel new.prototxt --binary", False),
        ("old.caffemodel new --text", True),
    ],
)
def test_nets_are_rewritten(here, capsys, arguments, as_text):
    assert run(["upgrade", "net", *arguments.split()]) == 0
    source, target = arguments.split()[:2]
    assert capsys.readouterr() == (f"{source}: upgraded V1LayerParameter, input fields; wrote {target}\n", "")
    found = (text if as_text else binary).read(here / target, pb.NetParameter)
    assert found == text.parse(TODAY, pb.NetParameter)
    assert sorted(p.name for p in here.iterdir()) == sorted(
        {"old.prototxt", "today.prototxt", "old.caffemodel", target}
    )


def test_a_current_file_is_copied_as_it_is(here, capsys):
    (here / "today.prototxt").write_text("# mine\n" + TODAY)
    assert run(["upgrade", "net", "today.prototxt", "copy.prototxt"]) == 0
    assert capsys.readouterr().out == "today.prototxt: is in the current format already; wrote copy.prototxt\n"
    assert (here / "copy.prototxt").read_text() == "# mine\n" + TODAY
    before = (here / "today.prototxt").stat()
    assert run(["upgrade", "net", "today.prototxt", "./today.prototxt"]) == 0
    assert capsys.readouterr().out == "today.prototxt: is in the current format already\n"
    assert (here / "today.prototxt").stat() == before
    assert run(["upgrade", "net", "today.prototxt", "today.caffemodel", "--binary"]) == 0
    assert binary.read("today.caffemodel", pb.NetParameter) == text.parse(TODAY, pb.NetParameter)


def test_what_has_no_place_today_is_told_and_the_exit_code_is_1(here, capsys):
    (here / "v0.prototxt").write_text(V0)
    assert run(["upgrade", "net", "v0.prototxt", "new.prototxt"]) == 1
    out, err = capsys.readouterr()
    assert out == "v0.prototxt: upgraded V0LayerParameter, V1LayerParameter, input fields; wrote new.prototxt\n"
    assert err.splitlines() == [
        "batchbrew: v0.prototxt: Unknown parameter pad for layer type relu (layer 'r')",
        "batchbrew: v0.prototxt: Warning: had problems upgrading V0LayerParameter (see above); continuing anyway.",
    ]
    assert (here / "new.prototxt").read_text().startswith('layer {\n  name: "r"\n  type: "ReLU"\n')


def test_solvers_are_rewritten(here, capsys):
    (here / "s.prototxt").write_text("solver_type: ADAM net_param { layers { type: RELU } }")
    today = text.parse('type: "Adam" net_param { layer { type: "ReLU" } }', pb.SolverParameter)
    assert run(["upgrade", "solver", "s.prototxt", "new.prototxt"]) == 0
    said = "s.prototxt: upgraded 'solver_type' field (enum), V1LayerParameter in net_param; wrote new.prototxt\n"
    assert capsys.readouterr().out == said
    assert text.read("new.prototxt", pb.SolverParameter) == today
    assert run(["upgrade", "solver", "new.prototxt", "new.bin", "--binary"]) == 0
    assert run(["upgrade", "solver", "new.bin", "again.bin"]) == 0
    assert binary.read("again.bin", pb.SolverParameter) == today


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        ("net in out", None, "in: no such file"),
        ("net in out", b"", "in: the file is empty"),
        ("net in out", b"layers { type: relu }", "in:1:16: V1LayerParameter.type has no value 'relu' - did you mean 'RELU'?"),
        ("net in out", b'layers { }\nlayer { name: "x" }', "in: Refusing to upgrade inconsistent NetParameter input;"),
        ("net in out", b'\n layers { layer { type: "pol" } }', "in:2:2: Unknown layer name: pol (layer '') - did you mean 'pool'?"),
        ("net in out", b"\x89HDF\r\n\x1a\n\x00", "in: is an HDF5 file"),
        ("net in out", b"\x00\x01\x02", "in: is damaged or of another kind"),
        ("net in out", b"\xff\xfel\x00", "in: is UTF-16 text"),
        ("net in out", b'net: "x"', "in:1:1: NetParameter has no field 'net' - is this a solver file?"),
        ("net in no/out", OLD.encode(), "no/out: cannot write: No such file or directory"),
        ("solver in out", b'solver_type: ADAM type: "SGD"', "in: Failed to upgrade solver: solver_type and type cannot"),
        ("solver in out", b'layer { }', "in:1:1: SolverParameter has no field 'layer' - is this a net file?"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_write_nothing(here, capfd, arguments, content, message):
    if content is not None:
        (here / "in").write_bytes(content)
    before = sorted(here.iterdir())
    assert run(["upgrade", *arguments.split()]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"batchbrew: error: {message}")
    assert err.count("\n") == 1
    assert sorted(here.iterdir()) == before


def test_places_in_messages_stay_right(here):
    """Layers that vanish, and the layer that stands for the inputs, do not shift the places of the others."""
    padding = 'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }\n'
    conv = 'layers { layer { name: "c" type: "conv" num_output: 1 kernelsize: %d } bottom: "p" top: "c" }\n'
    (here / "v0.prototxt").write_text(OLD.partition("layers")[0] + padding + conv % 20)
    file = load.read_net_file("v0.prototxt")
    assert file.positions == ((2, 12), (5, 1))
    assert len(file.notes) == 6
    with pytest.raises(UserError, match=r"^v0.prototxt:5:1: layer 'c' \(Convolution\): "):
        file.build(pb.TEST)


def test_old_solvers_are_read_with_their_nets(here):
    (here / "s.prototxt").write_text(f"solver_type: NESTEROV net_param {{ {OLD} }}")
    solver = load.read_solver("s.prototxt")
    assert solver.type == "Nesterov"
    assert load.solver_net(solver, "s.prototxt", pb.TEST).build(pb.TEST).blobs["x"].data.shape == (1, 3, 8, 8)


def test_models_of_every_generation_are_loaded(here):
    """As V0, V1 and today's layers; old models name their inputs without a shape, and blobs by four extents."""
    net = net_of(inputs(x=(2, 3)) + layer("ip", "InnerProduct", "x", "y", "inner_product_param { num_output: 2 }"))
    randomise(net)
    weights, bias = (parameter.data.copy() for parameter in net.params["ip"])
    blobs = [pb.BlobProto(num=1, channels=1, height=2, width=3, data=weights.ravel()),
             pb.BlobProto(num=1, channels=1, height=1, width=2, data=bias)]  # fmt: skip
    v0 = {
        "layer": {"name": "ip", "type": "innerproduct", "num_output": 2, "blobs": blobs},
        "bottom": ["x"],
        "top": ["y"],
    }
    v1 = {"name": "ip", "type": "INNER_PRODUCT", "blobs": blobs, "bottom": ["x"], "top": ["y"]}
    v2 = {"name": "ip", "type": "InnerProduct", "blobs": blobs, "bottom": ["x"], "top": ["y"]}
    for model in ({"layers": [v0], "input": ["x"]}, {"layers": [v1], "input": ["x"]}, {"layer": [v2], "input": ["x"]}):
        binary.write("m.caffemodel", pb.NetParameter(**model))
        net.flat.values[...] = 0
        assert snapshot.load_weights(net, "m.caffemodel") == []
        np.testing.assert_array_equal(net.params["ip"][0].data, weights)
        np.testing.assert_array_equal(net.params["ip"][1].data, bias)
