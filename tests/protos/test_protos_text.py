"""Prototxt that is right: what is accepted, where blocks are, and what is written."""

import math

import pytest

from batchbrew.errors import UserError
from batchbrew.protos import lexer, text
from batchbrew.protos import messages as pb

NET, SOLVER = pb.NetParameter, pb.SolverParameter


def test_all_spellings_of_protobuf_are_accepted():
    source = """
    base_lr: 2.5f, max_iter: 0x10; stepvalue: [010, 2]  # octal, list, separators
    net: 'a' "b"  momentum: .5  gamma: inf  debug_info: True
    test_state < level: 1 > test_state: { stage: "\\303\\251" }
    solver_mode: 0
    """
    solver = text.parse(source, SOLVER)
    assert (solver.base_lr, solver.max_iter, list(solver.stepvalue), solver.net) == (2.5, 16, [8, 2], "ab")
    assert (solver.momentum, solver.gamma, solver.debug_info, solver.solver_mode) == (0.5, math.inf, True, 0)
    assert [state.level for state in solver.test_state] == [1, 0]
    assert solver.test_state[1].stage[0] == "é"


def test_read_accepts_what_editors_of_other_systems_write(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"\xef\xbb\xbfname: 'n'  # caf\xe9 in Latin-1\r\nlayer { name: '\xc3\xa9' }\r\n")
    net = text.read(path, NET)
    assert (net.name, net.layer[0].name) == ("n", "é")


def test_read_takes_a_path_as_text(tmp_path):
    (tmp_path / "s.prototxt").write_text("base_lr: 1")
    assert text.read(str(tmp_path / "s.prototxt"), SOLVER).base_lr == 1


def test_dump_is_in_the_order_of_numbers_with_two_spaces_a_level():
    net = pb.NetParameter(layer=[{"name": "é", "lrn_param": {"alpha": 5e-5}}], name="n", force_backward=False)
    expected = 'name: "n"\nforce_backward: false\nlayer {\n  name: "é"\n  lrn_param {\n    alpha: 5e-05\n  }\n}\n'
    assert text.dump(net) == expected


def test_write_then_read(tmp_path):
    path = tmp_path / "net.prototxt"
    net = pb.NetParameter(name='quote " backslash \\ newline \n é', layer=[{"loss_weight": [0.1, math.nan]}])
    text.write(path, net)
    again = text.read(path, NET)
    assert again.name == net.name
    assert text.dump(again) == text.dump(net)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.prototxt"]


def test_write_replaces_as_a_whole_and_keeps_the_ordinary_mode(tmp_path):
    path = tmp_path / "net.prototxt"
    text.write(path, pb.NetParameter(name="old"))
    (tmp_path / "link").hardlink_to(path)
    text.write(str(path), pb.NetParameter(name="new"))
    assert text.read(path, NET).name == "new"
    assert text.read(tmp_path / "link", NET).name == "old"
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_write_into_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError) as caught:
        text.write(tmp_path / "no" / "net.prototxt", pb.NetParameter(name="n"))
    assert str(caught.value) == f"{tmp_path}/no/net.prototxt: cannot write: No such file or directory"


def test_write_onto_a_folder_leaves_nothing_behind(tmp_path):
    (tmp_path / "net.prototxt").mkdir()
    with pytest.raises(UserError, match=r"cannot write: Is a directory$"):
        text.write(tmp_path / "net.prototxt", pb.NetParameter(name="n"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.prototxt"]


POSITIONS = [
    ('name: "layer"\nlayer { layer: 1 }\n  layer: {\n}\tlayer <\n>', [(2, 1), (3, 3), (4, 3)]),
    ("layer: [{ a: [1, 2] b { } }, { }]\nlayer { }", [(1, 9), (1, 30), (2, 1)]),
    ("# layer { }\nlayers { }\n", []),
    ("s: 'layer {' layer { s: \"}\" } layer { }", [(1, 14), (1, 31)]),
    ("other { layer { } }\r\nlayer { }", [(2, 1)]),
    ("", []),
]


@pytest.mark.parametrize(("source", "expected"), POSITIONS)
def test_positions(source, expected):
    assert text.positions(source, "layer") == expected


def test_positions_are_those_of_the_parsed_layers():
    source = "\n".join(f"{' ' * i}layer {{ name: '{i}' include {{ phase: TEST }} }}" for i in range(5))
    assert text.positions(source, "layer") == [(i + 1, i + 1) for i in range(5)]
    assert [layer.name for layer in text.parse(source, NET).layer] == list("01234")


def test_tokens_carry_their_places():
    source = "a: 1 # x\n\n  b: 'c\\'d' \"e\""
    assert [(t.text, t.line, t.column) for t in lexer.tokens(source)] == [
        ("a", 1, 1),
        (":", 1, 2),
        ("1", 1, 4),
        ("b", 3, 3),
        (":", 3, 4),
        ("'c\\'d'", 3, 6),
        ('"e"', 3, 13),
        ("", 3, 16),
    ]


@pytest.mark.parametrize(
    ("string", "closed"),
    [('"a"', True), ('"', False), ('"a', False), ('"a\\"', False), ('"a\\\\"', True), ("''", True)],
)
def test_closed_strings(string, closed):
    assert next(lexer.tokens(string)).closed is closed
