"""Data layers on real LMDB and LevelDB folders: Caffe's own cases, record types, sizes, damage."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from data_support import WRITERS, batches, datum, picture, source_net, write_leveldb, write_lmdb
from engine_support import layer, net_of

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.data import dataset, store
from batchbrew.solver.data.records import Records


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHBREW_DATA", str(tmp_path / "datasets"))


def data(path, batch, transform="", *, tops="data label", phase=pb.TRAIN, backend="LMDB", **options):
    settings = f'data_param {{ source: "{path}" batch_size: {batch} backend: {backend} }}'
    return source_net("Data", settings, tops, transform, phase, **options)


@pytest.mark.parametrize("backend", WRITERS)
def test_caffes_five_records(backend):
    path = WRITERS[backend]("base", [datum(np.full((2, 3, 4), i), i) for i in range(5)])
    net = data(path, 5, "scale: 3", backend=backend)
    for pictures, labels in batches(net, 20, "data", "label"):
        assert pictures.shape == (5, 2, 3, 4) and labels.shape == (5,)
        assert (pictures == 3 * np.arange(5).reshape(5, 1, 1, 1)).all()
        assert labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("backend", WRITERS)
def test_the_backend_shows_in_the_folder_not_in_the_prototxt(backend):
    other = next(name for name in WRITERS if name != backend)
    net = data(WRITERS[backend]("base", [datum(picture(2, 2), 7)]), 1, backend=other, tops="data")
    assert (batches(net, 1)[0][0] == picture(2, 2)).all()


def test_records_come_in_the_order_of_their_keys_and_wrap_around():
    keys = [b"b", b"a", b"0002", b"10"]
    write_lmdb("base", [datum([[[i]]], i) for i in range(4)], keys)
    found = batches(data("base", 3), 4, "label")
    assert np.concatenate(found).tolist() == [2, 3, 1, 0] * 3


@pytest.mark.parametrize("backend", WRITERS)
def test_caffes_varying_shapes(backend):
    shapes = [(2, i % 2 + 1, i % 4 + 1) for i in range(8)]
    path = WRITERS[backend]("base", [datum(np.arange(np.prod(s)).reshape(s), i) for i, s in enumerate(shapes)])
    net = data(path, 1, phase=pb.TEST, backend=backend)
    for i in range(20):
        pictures, labels = batches(net, 1, "data", "label")[0]
        assert pictures.shape == (1, *shapes[i % 8]) and labels == [i % 8]
        assert pictures.ravel().tolist() == list(range(pictures.size))


def test_a_net_follows_varying_shapes():
    write_lmdb("base", [datum(picture(4 + i, 5 + i, i), i) for i in range(3)])
    net = net_of(
        layer("d", "Data", "", "data label", 'data_param { source: "base" batch_size: 1 }')
        + layer("p", "Pooling", "data", "pooled", "pooling_param { global_pooling: true pool: MAX }")
    )
    for i in range(7):
        net.forward()
        assert (
            net.blobs["pooled"].data.ravel().tolist() == picture(4 + i % 3, 5 + i % 3, i % 3).max(axis=(1, 2)).tolist()
        )


def test_caffes_crop():
    write_lmdb("base", [datum(np.arange(24).reshape(2, 3, 4), i) for i in range(5)])
    centre = batches(data("base", 5, "scale: 3 crop_size: 1", phase=pb.TEST), 2)
    assert all((found.reshape(5, 2) == [15, 51]).all() for found in centre)
    trained, again = (np.stack(batches(data("base", 5, "scale: 3 crop_size: 1", seed=4), 6)) for _ in range(2))
    assert np.array_equal(trained, again)  # the same seed gives the same sequence
    assert not (trained.reshape(-1, 2) == [15, 51]).all()
    assert not np.array_equal(trained[0], trained[1])  # the next pass draws anew
    assert not np.array_equal(trained, np.stack(batches(data("base", 5, "scale: 3 crop_size: 1", seed=5), 6)))


def test_mirror_and_mean_value_repeat_with_the_seed():
    write_lmdb("base", [datum(np.arange(12).reshape(3, 2, 2), i) for i in range(4)])
    settings = "mirror: true mean_value: 1 mean_value: 2 mean_value: 3"
    first, second = (np.concatenate(batches(data("base", 4, settings, seed=1), 4)) for _ in range(2))
    assert np.array_equal(first, second)
    plain = np.arange(12).reshape(3, 2, 2) - np.array([1, 2, 3]).reshape(3, 1, 1)
    sides = {bool((found == plain).all()) for found in first}
    assert sides == {True, False}
    assert all((found == plain).all() or (found == plain[:, :, ::-1]).all() for found in first)


def test_pictures_of_several_sizes_are_cropped_into_one_batch():
    sizes = [(8, 6), (6, 6), (7, 9), (6, 8)]
    write_lmdb("base", [datum(picture(h, w, i), i) for i, (h, w) in enumerate(sizes)])
    found = batches(data("base", 4, "crop_size: 6", phase=pb.TEST), 1)[0]
    for i, (h, w) in enumerate(sizes):
        top, left = (h - 6) // 2, (w - 6) // 2
        assert (found[i] == picture(h, w, i)[:, top : top + 6, left : left + 6]).all()
    net = data("base", 4, "crop_size: 6", phase=pb.TEST)
    net.whole.forward(indices=np.array([2]))  # one of them alone, of another size than the first
    assert (net.blobs["data"].data[0] == picture(7, 9, 2)[:, 0:6, 1:7]).all()
    with pytest.raises(
        UserError, match=r"picture 1 of a batch has shape \(3, 6, 6\), but the batch has \(3, 8, 6\) from"
    ):
        data("base", 2).forward()


def test_float_records_and_packed_ones():
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    plain = datum(channels=2, height=3, width=4, float_data=values.ravel().tolist(), label=-3)
    packed = datum(channels=2, height=3, width=4, label=9) + b"\x32" + bytes([96]) + values.tobytes()
    both = datum(np.full((2, 3, 4), 5), 1, float_data=values.ravel().tolist())  # bytes go before floats
    write_lmdb("base", [plain, packed, both])
    pictures, labels = batches(data("base", 3, "scale: 2"), 1, "data", "label")[0]
    assert np.array_equal(pictures[0], values * np.float32(2)) and np.array_equal(pictures[1], pictures[0])
    assert (pictures[2] == 10).all() and labels.tolist() == [-3, 9, 1]


def test_unknown_fields_are_passed_over():
    extra = b"\x78\x05" + b"\xa2\x06\x03abc" + b"\xad\x06abcd" + b"\xb1\x06abcdefgh"
    write_lmdb("base", [extra + datum([[[3]]], 4) + extra])
    assert [float(x.ravel()[0]) for x in batches(data("base", 1), 1, "data", "label")[0]] == [3, 4]


def encoded(content, label=0):
    return datum(data=content, encoded=True, label=label)


def png(image):
    return cv2.imencode(".png", np.ascontiguousarray(image.transpose(1, 2, 0)))[1].tobytes()


@pytest.mark.parametrize(
    ("force", "channels"), [("", (3, 1)), ("force_color: true", (3, 3)), ("force_gray: true", (1, 1))]
)
def test_encoded_records(force, channels):
    colour, gray = picture(5, 4), picture(5, 4, 1, channels=1)
    write_lmdb("base", [encoded(png(colour), 1), encoded(png(gray), 2)])
    net = data("base", 1, force)
    found = batches(net, 2, "data", "label")
    assert [x.shape for x, _ in found] == [(1, count, 5, 4) for count in channels]
    assert [int(label[0]) for _, label in found] == [1, 2]
    if "gray" in force:
        flat = cv2.imdecode(np.frombuffer(png(colour), np.uint8), cv2.IMREAD_GRAYSCALE)
        assert (found[0][0][0, 0] == flat).all()
    else:
        assert (found[0][0][0] == colour).all()  # blue, green, red
    assert (found[1][0][0] == gray).all()


def test_a_jpeg_record_is_what_opencv_decodes():
    content = cv2.imencode(".jpg", np.ascontiguousarray(picture(16, 24).transpose(1, 2, 0)))[1]
    write_lmdb("base", [encoded(content.tobytes())])
    expected = cv2.imdecode(content, cv2.IMREAD_COLOR).transpose(2, 0, 1)
    assert (batches(data("base", 1, tops="data"), 1)[0][0] == expected).all()


@pytest.mark.parametrize("backend", WRITERS)
def test_two_nets_share_a_data_base(backend):
    path = WRITERS[backend]("base", [datum([[[i]]], i) for i in range(3)])
    first, second = data(path, 2), data(path, 1)
    assert [x.tolist() for x in batches(first, 2, "label")] == [[0, 1], [2, 0]]
    assert [x.tolist() for x in batches(second, 2, "label")] == [[0], [1]]
    assert first.layers[0].digest == second.layers[0].digest != ""


def test_the_digest_follows_the_content_only():
    records = [datum(picture(2, 2, i), i) for i in range(100)]
    digests = {store.open_store(Path(write("base" + name, records))).digest for name, write in WRITERS.items()}
    assert len(digests) == 1
    write_lmdb("less", records[:-1])
    write_lmdb("other", [datum(picture(2, 2, 5), 8), *records[1:]])
    digests |= {store.open_store(Path(name)).digest for name in ("less", "other")}
    assert len(digests) == 3


def test_reading_a_leveldb_changes_nothing_and_needs_no_lock():
    records = [os.urandom(3000) for _ in range(3000)]
    write_leveldb("base", [datum(data=record, channels=3, height=10, width=100) for record in records])
    before = {(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in Path("base").iterdir()}
    bases = [store.LevelDb(Path("base")) for _ in range(3)]  # as three processes would
    samples = [Records(base) for base in bases]
    for number in (0, 1500, 2999):
        for found in samples:
            assert found.take(np.array([number]))[0].tobytes() == records[number]
    assert before == {(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in Path("base").iterdir()}


def test_a_large_lmdb_with_a_history_is_read_as_its_library_reads_it():
    rng = np.random.default_rng(0)
    wanted: dict[bytes, bytes] = {}
    with lmdb.open("base", map_size=1 << 28) as env:
        for _ in range(6):
            with env.begin(write=True) as transaction:
                for _ in range(700):
                    key = rng.bytes(int(rng.integers(1, 60)))
                    wanted[key] = rng.bytes(int(rng.choice([0, 1, 7, 500, 2000, 2023, 2040, 4080, 4096, 9000])))
                    transaction.put(key, wanted[key])
            with env.begin(write=True) as transaction:
                for key in list(wanted)[:: rng.integers(3, 9)]:
                    del wanted[key]
                    transaction.delete(key)
    base = store.open_store(Path("base"))
    assert base.keys == sorted(wanted)
    assert all(base.value(key) == wanted[key] for key in base.keys)


def refusal(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


AT = "layer 'd' (Data): "


def test_nothing_there():
    assert refusal(data, "", 1) == AT + "source is missing: say what to read"
    assert refusal(data, "some_lmdb", 1) == (
        f"{AT}some_lmdb: there is no such LMDB in {Path.cwd()}, and no data set has this name "
        "(known: cifar10, generated, mnist)"
    )
    assert "no such LevelDB in" in refusal(data, "some_db", 1, backend="LEVELDB")
    assert "data set has this name - did you mean 'cifar10'?" in refusal(data, "cifar_10", 1)
    Path("empty").mkdir()
    assert refusal(data, "empty", 1).startswith(AT + "empty: the folder holds no LMDB (no data.mdb) and no known data")
    assert "holds no LevelDB (no CURRENT)" in refusal(data, "empty", 1, backend="LEVELDB")
    assert "neither an LMDB (data.mdb) nor a LevelDB" in refusal(store.open_store, Path("empty"))
    with pytest.raises(UserError, match=r"^layer 'd' \(Data\): unknown data set 'nothing' \(known: "):
        source_net("Data", 'data_param { source: "nothing" batch_size: 1 }')


@pytest.mark.parametrize("backend", WRITERS)
def test_an_empty_data_base(backend):
    assert refusal(data, WRITERS[backend]("base", []), 1).startswith(f"{AT}base: the ")
    assert refusal(data, "base", 1).endswith("is empty")


@pytest.mark.parametrize("backend", WRITERS)
@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "0 values for a shape 0 x 0 x 0"),
        (datum([[[1, 2]]])[:-3], "cut short"),
        (datum(channels=1, height=2, width=2, data=b"abc"), "3 values for a shape 1 x 2 x 2"),
        (datum(channels=1, height=1, width=2, float_data=[1]), "1 values for a shape 1 x 1 x 2"),
        (datum(channels=-1, height=1, width=-1, data=b"a"), "1 values for a shape -1 x 1 x -1"),
        (datum(data=b"no picture", encoded=True), "no picture that OpenCV can read"),
        (datum(encoded=True), "no picture that OpenCV can read"),
        (encoded(cv2.imencode(".png", np.zeros((2, 2), np.uint16))[1].tobytes()), "a picture of uint16 values"),
        (b"\x0f\x01", "wire type 7"),
        (b"\x08" + b"\xff" * 11, "a number of more than ten bytes"),
        (b"\x35ab", "cut short"),
        (b"\x32\x03abc", "buffer size must be a multiple of element size"),
    ],
)  # fmt: skip
def test_damaged_records(backend, record, reason):
    path = WRITERS[backend]("base", [datum([[[1, 2]]]), record])
    net = data(path, 1)
    net.forward()
    text = refusal(net.forward)
    assert text.startswith(f"base: record '00001' is damaged ({reason}")


def test_a_data_base_cut_short():
    write_lmdb("base", [datum(picture(30, 30, i)) for i in range(50)])
    content = Path("base/data.mdb").read_bytes()
    Path("base/data.mdb").write_bytes(content[: len(content) // 2])
    assert "base: the LMDB is cut short: data.mdb should have " in refusal(data, "base", 1)
    Path("base/data.mdb").write_bytes(b"no data base" * 1000)
    assert "base: cannot open the LMDB: " in refusal(data, "base", 1)
    Path("level").mkdir()
    Path("level/CURRENT").write_text("MANIFEST-000007\n")
    text = refusal(data, "level", 1)
    assert "level: cannot open the LevelDB: " in text and "batchbrew-leveldb" not in text


def test_a_damaged_leveldb():
    write_leveldb("base", [datum(data=os.urandom(3000), channels=3, height=10, width=100) for _ in range(3000)])
    for file in Path("base").glob("*.ldb"):
        content = bytearray(file.read_bytes())
        content[1000:-1000] = bytes(len(content) - 2000)
        file.write_bytes(content)
    for file in Path("base").glob("*.log"):
        file.write_bytes(b"")
    assert "the LevelDB" in refusal(lambda: batches(data("base", 100), 40))


def test_missing_packages(monkeypatch):
    write_leveldb("base", [datum([[[1]]])])
    monkeypatch.setitem(sys.modules, "plyvel", None)
    assert refusal(data, "base", 1) == (
        AT + "base: is a LevelDB, which needs the package plyvel: pip install 'batchbrew[leveldb]'"
    )
    write_lmdb("pictures", [encoded(png(picture(2, 2)))])
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert refusal(data, "pictures", 1).endswith(
        "reading pictures (JPEG, PNG) needs OpenCV: pip install 'batchbrew[images]'"
    )


LOSS = layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 3 }")
LOSS += layer("loss", "SoftmaxWithLoss", "ip label", "loss")


@pytest.mark.parametrize("label", [3, -1])
def test_labels_beyond_the_classes_are_found_when_they_are_read(label):
    write_lmdb("base", [datum([[[1]]], 2), datum([[[1]]], label)])
    net = net_of(layer("d", "Data", "", "data label", 'data_param { source: "base" batch_size: 1 }') + LOSS)
    net.forward()
    assert refusal(net.forward) == (
        f"{AT}a sample has label {label}, but the loss scores 3 classes: labels must lie between 0 and 2"
    )


def test_labels_of_a_prepared_part_are_found_before_training():
    part = dataset.Part(np.zeros((2, 1, 1, 1), np.uint8), np.array([0, 3], np.int32))
    with pytest.raises(
        UserError, match=r"layer 'loss' .* scores 3 classes, but the data has labels up to 3: num_output"
    ):
        net_of(layer("d", "Data", "", "data label", "data_param { batch_size: 1 }") + LOSS, data=part)


def test_records_can_be_given_to_a_net_as_its_data():
    write_lmdb("base", [datum([[[i]]], i % 3) for i in range(10)])
    samples = dataset.open_samples("base", pb.TRAIN)
    net = net_of(layer("d", "Data", "", "data label", "data_param { batch_size: 2 }") + LOSS, data=samples)
    net.zero_sums()
    net.accumulate(np.array([9, 2, 4]), 0)
    assert net.count == 3 and np.isfinite(net.mean_loss)
