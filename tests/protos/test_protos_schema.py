"""The schema against the tables of Caffe's fields and enum values, and against the files made from it."""

import ast
import csv
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from batchbrew.protos import generate, schema
from batchbrew.protos import messages as pb
from batchbrew.protos.compiler import compile_proto

HERE = Path(__file__).parent
FILE = FileDescriptorSet.FromString(schema.DESCRIPTOR_SET.read_bytes()).file[0]
LABELS = {Field.LABEL_OPTIONAL: "optional", Field.LABEL_REQUIRED: "required", Field.LABEL_REPEATED: "repeated"}


def table(name):
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def row(message, field):
    """Return a field of the descriptor in the form of the table."""
    kind = Field.Type.Name(field.type).removeprefix("TYPE_").lower()
    default = field.default_value if field.HasField("default_value") else "-"
    if kind == "string" and default != "-":
        default = f'"{default}"'
    if kind in ("float", "double") and default != "-":
        default = float(default)
    return {
        "message": message.name,
        "field": field.name,
        "number": str(field.number),
        "type": kind,
        "type_name": field.type_name.removeprefix(".caffe."),
        "label": LABELS[field.label],
        "default": default,
        "packed": "packed" if field.options.packed else "",
    }


def test_every_field_is_caffes():
    expected = table("caffe_fields.tsv")
    for wanted in expected:
        if wanted["type"] in ("float", "double") and wanted["default"] != "-":
            wanted["default"] = float(wanted["default"])
    found = {(r["message"], r["field"]): r for m in FILE.message_type for r in (row(m, f) for f in m.field)}
    assert len(expected) == 423
    assert found == {(wanted["message"], wanted["field"]): wanted for wanted in expected}


def test_every_enum_value_is_caffes():
    found = [(enum.name, v.name, v.number) for enum in FILE.enum_type for v in enum.value]
    found += [(f"{m.name}.{e.name}", v.name, v.number) for m in FILE.message_type for e in m.enum_type for v in e.value]
    expected = [(r["enum"], r["value_name"], int(r["number"])) for r in table("caffe_enums.tsv")]
    assert len(expected) == 111
    assert sorted(found) == sorted(expected)


def test_package_and_syntax():
    assert (FILE.package, FILE.syntax) == ("caffe", "")  # no syntax stands for proto2


@pytest.mark.parametrize("name", ["brew.desc", "messages.pyi"])
def test_made_files_agree_with_brew_proto(name):
    made = generate.outputs((generate.FOLDER / "brew.proto").read_text(encoding="utf-8"))[name]
    assert (generate.FOLDER / name).read_bytes() == made, "run: python -m batchbrew.protos.generate"


def test_stub_declares_what_exists_and_nothing_else():
    tree = ast.parse((generate.FOLDER / "messages.pyi").read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    assert set(classes) == {message.name for message in FILE.message_type}
    for name, node in classes.items():
        cls = getattr(pb, name)
        declared = {item.target.id for item in node.body if isinstance(item, ast.AnnAssign)}
        declared |= {item.name for item in node.body if isinstance(item, ast.FunctionDef)} - {"__init__"}
        nested = {n for enum in cls.DESCRIPTOR.enum_types for n in (enum.name, *enum.values_by_name)}
        assert declared == nested | set(cls.DESCRIPTOR.fields_by_name)
        assert all(hasattr(cls(), item) for item in declared)


def test_names_are_those_of_generated_code():
    assert (pb.TRAIN, pb.TEST, pb.Phase.Name(1)) == (0, 1, "TEST")
    assert (pb.PoolingParameter.MAX, pb.PoolingParameter.PoolMethod.Value("AVE")) == (0, 1)
    assert pb.LayerParameter(pooling_param={"pool": "AVE"}).pooling_param.pool == pb.PoolingParameter.AVE
    assert pb.NetState().phase == pb.TEST
    assert pb.SolverParameter().delta == pytest.approx(1e-8)
    assert "NetParameter" in pb.__all__


FOREIGN = """
from google.protobuf import descriptor_pb2, descriptor_pool
file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
message = file.message_type.add(name="NetParameter")
message.field.add(name="name", number=1, type=9, label=1)
descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
"""
OURS = """
from batchbrew.protos import messages as pb
assert pb.NetParameter(layer=[{"name": "a"}]).layer[0].name == "a"
"""
CHECK = """
foreign = descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter")
assert len(foreign.fields) == 1 and len(pb.NetParameter.DESCRIPTOR.fields) == 9
"""


@pytest.mark.parametrize("program", [FOREIGN + OURS + CHECK, OURS + FOREIGN + CHECK], ids=["after", "before"])
def test_lives_beside_a_real_caffe(program):
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


def test_generate_writes_both_files(tmp_path, monkeypatch):
    source = (generate.FOLDER / "brew.proto").read_bytes()
    (tmp_path / "brew.proto").write_bytes(source)
    committed = generate.FOLDER
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    generate.main()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["brew.desc", "brew.proto", "messages.pyi"]
    assert (tmp_path / "brew.desc").read_bytes() == (committed / "brew.desc").read_bytes()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("message M {\n  int32 n = 1;\n}", "m:4: expected optional, required, repeated or 'enum', found 'int32'"),
        ("message M { optional Foo n = 1; }", "m: M.n has the unknown type 'Foo'"),
        ("message M { optional int32 n = 1 [lazy = true]; }", "m:3: unknown option 'lazy'"),
        ("message M { optional int32 n 1; }", "m:3: expected '=', found '1'"),
        ("service S { }", "m:3: expected 'message' or 'enum', found 'service'"),
        ("message M {", "m:3: unexpected end"),
        ("message M { ? }", "m:3: unexpected '?'"),
    ],
)
def test_compiler_errors(body, problem):
    with pytest.raises(ValueError, match=r"^m:") as caught:
        compile_proto(f'syntax = "proto2";\npackage p;\n{body}', "m")
    assert str(caught.value) == problem
