"""pycaffe's io: messages and arrays, pictures, the Transformer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.pycaffe import io
from batchbrew.solver.pycaffe.proto import caffe_pb2

VALUES = np.arange(24, dtype=np.float32)


def blob(count: int = 24, **fields: object) -> pb.BlobProto:
    return pb.BlobProto(data=VALUES[:count].tolist(), **fields)


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        (blob(num=1, channels=2, height=3, width=4), (1, 2, 3, 4)),
        (blob(shape={"dim": [6, 4]}), (6, 4)),
        (blob(1), ()),
        (blob(24, num=2, channels=3, height=4, width=1, shape={"dim": [24]}), (2, 3, 4, 1)),
    ],
)
def test_blobs_of_both_formats_become_arrays(message: pb.BlobProto, shape: tuple[int, ...]) -> None:
    array = io.blobproto_to_array(message)
    assert array.shape == shape
    assert array.ravel().tolist() == list(message.data)


@pytest.mark.parametrize("message", [blob(), blob(shape={"dim": [5, 5]})])
def test_a_blob_whose_shape_does_not_fit_is_a_value_error(message: pb.BlobProto) -> None:
    with pytest.raises(ValueError, match=r"^the blob holds 24 values, its shape \(.*\) takes (1|25)$"):
        io.blobproto_to_array(message)


def test_gradients_and_doubles_are_read() -> None:
    both = io.array_to_blobproto(VALUES.reshape(2, 12), diff=-VALUES.reshape(2, 12))
    assert np.array_equal(io.blobproto_to_array(both, return_diff=True), -VALUES.reshape(2, 12))
    double = pb.BlobProto(shape={"dim": [2]}, data=[9, 9], double_data=[1 / 3, 2 / 3])
    assert io.blobproto_to_array(double).tolist() == [1 / 3, 2 / 3]


def test_lists_of_arrays_go_through_bytes() -> None:
    arrays = [VALUES.reshape(2, 3, 4), VALUES[:1].reshape(())]
    back = io.blobprotovector_str_to_arraylist(io.arraylist_to_blobprotovector_str(arrays))
    assert [a.shape for a in back] == [(2, 3, 4), ()]
    assert np.array_equal(back[0], arrays[0])


def test_records_keep_bytes_as_bytes_and_leave_an_absent_label_out() -> None:
    pixels = VALUES.astype(np.uint8).reshape(1, 6, 4)
    labelled, bare = io.array_to_datum(pixels, 1), io.array_to_datum(pixels)
    assert len(labelled.SerializeToString()) > len(bare.SerializeToString())
    assert not bare.HasField("label")
    assert io.datum_to_array(labelled).dtype == np.uint8
    assert np.array_equal(io.datum_to_array(labelled), pixels)
    floats = io.array_to_datum(pixels / 7)
    assert not floats.data
    assert np.allclose(io.datum_to_array(floats), pixels / 7)


def test_records_of_another_form_are_value_errors() -> None:
    with pytest.raises(ValueError, match=r"Incorrect array shape: a datum has 3 axes \(C, H, W\), found \(2, 2\)"):
        io.array_to_datum(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"the datum holds 3 values, its shape \(1, 2, 2\) takes 4"):
        io.datum_to_array(pb.Datum(channels=1, height=2, width=2, data=b"abc"))


def test_encoded_records_are_decoded() -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    datum = pb.Datum(data=cv2.imencode(".png", pixels)[1].tobytes(), encoded=True)
    assert np.array_equal(io.datum_to_array(datum), pixels.transpose(2, 0, 1))


# --- pictures


@pytest.fixture
def written(tmp_path: Path):  # type: ignore[no-untyped-def]
    cv2 = pytest.importorskip("cv2")

    def write(name: str, array: np.ndarray) -> Path:
        cv2.imwrite(str(tmp_path / name), array)
        return tmp_path / name

    return write


def test_pictures_are_read_as_floats_red_first(written) -> None:  # type: ignore[no-untyped-def]
    bgr = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    found = io.load_image(written("a.png", bgr))
    assert found.dtype == np.float32
    assert np.allclose(found, bgr[:, :, ::-1] / 255, atol=1e-7)
    alpha = np.concatenate([bgr, bgr[:, :, :1]], axis=2)
    assert np.array_equal(io.load_image(written("b.png", alpha)), found)
    deep = bgr.astype(np.uint16) * 257
    assert np.allclose(io.load_image(written("c.png", deep)), found, atol=1e-7)


def test_grey_pictures_and_grey_readings(written) -> None:  # type: ignore[no-untyped-def]
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
    path = written("g.png", grey)
    assert io.load_image(path, color=False).shape == (4, 5, 1)
    assert np.allclose(io.load_image(path), np.repeat(grey[:, :, None] / 255, 3, axis=2), atol=1e-7)
    blue, green, red = 10, 100, 200
    colour = written("k.png", np.full((2, 2, 3), (blue, green, red), np.uint8))
    expected = (0.2125 * red + 0.7154 * green + 0.0721 * blue) / 255
    assert np.allclose(io.load_image(colour, color=False), expected, atol=1e-6)


def test_files_that_are_no_pictures_are_reported(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"x\.png: no picture that OpenCV can read"):
        io.load_image(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"y\.png: no such file"):
        io.load_image(tmp_path / "y.png")


def bilinear(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Resize by the definition: the four pixels around each centre, those outside of the picture being its minimum."""
    height, width, channels = picture.shape
    padded = np.full((height + 2, width + 2, channels), picture.min())
    padded[1:-1, 1:-1] = picture
    out = np.empty((rows, columns, channels))
    for i in range(rows):
        for j in range(columns):
            y, x = (i + 0.5) * height / rows + 0.5, (j + 0.5) * width / columns + 0.5
            y0, x0 = int(y), int(x)
            v, u = y - y0, x - x0
            out[i, j] = (1 - v) * ((1 - u) * padded[y0, x0] + u * padded[y0, x0 + 1]) + v * (
                (1 - u) * padded[y0 + 1, x0] + u * padded[y0 + 1, x0 + 1]
            )
    return out


