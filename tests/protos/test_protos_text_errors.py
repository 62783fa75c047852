"""The exact text and place of every mistake a prototxt can hold."""

import pytest

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text

NET, SOLVER = pb.NetParameter, pb.SolverParameter
MISTAKES = [
    # unknown fields
    (
        NET,
        "layer {\n  convolution_param { num_outputs: 3 }\n}",
        "f:2:23: ConvolutionParameter has no field 'num_outputs' - did you mean 'num_output'?",
    ),
    (NET, "layer {\r\n\ttpo: 'a'\r\n}", "f:2:2: LayerParameter has no field 'tpo' - did you mean 'top'?"),
    (
        NET,
        "layer {\n  convolution_param {\n    num_output: 3\n}\nlayer { }",
        "f:5:1: LayerParameter has no field 'layer' - is the '}' of 'layer' in line 1 missing?",
    ),
    (
        NET,
        'layer {\n  convolution_param {\n  num_output: 3\n  top: "x"\n}',
        "f:4:3: ConvolutionParameter has no field 'top' - is the '}' of 'convolution_param' in line 2 missing?",
    ),
    (
        NET,
        'layer { type: "Convolution" num_output: 3 }',
        "f:1:29: LayerParameter has no field 'num_output' - it belongs inside 'convolution_param'",
    ),
    (
        NET,
        "layer { kernel_size: 3 }",
        "f:1:9: LayerParameter has no field 'kernel_size' - it belongs inside 'convolution_param' or 'pooling_param'",
    ),
    (
        NET,
        "layer { blobs_lr: 1 }",
        "f:1:9: LayerParameter has no field 'blobs_lr' - it belongs to the older 'layers' blocks; "
        "in a 'layer' block see param { }",
    ),
    (
        NET,
        "layers { batch_norm_param { } }",
        "f:1:10: V1LayerParameter has no field 'batch_norm_param' - it belongs to the newer 'layer' blocks",
    ),
    (
        NET,
        "layer { dropout_param { xxxx: 1 } }",
        "f:1:25: DropoutParameter has no field 'xxxx' (its fields: dropout_ratio)",
    ),
    (NET, "layer { foo: 1 }", "f:1:9: LayerParameter has no field 'foo'"),
    (NET, "base_lr: 0.1", "f:1:1: NetParameter has no field 'base_lr' - is this a solver file?"),
    (SOLVER, "layer { }", "f:1:1: SolverParameter has no field 'layer' - is this a net file?"),
    # enums
    (
        NET,
        "layer { pooling_param { pool: AVG } }",
        "f:1:31: PoolingParameter.pool has no value 'AVG' - did you mean 'AVE'? (known: MAX, AVE, STOCHASTIC)",
    ),
    (
        NET,
        "layer { pooling_param { pool: max } }",
        "f:1:31: PoolingParameter.pool has no value 'max' - did you mean 'MAX'? (known: MAX, AVE, STOCHASTIC)",
    ),
    (
        NET,
        'layer { pooling_param { pool: "MAX" } }',
        "f:1:31: PoolingParameter.pool takes a name without quotes - write MAX",
    ),
    (
        NET,
        "layer { pooling_param { pool: 7 } }",
        "f:1:31: PoolingParameter.pool has no value '7' (known: MAX, AVE, STOCHASTIC)",
    ),
    (
        NET,
        'layers { type: "Convolution" }',
        "f:1:16: V1LayerParameter.type takes no text in quotes - write 'layer' instead of 'layers'",
    ),
    (NET, "layers { type: CONCATE }", "f:1:16: V1LayerParameter.type has no value 'CONCATE' - did you mean 'CONCAT'?"),
    # numbers
    (
        NET,
        "layer { convolution_param { num_output: 1.0 } }",
        "f:1:41: ConvolutionParameter.num_output takes a whole number of 0 or more, found '1.0' - write 1",
    ),
    (
        NET,
        "layer { convolution_param { num_output: -1 } }",
        "f:1:41: ConvolutionParameter.num_output takes a whole number of 0 or more, found '-1'",
    ),
    (
        NET,
        "layer { convolution_param { num_output: 5000000000 } }",
        "f:1:41: ConvolutionParameter.num_output takes a whole number from 0 to 4294967295, found '5000000000'",
    ),
    (
        NET,
        'layer { convolution_param { num_output: "20" } }',
        'f:1:41: ConvolutionParameter.num_output takes a whole number of 0 or more, found "20" - write 20',
    ),
    (
        SOLVER,
        "max_iter: 3000000000",
        "f:1:11: SolverParameter.max_iter takes a whole number from -2147483648 to 2147483647, found '3000000000'",
    ),
    (
        SOLVER,
        "stepvalue: [10, 1e3]",
        "f:1:17: SolverParameter.stepvalue takes a whole number, found '1e3' - write 1000",
    ),
    (SOLVER, "stepvalue: 1.5", "f:1:12: SolverParameter.stepvalue takes a whole number, found '1.5'"),
    (SOLVER, "max_iter: inf", "f:1:11: SolverParameter.max_iter takes a whole number, found 'inf'"),
    (SOLVER, 'net: "a"\nbase_lr: "0.1"', 'f:2:10: SolverParameter.base_lr takes a number, found "0.1" - write 0.1'),
    (SOLVER, "base_lr: abc", "f:1:10: SolverParameter.base_lr takes a number, found 'abc'"),
    (SOLVER, "base_lr: 0,5", "f:1:12: expected a field of SolverParameter, found '5' - a number holds no comma"),
    (SOLVER, "max_iter: 100 000", "f:1:15: expected a field of SolverParameter, found '000'"),
    # booleans and text
    (
        SOLVER,
        "debug_info: TRUE",
        "f:1:13: SolverParameter.debug_info takes true or false, found 'TRUE' - did you mean 'true'?",
    ),
    (SOLVER, "debug_info: yes", "f:1:13: SolverParameter.debug_info takes true or false, found 'yes'"),
    (
        SOLVER,
        'debug_info: "true"',
        'f:1:13: SolverParameter.debug_info takes true or false, found "true" - write true',
    ),
    (
        SOLVER,
        "lr_policy: fixed",
        "f:1:12: SolverParameter.lr_policy takes text in quotes, found 'fixed' - write \"fixed\"",
    ),
    (NET, "layer { name: 3 }", "f:1:15: LayerParameter.name takes text in quotes, found '3' - write \"3\""),
    (
        NET,
        "layer { name: “conv” }",
        "f:1:15: LayerParameter.name takes text in quotes, found '“' - quotes must be straight: \"",
    ),
    (NET, 'layer { name: "a\n}', "f:1:15: this string has no closing quote"),
    (NET, 'layer { name: "a" "b }', "f:1:19: this string has no closing quote"),
    (NET, 'layer { name: "C:\\" }', "f:1:15: this string has no closing quote"),
    (SOLVER, r'net: "C:\data"', r"f:1:9: '\d' stands for no character - a backslash is written \\"),
    (
        SOLVER,
        r'net: "\377"',
        r'f:1:6: SolverParameter.net takes text in quotes, found "\377"'
        r" - an escape in it stands for no character; a backslash is written \\",
    ),
    (NET, 'name: "caf\udce9"', "f:1:11: byte 0xe9 is no UTF-8 - save the file as UTF-8"),
    # values that are missing, too many or of another form
    (SOLVER, "base_lr:", "f:1:9: 'base_lr' has no value: expected a number, the file ends here"),
    (
        NET,
        "layer { pooling_param { pool: } }",
        "f:1:31: 'pool' has no value: expected one of MAX, AVE, STOCHASTIC, found '}'",
    ),
    (SOLVER, "debug_info:\n", "f:2:1: 'debug_info' has no value: expected true or false, the file ends here"),
    (SOLVER, "net: \n", "f:2:1: 'net' has no value: expected text in quotes, the file ends here"),
    (
        SOLVER,
        "base_lr: 0.1 max_iter:\nmomentum: 0.9",
        "f:2:1: SolverParameter.max_iter takes a whole number, found 'momentum'",
    ),
    (SOLVER, "base_lr 0.1", "f:1:9: expected ':' after 'base_lr', found '0.1'"),
    (SOLVER, "base_lr = 0.1", "f:1:9: expected ':' after 'base_lr', found '='"),
    (SOLVER, "base_lr", "f:1:8: expected ':' after 'base_lr', the file ends here"),
    (SOLVER, "base_lr { }", "f:1:9: SolverParameter.base_lr is no block: write 'base_lr: 0.0'"),
    (SOLVER, "net { }", "f:1:5: SolverParameter.net is no block: write 'net: \"...\"'"),
    (SOLVER, "debug_info { }", "f:1:12: SolverParameter.debug_info is no block: write 'debug_info: true'"),
    (SOLVER, "solver_mode { }", "f:1:13: SolverParameter.solver_mode is no block: write 'solver_mode: CPU'"),
    (
        NET,
        "layer { convolution_param: 3 }",
        "f:1:28: LayerParameter.convolution_param is a block: expected '{' after its name, found '3'",
    ),
    (
        NET,
        "layer { convolution_param { num_output: [1, 2] } }",
        "f:1:41: ConvolutionParameter.num_output takes one value, not a list",
    ),
    (
        NET,
        "layer { convolution_param { kernel_size: [3, 3 5] } }",
        "f:1:48: expected ',' or ']' in the list of 'kernel_size', found '5'",
    ),
    (NET, "layer { loss_weight: 1 0 }", "f:1:24: expected a field of LayerParameter, found '0'"),
    (
        NET,
        'layer {\n  name: "a"\n  name: "b"\n}',
        "f:3:3: LayerParameter.name is given twice (first in line 2) - keep one",
    ),
    (
        NET,
        "layer { pooling_param { } pooling_param { } }",
        "f:1:27: LayerParameter.pooling_param is given twice (earlier in this line) - keep one",
    ),
    # braces
    (NET, 'layer { }\nlayer { name: "a"\n', "f:2:1: the block 'layer' is never closed - add the missing '}'"),
    (
        NET,
        "layer {\n  convolution_param { num_output: 3\n",
        "f:2:3: the block 'convolution_param' is never closed - add the missing '}'",
    ),
    (NET, "layer { }\n}", "f:2:1: '}' closes nothing - remove it, or look for one too many above"),
    (NET, "layer { >", "f:1:9: expected '}' to close 'layer' in line 1, found '>'"),
    (NET, "{ }", "f:1:1: expected a field of NetParameter, found '{'"),
    (NET, "// note", "f:1:1: expected a field of NetParameter, found '/' - a comment begins with #"),
    # required fields
    (NET, "layer {\n  clip_param { min: 0 }\n}", "f:2:3: ClipParameter lacks 'max' - add 'max: 0.0'"),
    (pb.ClipParameter, "max: 1", "f:1:1: ClipParameter lacks 'min' - add 'min: 0.0'"),
]


