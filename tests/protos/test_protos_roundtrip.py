"""Any message survives text and binary; any broken text is answered with one line and a place in it."""

import math
import re

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor as Kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batchbrew.errors import UserError
from batchbrew.protos import binary, schema, text
from batchbrew.protos import messages as pb

MESSAGES = [getattr(pb, descriptor.name) for descriptor in schema.descriptors()]
SCALARS = {
    Kind.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    Kind.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    Kind.TYPE_UINT32: st.integers(0, 2**32 - 1),
    Kind.TYPE_FLOAT: st.floats(width=32),
    Kind.TYPE_DOUBLE: st.floats(),
    Kind.TYPE_BOOL: st.booleans(),
    Kind.TYPE_STRING: st.text(max_size=8),
    Kind.TYPE_BYTES: st.binary(max_size=8),
}
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def messages(draw, descriptor, depth=3):
    """Draw a message: required fields, a few others, down to ``depth`` levels."""
    message = getattr(pb, descriptor.name)()
    optional = [f for f in descriptor.fields if not schema.is_required(f) and (depth > 1 or not f.message_type)]
    chosen = draw(st.lists(st.sampled_from(optional), max_size=4, unique_by=lambda f: f.name)) if optional else []
    for field in [*chosen, *filter(schema.is_required, descriptor.fields)]:
        if field.message_type:
            values = messages(field.message_type, depth - 1)
        elif field.enum_type:
            values = st.sampled_from(sorted(field.enum_type.values_by_number))
        else:
            values = SCALARS[field.type]
        if schema.is_repeated(field):
            getattr(message, field.name).extend(draw(st.lists(values, min_size=1, max_size=3)))
        elif field.message_type:
            getattr(message, field.name).CopyFrom(draw(values))
            getattr(message, field.name).SetInParent()
        else:
            setattr(message, field.name, draw(values))
    return message


any_message = st.sampled_from(MESSAGES).flatmap(lambda cls: messages(cls.DESCRIPTOR))


@quick
@given(any_message)
def test_text_and_binary_say_the_same(message):
    again = text.parse(text.dump(message), type(message))
    # Bytes, not messages: NaN differs from itself; a negative NaN is written as nan.
    assert text.dump(again) == text.dump(message)
    if "nan" not in text.dump(message):
        assert again.SerializeToString() == message.SerializeToString()


@quick
@given(any_message.filter(lambda message: message.ListFields()))
def test_binary_files(tmp_path_factory, message):
    path = tmp_path_factory.mktemp("binary") / "message"
    binary.write(path, message)
    assert binary.read(path, type(message)).SerializeToString() == message.SerializeToString()


@quick
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)))
def test_arrays(array):
    blob = pb.BlobProto.FromString(binary.array_to_blob(array, diff=-array).SerializeToString())
    assert binary.blob_shape(blob) == array.shape
    assert binary.blob_to_array(blob).tobytes() == array.tobytes()
    if array.size:
        np.testing.assert_array_equal(binary.diff_to_array(blob), -array)


SOURCE = """name: "n"
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0.5 }
  include { phase: TEST stage: ["a", 'b'] }
  convolution_param < num_output: 32, kernel_size: [3, 5]; bias_term: true weight_filler { type: "xavier" } >
}  # end
"""
PIECES = list(re.finditer(r"\w+|[^\w\s]", SOURCE))
JUNK = ["", "}", "{", "[", ":", ",", '"', "'", "1.0", "-1", "foo", "MAX", '"x"', "<", ">", "\\", "#", "layer", "\udcff"]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PIECES), st.sampled_from(JUNK), st.booleans(), st.booleans())
def test_broken_text_is_answered_in_one_line_with_a_place(piece, junk, keep, cut):
    broken = SOURCE[: piece.start()] + junk + (f" {piece[0]}" if keep else "") + SOURCE[piece.end() :] * (not cut)
    try:
        text.parse(broken, pb.NetParameter, "f")
    except UserError as error:
        place = re.match(r"f:(\d+):(\d+): [^\n]+$", str(error))
        assert place, str(error)
        assert "not a valid" not in str(error)  # every mistake is found by our own walk
        line, column = int(place[1]), int(place[2])
        lines = broken.split("\n")
        assert line <= len(lines)
        assert column <= len(lines[line - 1]) + 1


@quick
@given(st.binary(max_size=200), st.sampled_from(MESSAGES))
def test_any_bytes_are_a_message_or_one_line(tmp_path_factory, content, cls):
    path = tmp_path_factory.mktemp("bytes") / "message"
    path.write_bytes(content)
    for read in (binary.read, text.read):
        try:
            message = read(path, cls)
        except UserError as error:
            assert str(error).startswith(str(path))
        else:
            assert isinstance(message, cls)


def test_float32_values_are_written_in_their_shortest_form():
    assert text.dump(pb.SolverParameter(base_lr=0.1, delta=1e-8)) == "base_lr: 0.1\ndelta: 1e-08\n"
    assert text.parse("base_lr: 1e39", pb.SolverParameter).base_lr == math.inf
    assert text.parse("base_lr: 0.1", pb.SolverParameter).base_lr == pytest.approx(np.float32(0.1), abs=0)