@pytest.mark.parametrize("size", [(9, 7), (3, 2), (6, 5), (12, 3)])
def test_pictures_are_resized_bilinearly_between_pixel_centres(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).normal(3, 2, (6, 5, 3)).astype(np.float32)
    found = io.resize_image(picture, size)
    assert found.dtype == np.float32
    assert np.allclose(found, bilinear(picture.astype(np.float64), *size), atol=1e-5)


def test_constant_pictures_and_many_channels_are_resized() -> None:
    assert np.array_equal(io.resize_image(np.full((2, 3, 1), 7.0), (4, 5)), np.full((4, 5, 1), 7, np.float32))
    ramp = np.repeat(np.linspace(0, 1, 3)[:, None, None], 2, axis=1) * np.ones(5)
    found = io.resize_image(ramp, (5, 2))
    assert np.allclose(found[:, 0, 0], [0, 0.25, 0.5, 0.75, 1])


def test_order_0_takes_the_nearest_pixel() -> None:
    picture = np.arange(12.0).reshape(2, 2, 3)
    found = io.resize_image(picture, (4, 4), interp_order=0)
    assert np.allclose(found, picture.repeat(2, axis=0).repeat(2, axis=1), atol=1e-5)


def test_oversampling_takes_corners_centre_and_their_mirror_images() -> None:
    images = [np.arange(5 * 6 * 2, dtype=np.float32).reshape(5, 6, 2) + k for k in (0, 100)]
    crops = io.oversample(images, (3, 2))
    assert crops.shape == (20, 3, 2, 2)
    for k, image in enumerate(images):
        places = [(0, 0), (0, 4), (2, 0), (2, 4), (1, 2)]
        for i, (y, x) in enumerate(places):
            window = image[y : y + 3, x : x + 2]
            assert np.array_equal(crops[10 * k + i], window)
            assert np.array_equal(crops[10 * k + 5 + i], window[:, ::-1])


# --- Transformer


def test_preprocessing_goes_in_caffes_order() -> None:
    picture = np.random.default_rng(0).random((4, 5, 3))
    before = picture.copy()
    t = io.Transformer({"data": (10, 3, 4, 5)})
    t.set_transpose("data", (2, 0, 1))
    t.set_channel_swap("data", (2, 0, 1))
    t.set_raw_scale("data", 255)
    t.set_mean("data", np.array([10.0, 20.0, 30.0]))
    t.set_input_scale("data", 0.5)
    found = t.preprocess("data", picture)
    expected = (255 * picture.transpose(2, 0, 1)[[2, 0, 1]] - np.array([10, 20, 30])[:, None, None]) * 0.5
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-4)
    assert np.array_equal(picture, before)
    assert np.allclose(t.deprocess("data", found[np.newaxis]), picture, atol=1e-6)


def test_preprocessing_resizes_to_the_input() -> None:
    t = io.Transformer({"data": (1, 3, 8, 6)})
    t.set_transpose("data", (2, 0, 1))
    picture = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    assert np.array_equal(t.preprocess("data", picture), io.resize_image(picture, (8, 6)).transpose(2, 0, 1))


def test_a_mean_picture_of_another_size_is_resized() -> None:
    t = io.Transformer({"data": (1, 3, 4, 4)})
    mean = np.random.default_rng(0).random((3, 8, 8))
    t.set_mean("data", mean)
    assert np.allclose(t.mean["data"], io.resize_image(mean.transpose(1, 2, 0), (4, 4)).transpose(2, 0, 1))
    t.set_mean("data", np.ones((4, 4)))
    assert t.mean["data"].shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda t: t.set_transpose("data", (1, 0)), UserError, "Transpose order needs to have the same number"),
        (lambda t: t.set_channel_swap("data", (1, 0)), UserError, "Channel swap needs to have the same number"),
        (lambda t: t.set_mean("data", np.ones(2)), ValueError, "Mean channels incompatible with input"),
        (lambda t: t.set_mean("data", np.ones((1, 1, 1, 1))), ValueError, "Mean shape invalid"),
        (lambda t: t.preprocess("dat", np.ones((2, 2, 3))), UserError,
         "dat is not one of the net inputs: data - did you mean 'data'?"),
    ],
)  # fmt: skip
def test_mistakes_with_the_transformer_are_reported(call, kind, text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind) as caught:
        call(io.Transformer({"data": (1, 3, 4, 4)}))
    assert text in str(caught.value)


def test_caffe_pb2_holds_messages_enums_and_their_values() -> None:
    from google.protobuf import text_format

    assert (caffe_pb2.TRAIN, caffe_pb2.TEST, caffe_pb2.Phase.Name(1)) == (0, 1, "TEST")
    assert caffe_pb2.SolverParameter.SolverMode.Value("CPU") == caffe_pb2.SolverParameter.CPU
    net = text_format.Parse('name: "x" layer { type: "ReLU" }', caffe_pb2.NetParameter())
    assert text_format.Parse(str(net), caffe_pb2.NetParameter()) == net
    assert io.caffe_pb2 is caffe_pb2
    assert caffe_pb2.DESCRIPTOR.package == "caffe"
