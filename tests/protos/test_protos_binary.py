"""Binary messages: arrays and their shapes, damaged and foreign files, fields of forks."""

import struct
from pathlib import Path

import numpy as np
import pytest

from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb

REAL = Path(__file__).parents[3] / "shared" / "conformance" / "cifar10_quick"


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3), (32, 3, 5, 5), (1, 2, 1, 2, 1)])
def test_array_to_blob_and_back(shape):
    array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    again = binary.blob_to_array(binary.array_to_blob(array))
    assert (again.dtype, again.shape) == (np.float32, shape)
    np.testing.assert_array_equal(again, array)


def test_bytes_of_a_blob_are_caffes():
    blob = binary.array_to_blob([[1.0, 2.0]])
    data = b"\x2a\x08" + struct.pack("<2f", 1, 2)  # field 5, packed, 8 bytes
    shape = b"\x3a\x04" + b"\x0a\x02\x01\x02"  # field 7 { field 1, packed: 1 2 }
    assert blob.SerializeToString() == data + shape


def test_arrays_of_any_layout_and_type():
    array = np.arange(24, dtype=">f8").reshape(2, 3, 4).transpose(2, 0, 1)[::-1]
    blob = binary.array_to_blob(array)
    np.testing.assert_array_equal(binary.blob_to_array(blob), array)
    assert (len(blob.data), len(blob.double_data)) == (24, 0)


def test_blob_to_array_is_a_copy():
    blob = binary.array_to_blob([1.0, 2.0])
    binary.blob_to_array(blob)[0] = 9
    assert blob.data[0] == 1


def test_gradients():
    blob = binary.array_to_blob(np.ones((2, 2)), diff=[[1, 2], [3, 4]])
    np.testing.assert_array_equal(binary.diff_to_array(blob), [[1, 2], [3, 4]])
    assert binary.diff_to_array(binary.array_to_blob(np.ones(2))) is None
    doubles = pb.BlobProto(shape={"dim": [2]}, double_diff=[0.5, 1.5], diff=[7])
    np.testing.assert_array_equal(binary.diff_to_array(doubles), [0.5, 1.5])


def test_legacy_shape_wins_and_double_data_wins():
    blob = pb.BlobProto(num=1, channels=2, height=1, width=2, shape={"dim": [9]}, data=[7], double_data=[1, 2, 3, 4])
    array = binary.blob_to_array(blob)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [[[[1, 2]], [[3, 4]]]])


def test_a_blob_without_shape_is_one_value():
    assert binary.blob_to_array(pb.BlobProto(data=[3])).shape == ()


FITS = [
    (pb.BlobProto(num=1, channels=1, height=2, width=3), (2, 3), True),
    (pb.BlobProto(num=1, channels=1, height=1, width=3), (3,), True),
    (pb.BlobProto(num=2, channels=3, height=1, width=1), (2, 3), False),
    (pb.BlobProto(num=2, channels=3, height=4, width=5), (2, 3, 4, 5), True),
    (pb.BlobProto(num=1, channels=1, height=1, width=1), (), True),
    (pb.BlobProto(num=1, channels=1, height=2, width=3), (1, 1, 1, 2, 3), False),
    (pb.BlobProto(shape={"dim": [2, 3]}), (2, 3), True),
    (pb.BlobProto(shape={"dim": [1, 1, 2, 3]}), (2, 3), False),
    (pb.BlobProto(shape={"dim": [2, 3]}), [3, 2], False),
]


@pytest.mark.parametrize(("blob", "shape", "expected"), FITS)
def test_which_shapes_a_blob_fits(blob, shape, expected):
    assert binary.fits(blob, shape) is expected


DAMAGED = [
    (
        pb.BlobProto(shape={"dim": [2, 3]}, data=[1, 2, 3, 4, 5]),
        "blob of shape 2 x 3 should hold 6 values but holds 5 - the file is damaged",
    ),
    (pb.BlobProto(num=2), "blob of shape 2 x 0 x 0 x 0 should hold 0 values but holds 1 - the file is damaged"),
    (pb.BlobProto(), "blob of shape () should hold 1 values but holds 0 - the file is damaged"),
    (
        pb.BlobProto(shape={"dim": [-1, -5]}, data=[1, 2, 3, 4, 5]),
        "blob has the shape -1 x -5 with a negative extent - the file is damaged",
    ),
]


@pytest.mark.parametrize(("blob", "problem"), DAMAGED)
def test_damaged_blob(blob, problem):
    if blob.num:
        blob.data.append(1)
    with pytest.raises(UserError) as caught:
        binary.blob_to_array(blob, where="m.caffemodel: layer 'ip1': ")
    assert str(caught.value) == f"m.caffemodel: layer 'ip1': {problem}"


def test_damaged_gradients():
    blob = pb.BlobProto(shape={"dim": [2]}, data=[1, 2], diff=[1])
    with pytest.raises(UserError) as caught:
        binary.diff_to_array(blob)
    assert str(caught.value) == "blob of shape 2 should hold 2 gradients but holds 1 - the file is damaged"


