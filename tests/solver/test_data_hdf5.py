"""HDF5Data on real files: Caffe's own cycle, any axes and types, order, files that do not fit."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from data_support import batches, source_net
from engine_support import COMPILED, RECORDINGS, layer, net_of

from batchbrew.errors import UserError
from batchbrew.solver.data import hdf5_rows


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def listed(*paths, name="list.txt"):
    Path(name).write_text("\n".join(paths))


def rows(batch, tops="data label", rest="", **options):
    return source_net(
        "HDF5Data", f'hdf5_data_param {{ source: "list.txt" batch_size: {batch} {rest} }}', tops, **options
    )


def refusal(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_caffes_cycle():
    data = np.arange(2400, dtype=np.float32).reshape(10, 8, 6, 5)
    label = np.arange(1, 11, dtype=np.float32).reshape(10, 1)
    write("one.h5", data=data, label=label, label2=label + 1)
    with h5py.File("two.h5", "w") as file:
        file.create_dataset("data", data=data + 2400, compression="gzip")
        file.create_dataset("label", data=label.astype(np.uint8), compression="gzip")
        file.create_dataset("label2", data=(label + 1).astype(np.uint8), compression="gzip")
    listed("one.h5", "two.h5")
    for turn, (found, one, two) in enumerate(batches(rows(5, "data label label2"), 12, "data", "label", "label2")):
        offset = 1200 * (turn % 2) + 2400 * (turn // 2 % 2)
        assert found.shape == (5, 8, 6, 5) and one.shape == two.shape == (5, 1)
        assert (found.ravel() == np.arange(1200) + offset).all()
        first = 1 + 5 * (turn % 2)
        assert one.ravel().tolist() == list(range(first, first + 5)) and (two == one + 1).all()


def test_a_batch_spans_files_and_passes():
    for number, count in enumerate((3, 1, 4)):
        write(f"{number}.h5", data=10 * number + np.arange(count), label=np.zeros((count, 2)))
    listed("0.h5", "1.h5", "2.h5")
    found = np.concatenate(batches(rows(5), 16))
    assert found.tolist() == [0, 1, 2, 10, 20, 21, 22, 23] * 10
    assert rows(5).layers[0].count == 8


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 2, 3), (6, 2, 1, 3, 2), (6, 1, 2, 1, 2, 1, 3)])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u2", "i8", ">f4"])
def test_any_axes_and_types(shape, dtype):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    write("a.h5", data=values)
    listed("a.h5")
    found = np.concatenate(batches(rows(2, "data"), 3))
    assert found.shape == shape and found.dtype == np.float32 and (found == values).all()


def orders(passes, rest="shuffle: true", **options):
    found = np.concatenate(batches(rows(7, "data", rest, **options), 2 * passes)).astype(int)
    return found.reshape(passes, 14).tolist()


def test_shuffle_mixes_files_and_the_rows_of_each():
    for number in range(2):
        write(f"{number}.h5", data=10 * number + np.arange(7))
    listed("0.h5", "1.h5")
    found = orders(20, seed=1)
    assert found == orders(20, seed=1) != orders(20, seed=2)
    assert all(sorted(order) == [*range(7), *range(10, 17)] for order in found)
    assert all(len({number // 10 for number in order[:7]}) == 1 for order in found)  # one file after the other
    assert {order[0] // 10 for order in found} == {0, 1}
    assert len({tuple(order) for order in found}) == 20
    assert all([x % 10 for x in order[:7]] != [x % 10 for x in order[7:]] for order in found)


def test_large_files_are_not_all_kept(monkeypatch):
    for number in range(3):
        write(f"{number}.h5", data=np.full((4, 5), number))
    listed("0.h5", "1.h5", "2.h5")
    monkeypatch.setattr(hdf5_rows, "CACHE_BYTES", 200)  # two of the three files
    net = rows(2, "data")
    found = np.concatenate(batches(net, 12))
    assert found[:, 0].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0] * 4 + [1] * 4 + [2] * 4
    assert len(net.layers[0].rows._loaded) == 2


def test_files_lie_beside_the_list_or_in_the_working_directory():
    Path("sub").mkdir()
    write("sub/a.h5", data=np.ones(2))
    Path("sub/list.txt").write_text("a.h5 \n\n")
    settings = 'hdf5_data_param { source: "sub/list.txt" batch_size: 2 }'
    assert batches(source_net("HDF5Data", settings, "data"), 1)[0].tolist() == [1, 1]
    write("a.h5", data=np.zeros(2))
    assert batches(source_net("HDF5Data", settings, "data"), 1)[0].tolist() == [0, 0]


def test_the_digest_follows_the_files():
    write("a.h5", data=np.arange(4.0), label=np.zeros(4))
    listed("a.h5")
    first = rows(2).layers[0].digest
    assert rows(2).layers[0].digest == first
    write("a.h5", data=np.arange(5.0), label=np.zeros(5))
    assert rows(2).layers[0].digest != first


AT = "layer 'd' (HDF5Data): "


def test_files_that_do_not_fit():
    assert refusal(rows, 1).startswith(f"{AT}list.txt: no such file")
    listed()
    assert refusal(rows, 1) == f"{AT}list.txt: the list is empty: expected the names of HDF5 files"
    listed("gone.h5")
    assert refusal(rows, 1) == f"{AT}gone.h5: no such HDF5 file"
    Path("gone.h5").write_text("text")
    assert refusal(rows, 1).startswith(f"{AT}gone.h5: failed reading the HDF5 file (")
    Path("list.txt").write_bytes(b"a\0b.h5")
    assert refusal(rows, 1).startswith(f"{AT}a\0b.h5: ")
    listed("a.h5")
    write("a.h5", data=np.zeros(3), labels=np.zeros(3))
    assert refusal(rows, 1) == f"{AT}a.h5: has no dataset 'label' - did you mean 'labels'? (found: data, labels)"
    write("a.h5", data=np.zeros(3), label=np.zeros(2))
    assert refusal(rows, 1) == f"{AT}a.h5: the datasets differ in their number of rows: 'data' 3, 'label' 2"
    write("a.h5", data=np.zeros(3), label=b"text")
    assert refusal(rows, 1) == f"{AT}a.h5: dataset 'label' holds object values, expected integers or floats"
    write("a.h5", data=np.zeros(3), label=1.5)
    assert refusal(rows, 1) == f"{AT}a.h5: dataset 'label' is a single value, expected rows"
    write("a.h5", data=np.zeros((0, 2)), label=np.zeros(0))
    assert refusal(rows, 1) == f"{AT}list.txt: the files hold no rows"
    write("a.h5", data=np.zeros((3, 2)), label=np.zeros(3))
    write("b.h5", data=np.zeros((3, 4)), label=np.zeros(3))
    listed("a.h5", "b.h5")
    assert refusal(rows, 1) == f"{AT}b.h5: rows of 'data' have shape (4,), those in a.h5 (2,)"


def test_a_damaged_piece():
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("data", data=np.random.default_rng(0).normal(size=(1000,)), compression="gzip")
        at, size = file["data"].id.get_chunk_info(0)[2:]
    content = bytearray(Path("a.h5").read_bytes())
    content[at + 20 : at + size] = bytes(size - 20)
    Path("a.h5").write_bytes(content)
    listed("a.h5")
    assert refusal(rows(1, "data").forward).startswith("a.h5: failed reading the HDF5 file (")


def test_rows_beyond_the_memory():
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("data", (1 << 50, 8), "f4", chunks=(1, 8))
    listed("a.h5")
    told = refusal(rows(1, "data").forward)
    assert told.startswith("a.h5: dataset '/data' would take 33,554,432.0 GiB of memory, there are ")


def test_a_net_trains_on_it_in_sums():
    write("a.h5", data=np.random.default_rng(0).normal(size=(6, 4)), label=np.arange(6) % 3)
    listed("a.h5")
    body = layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 3 }")
    body += layer("loss", "SoftmaxWithLoss", "ip label", "loss")
    net = net_of(
        layer("d", "HDF5Data", "", "data label", 'hdf5_data_param { source: "list.txt" batch_size: 2 }') + body
    )
    assert not net.uncut
    net.zero_sums()
    net.accumulate(np.array([5, 0, 3]), 0)
    assert net.count == 3 and net.mean_loss == pytest.approx(np.log(3))


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not in ../shared")
@pytest.mark.parametrize("kernels", COMPILED[:1])
def test_the_recorded_file_of_caffe(kernels):
    with h5py.File(RECORDINGS / "solvers.h5") as file:
        data, label = file["data"][()], file["label"][()]
    write("train.h5", data=data, label=label)
    listed("train.h5")
    net = rows(8, kernels=kernels)
    found = batches(net, 10, "data", "label")
    assert np.array_equal(np.concatenate([x for x, _ in found]), np.concatenate([data] * 2))
    assert np.array_equal(np.concatenate([y for _, y in found]), np.concatenate([label] * 2))