@pytest.mark.parametrize(("cls", "source", "expected"), MISTAKES, ids=[m[2][2:60] for m in MISTAKES])
def test_mistake(cls, source, expected):
    with pytest.raises(UserError) as caught:
        text.parse(source, cls, "f")
    assert str(caught.value) == expected


def test_place_does_not_count_the_byte_order_mark():
    with pytest.raises(UserError, match=r"^f:1:1: "):
        text.parse("\ufeffnome: 'x'", NET, "f")


def test_long_values_are_cut():
    with pytest.raises(UserError, match=r"found '1{37}\.\.\.' - write") as caught:
        text.parse(f"name: {'1' * 99}", NET, "f")
    assert "\n" not in str(caught.value)


def test_a_mistake_only_protobuf_sees_keeps_its_place(monkeypatch):
    monkeypatch.setattr(text, "diagnose", lambda *_: None)
    with pytest.raises(UserError) as caught:
        text.parse("max_iter: 1\nmax_iter: x", SOLVER, "f")
    assert str(caught.value) == "f:2:11: not a valid SolverParameter: Couldn't parse integer: x"


def test_missing_file(tmp_path):
    (tmp_path / "net.prototxt").touch()
    with pytest.raises(UserError) as caught:
        text.read(tmp_path / "nets.prototxt", NET)
    assert str(caught.value) == f"{tmp_path}/nets.prototxt: no such file - did you mean 'net.prototxt'?"
    with pytest.raises(UserError, match=r"no such file$"):
        text.read(tmp_path / "no" / "net.prototxt", NET)


