"""Datum on the wire against the generated class, and against bytes that are none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchbrew.protos import datum
from batchbrew.protos import messages as pb

INT32 = st.integers(-(2**31), 2**31 - 1)
FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=20)


@given(
    channels=INT32, height=INT32, width=INT32, label=INT32, data=st.binary(max_size=300), floats=FLOATS, encoded=st.booleans()
)  # fmt: skip
def test_reads_what_the_generated_class_writes(*, channels, height, width, label, data, floats, encoded):
    message = pb.Datum(
        channels=channels, height=height, width=width, label=label, data=data, float_data=floats, encoded=encoded
    )
    found = datum.parse(message.SerializeToString())
    assert found[:3] == ((channels, height, width), label, data) and found.encoded == encoded
    assert ([] if found.floats is None else found.floats.tolist()) == list(message.float_data)


@pytest.mark.parametrize("label", [0, 1, 127, 128, 2**31 - 1, -1, -(2**31)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_writes_what_the_generated_class_writes(label, dtype):
    picture = (np.random.default_rng(0).random((3, 11, 13)) * 255).astype(dtype)
    message = pb.Datum(channels=3, height=11, width=13, label=label)
    if dtype == np.uint8:
        message.data = picture.tobytes()
    else:
        message.float_data.extend(picture.ravel().tolist())
    assert datum.serialize(picture, label) == message.SerializeToString()
    assert np.array_equal(datum.parse(message.SerializeToString()).picture(), picture)
    file = pb.Datum(data=b"file", label=label, encoded=True)
    assert datum.serialize_encoded(b"file", label) == file.SerializeToString()


def test_fields_in_any_order_and_more_than_once():
    first = pb.Datum(float_data=[1, 2], label=7).SerializeToString()
    second = pb.Datum(channels=1, height=1, width=4, float_data=[3], label=8).SerializeToString()
    packed = b"\x32\x04" + np.float32(4).tobytes()
    found = datum.parse(first + second + packed)
    assert found.label == 8 and found.picture().tolist() == [[[1, 2, 3, 4]]]


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_or_read_but_never_crash(content):
    try:
        found = datum.parse(content)
    except ValueError:
        return
    assert isinstance(found.label, int)


@given(st.integers(0, 200))
def test_every_cut_is_noticed_or_lacks_values(length):
    record = datum.serialize(np.arange(64, dtype=np.uint8).reshape(1, 8, 8), 300)
    if length < len(record) - 3:  # before the label
        with pytest.raises(ValueError, match=r"cut short|values for a shape"):
            datum.parse(record[:length]).picture()