NET = pb.NetParameter(name="n", layer=[{"name": "ip", "blobs": [binary.array_to_blob(np.ones((3, 2)))]}])
STATE = pb.SolverState(iter=5, learned_net="m", history=[binary.array_to_blob(np.ones(2))])


def test_write_then_read(tmp_path):
    path = tmp_path / "m.caffemodel"
    binary.write(path, NET)
    assert binary.read(str(path), pb.NetParameter) == NET
    assert path.read_bytes() == NET.SerializeToString()
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.caffemodel"]


def test_fields_of_a_fork_survive(tmp_path):
    path = tmp_path / "m.caffemodel"
    fork = NET.SerializeToString() + b"\xc2\x3e\x03abc"  # field 1000, three bytes
    path.write_bytes(fork)
    binary.write(path, binary.read(path, pb.NetParameter))
    assert path.read_bytes() == fork


def test_enum_value_of_a_fork_is_no_reason_to_refuse(tmp_path):
    path = tmp_path / "s.bin"
    path.write_bytes(pb.SolverParameter(base_lr=1).SerializeToString() + b"\xf0\x01\x63")  # solver_type: 99
    assert binary.read(path, pb.SolverParameter).base_lr == 1


FOREIGN = [
    (b"", "the file is empty, expected a binary NetParameter"),
    (b"\x89HDF\r\n\x1a\n....", "is an HDF5 file, expected a binary NetParameter"),
    (b'name: "n"\nlayer { }\n', "is a text file, expected a binary NetParameter"),
    (NET.SerializeToString()[:-3], "is damaged or of another kind, expected a binary NetParameter"),
    (bytes(range(256)) * 4, "is damaged or of another kind, expected a binary NetParameter"),
    (STATE.SerializeToString(), "is a SolverState (a solver state), expected a binary NetParameter"),
    (
        pb.BlobProto(num=1, channels=1, height=1, width=1, data=[1]).SerializeToString(),
        "is a BlobProto (one array), expected a binary NetParameter",
    ),
    (
        pb.NetParameter(layer=[{"clip_param": {"min": 1}}]).SerializePartialToString(),
        "NetParameter lacks layer[0].clip_param.max",
    ),
]


@pytest.mark.parametrize(("content", "problem"), FOREIGN)
def test_damaged_and_foreign_files(tmp_path, content, problem):
    path = tmp_path / "m.caffemodel"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        binary.read(path, pb.NetParameter)
    assert str(caught.value) == f"{path}: {problem}"


def test_weights_given_as_solver_state(tmp_path):
    path = tmp_path / "m.caffemodel"
    binary.write(path, NET)
    with pytest.raises(UserError) as caught:
        binary.read(path, pb.SolverState)
    assert str(caught.value) == f"{path}: is a NetParameter (weights), expected a binary SolverState"


def test_missing_file(tmp_path):
    with pytest.raises(UserError) as caught:
        binary.read(tmp_path / "m.caffemodel", pb.NetParameter)
    assert str(caught.value) == f"{tmp_path}/m.caffemodel: no such file"


def test_write_refuses_a_message_with_holes_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "m.caffemodel"
    binary.write(path, NET)
    with pytest.raises(UserError) as caught:
        binary.write(path, pb.NetParameter(layer=[{"clip_param": {}}]))
    lacking = "NetParameter lacks layer[0].clip_param.min, layer[0].clip_param.max"
    assert str(caught.value) == f"{path}: cannot write: {lacking}"
    assert binary.read(path, pb.NetParameter) == NET


def test_sizes_beyond_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "m.caffemodel"
    binary.write(path, NET)
    monkeypatch.setattr(binary, "LIMIT", 20)
    with pytest.raises(UserError, match=r"m\.caffemodel: is larger than 2 GiB, the limit of binary files - use HDF5"):
        binary.read(path, pb.NetParameter)
    with pytest.raises(UserError, match=r"cannot write: NetParameter is larger than 2 GiB - use HDF5 instead"):
        binary.write(path, NET)
    with pytest.raises(UserError, match=r"^an array of 6 values is larger than 2 GiB, the limit of a blob$"):
        binary.array_to_blob(np.ones(6))


@pytest.mark.skipif(not REAL.exists(), reason="the recorded snapshots of Caffe are not here")
def test_snapshots_written_by_caffe(tmp_path):
    model = binary.read(REAL / "cifar10_quick_iter_4000.caffemodel", pb.NetParameter)
    arrays = {layer.name: [binary.blob_to_array(blob) for blob in layer.blobs] for layer in model.layer if layer.blobs}
    assert sum(array.size for pair in arrays.values() for array in pair) == 145_578
    assert arrays["conv2"][0].shape == (32, 32, 5, 5)
    state = binary.read(REAL / "cifar10_quick_iter_4000.solverstate", pb.SolverState)
    assert (state.iter, len(state.history)) == (4000, 10)
    mean = binary.blob_to_array(binary.read(REAL / "mean.binaryproto", pb.BlobProto))
    assert mean.shape == (1, 3, 32, 32)
    assert 110 < mean.mean() < 130
    binary.write(tmp_path / "again.caffemodel", model)
    assert (tmp_path / "again.caffemodel").read_bytes() == (REAL / "cifar10_quick_iter_4000.caffemodel").read_bytes()