def test_folder(tmp_path):
    with pytest.raises(UserError) as caught:
        text.read(tmp_path, NET)
    assert str(caught.value) == f"{tmp_path}: is a folder, not a file"


def test_unreadable_file(tmp_path):
    path = tmp_path / "net.prototxt"
    path.symlink_to(path)
    with pytest.raises(UserError) as caught:
        text.read(path, NET)
    assert str(caught.value) == f"{path}: cannot read: Too many levels of symbolic links"


CONTENTS = [
    (b"", ": the file is empty, expected the text of a NetParameter"),
    (b"# nothing\n", ": the file is empty, expected the text of a NetParameter"),
    (
        pb.NetParameter(name="n", layer=[pb.LayerParameter(name="l", phase=pb.TRAIN)]).SerializeToString(),
        ": is a binary file, expected the text of a NetParameter (a .prototxt)",
    ),
    ("name: 'n'".encode("utf-16"), ": is UTF-16 text - save it as UTF-8"),
    (b"name: 'n'\nname: '\xe9'", ":2:8: byte 0xe9 is no UTF-8 - save the file as UTF-8"),
    (b"n\xe9me: 'n'", ":1:2: byte 0xe9 is no UTF-8 - save the file as UTF-8"),
]


@pytest.mark.parametrize(("content", "problem"), CONTENTS)
def test_content_that_is_no_prototxt(tmp_path, content, problem):
    path = tmp_path / "n.prototxt"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        text.read(path, NET)
    assert str(caught.value) == f"{path}{problem}"
