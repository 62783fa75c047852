"""pycaffe's Classifier and Detector: pictures and windows through a net."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.solver import pycaffe as caffe

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 4 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
SETTINGS = {"mean": np.array([100.0, 110.0, 120.0]), "raw_scale": 255, "channel_swap": (2, 1, 0), "input_scale": 0.01}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A net's prototxt and its model."""
    rng = np.random.default_rng(0)
    layer = pb.LayerParameter(name="ip")
    layer.blobs.append(binary.array_to_blob(rng.normal(0, 0.1, (5, 48))))
    layer.blobs.append(binary.array_to_blob(rng.normal(size=5)))
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "w.caffemodel").write_bytes(pb.NetParameter(layer=[layer]).SerializeToString())
    return str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel")


def classes(net: caffe.Net, pictures: list[np.ndarray]) -> np.ndarray:
    """Return what the net must say of pictures (4, 4, 3), by the definition."""
    weights, bias = (blob.data.astype(np.float64) for blob in net.params["ip"])
    mean = np.array([100.0, 110.0, 120.0])
    rows = [((255 * picture[:, :, ::-1] - mean) * 0.01).transpose(2, 0, 1).ravel() for picture in pictures]
    scores = np.exp(np.array(rows) @ weights.T + bias)
    return scores / scores.sum(1, keepdims=True)


def test_the_centre_of_a_picture_is_classified(files: tuple[str, str]) -> None:
    net = caffe.Classifier(*files, image_dims=(6, 8), **SETTINGS)
    pictures = [np.random.default_rng(i).random((6, 8, 3)).astype(np.float32) for i in range(5)]
    found = net.predict(pictures, oversample=False)
    assert np.allclose(found, classes(net, [picture[1:5, 2:6] for picture in pictures]), atol=1e-5)


def test_ten_crops_are_averaged(files: tuple[str, str]) -> None:
    net = caffe.Classifier(*files, image_dims=[6, 8], **SETTINGS)
    pictures = [np.random.default_rng(i).random((6, 8, 3)).astype(np.float32) for i in range(3)]
    crops = caffe.io.oversample(pictures, (4, 4))
    expected = classes(net, list(crops)).reshape(3, 10, 5).mean(1)
    assert np.allclose(net.predict(pictures), expected, atol=1e-5)


def test_pictures_of_other_sizes_are_resized_to_the_input(files: tuple[str, str]) -> None:
    net = caffe.Classifier(*files, **SETTINGS)
    picture = np.random.default_rng(0).random((9, 5, 3)).astype(np.float32)
    expected = classes(net, [caffe.io.resize_image(picture, (4, 4))])
    assert np.allclose(net.predict([picture], oversample=False), expected, atol=1e-5)
    assert isinstance(net, caffe.Net)


@pytest.fixture
def picture(tmp_path: Path) -> tuple[str, np.ndarray]:
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(3).integers(0, 256, (12, 10, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "p.png"), pixels)
    return str(tmp_path / "p.png"), pixels[:, :, ::-1] / 255


def test_windows_are_classified(files: tuple[str, str], picture: tuple[str, np.ndarray]) -> None:
    net = caffe.Detector(*files, **SETTINGS)
    name, pixels = picture
    windows = [(0, 0, 4, 4), (2, 1, 10, 9), (3, 3, 7, 7), (1, 1, 5, 5), (0, 0, 12, 10)]
    found = net.detect_windows([(name, windows[:3]), (name, windows[3:])])
    crops = [caffe.io.resize_image(pixels[t:b, left:r], (4, 4)) for t, left, b, r in windows]
    assert [entry["window"] for entry in found] == windows
    assert {entry["filename"] for entry in found} == {name}
    assert np.allclose([entry["prediction"] for entry in found], classes(net, crops), atol=1e-5)
    assert net.detect_windows([(name, [])]) == []


def test_windows_are_shown_with_their_surroundings(files: tuple[str, str]) -> None:
    net = caffe.Detector(*files, **SETTINGS, context_pad=1)
    image = np.random.default_rng(0).random((12, 12, 3)).astype(np.float32)
    assert np.allclose(net.crop(image, (5, 5, 7, 7)), image[4:8, 4:8], atol=1e-6)  # 2 pixels in the middle of 4
    corner = net.crop(image, (0, 0, 2, 2))
    mean = np.array([120.0, 110.0, 100.0]) / 255  # of red, green, blue
    assert np.allclose(corner[1:, 1:], image[:3, :3], atol=1e-6)
    assert np.allclose(corner[0], mean)
    assert np.allclose(corner[:, 0], mean)


def test_windows_may_be_proposed(files: tuple[str, str], picture: tuple[str, np.ndarray], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    net = caffe.Detector(*files, **SETTINGS)
    with pytest.raises(UserError, match="detect_selective_search needs the package selective_search_ijcv_with_python"):
        net.detect_selective_search([picture[0]])
    stub = SimpleNamespace(get_windows=lambda names, cmd: [[(0, 0, 4, 4)] for _ in names])
    monkeypatch.setitem(sys.modules, "selective_search_ijcv_with_python", stub)
    assert len(net.detect_selective_search([picture[0]])) == 1


def test_surroundings_need_a_square_input(files: tuple[str, str]) -> None:
    source = Path(files[0])
    source.write_text(source.read_text().replace("dim: 4 dim: 4 }", "dim: 2 dim: 8 }"))
    with pytest.raises(UserError, match=r"^context_pad needs an input as high as wide, 'data' is 2 x 8$"):
        caffe.Detector(*files, context_pad=1)
