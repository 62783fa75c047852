"""ImageData on real picture files: sizes, labels, names with spaces, order, what cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_support import batches, picture, source_net, write_picture

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver.data.order import Order, permutation


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def images(settings, transform="", **options):
    return source_net(
        "ImageData", f'image_data_param {{ source: "list.txt" {settings} }}', "data label", transform, **options
    )


def lines(*rows):
    Path("list.txt").write_text("".join(f"{row}\n" for row in rows))


def refusal(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_caffes_five_lines():
    write_picture("cat.png", picture(36, 48))
    lines(*(f"cat.png {label}" for label in range(5)))
    for pictures, labels in batches(images("batch_size: 5 shuffle: false"), 2, "data", "label"):
        assert pictures.shape == (5, 3, 36, 48) and labels.shape == (5,)
        assert (pictures == picture(36, 48)).all() and labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("color", [True, False])
def test_resized_pictures_are_opencvs(color):
    write_picture("cat.jpg", picture(36, 48))
    lines("cat.jpg 3")
    found = batches(images(f"batch_size: 2 new_height: 25 new_width: 30 is_color: {str(color).lower()}"), 1)[0]
    read = cv2.imread("cat.jpg", cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE)
    expected = cv2.resize(read, (30, 25)).reshape(25, 30, -1).transpose(2, 0, 1)
    assert found.shape == (2, *expected.shape) == (2, 3 if color else 1, 25, 30)
    assert (found == expected).all()


def test_the_shape_is_that_of_the_first_picture_of_each_batch():
    write_picture("a.png", picture(8, 10))
    write_picture("b.png", picture(7, 5, 1))
    lines("a.png 0", "b.png 1")
    net = images("batch_size: 1")
    shapes = [found.shape for found in batches(net, 5)]
    assert shapes == [(1, 3, 8, 10), (1, 3, 7, 5), (1, 3, 8, 10), (1, 3, 7, 5), (1, 3, 8, 10)]
    with pytest.raises(
        UserError, match=r"picture 1 of a batch has shape \(3, 7, 5\), but the batch has \(3, 8, 10\) from"
    ):
        images("batch_size: 2").forward()
    cropped = batches(images("batch_size: 2", "crop_size: 5", phase=pb.TEST), 1)[0]
    assert (cropped[0] == picture(8, 10)[:, 1:6, 2:7]).all() and (cropped[1] == picture(7, 5, 1)[:, 1:6]).all()


def test_names_with_spaces_and_labels_as_atoi_reads_them():
    names = ["with a space.png", "sub folder/b.png", "a.png"]
    for number, name in enumerate(names):
        write_picture(Path("root") / name, picture(2, 2, number))
    Path("list.txt").write_bytes(
        b"with a space.png 7\n\nsub folder/b.png -2\r\na.png +5.9  \nwith a space.png x\na.png 99999999999"
    )
    for root in ("root", "root/"):
        found = batches(images(f'batch_size: 5 root_folder: "{root}"'), 1, "data", "label")[0]
        assert found[1].tolist() == [7, -2, 5, 0, np.float32(2**31 - 1)]
        assert [(x == picture(2, 2, i)).all() for x, i in zip(found[0], (0, 1, 2, 0, 2), strict=True)] == [True] * 5
    lines("root/a.png")
    assert batches(images("batch_size: 1"), 1, "label")[0] == 0


def labels_of(settings, passes, **options):
    found = np.concatenate(batches(images(f"batch_size: 4 {settings}", **options), passes * 3, "label")).astype(int)
    return found.reshape(passes, 12).tolist()


def test_shuffle_and_rand_skip():
    write_picture("a.png", picture(1, 1))
    lines(*(f"a.png {label}" for label in range(12)))
    assert labels_of("", 2) == [list(range(12))] * 2
    first, second, third = labels_of("shuffle: true", 3, seed=3)
    assert sorted(first) == sorted(second) == list(range(12))
    assert len({tuple(order) for order in (first, second, third, range(12))}) == 4
    assert labels_of("shuffle: true", 3, seed=3) == [first, second, third]
    assert labels_of("shuffle: true", 1, seed=4) != [first]
    starts = {labels_of("rand_skip: 5", 1, seed=seed)[0][0] for seed in range(20)}
    assert starts == set(range(5))
    (skipped,) = labels_of("rand_skip: 12", 1, seed=1)
    assert skipped == [(skipped[0] + i) % 12 for i in range(12)]


def test_order_is_a_pure_function_of_the_position():
    order = Order(7, 11, 3)
    whole = order.numbers(np.arange(70))
    assert np.array_equal(Order(7, 11, 3).numbers(np.arange(69, -1, -1)), whole[::-1])
    for start in range(4, 67, 7):
        assert sorted(whole[start : start + 7]) == list(range(7))
    assert sorted(permutation(0, 0, 1000)) == list(range(1000))
    assert not np.array_equal(permutation(0, 0, 1000), permutation(0, 1, 1000))


def test_transform_and_gray():
    write_picture("a.png", picture(3, 4))
    lines("a.png 1")
    found = batches(images("batch_size: 1", "scale: 0.5 mean_value: 10"), 1)[0]
    assert (found[0] == (picture(3, 4).astype(np.float32) - 10) / 2).all()


def test_unreadable_pictures_are_named_with_their_line():
    write_picture("a.png", picture(2, 2))
    lines("a.png 1", "", "gone.png 2")
    net = images("batch_size: 1")
    net.forward()
    assert refusal(net.forward) == "list.txt:3: could not load 'gone.png' (No such file or directory)"
    Path("gone.png").write_text("no picture")
    assert refusal(net.forward) == "list.txt:3: could not load 'gone.png' (no picture that OpenCV can read)"
    assert refusal(images, "new_height: 4000000000 new_width: 4000000000") == (
        "layer 'd' (ImageData): list.txt:1: could not load 'a.png' (cannot be resized to 4000000000x4000000000)"
    )
    lines("gone.png 0")
    assert refusal(images, "batch_size: 1").startswith("layer 'd' (ImageData): list.txt:1: could not load 'gone.png' ")


def test_settings_that_do_not_fit(monkeypatch):
    write_picture("a.png", picture(2, 2))
    at = "layer 'd' (ImageData): "
    assert refusal(images, "batch_size: 1").startswith(f"{at}list.txt: no such file")
    lines("", "  ")
    assert (
        refusal(images, "batch_size: 1")
        == f"{at}list.txt: the list is empty: expected a line 'path label' for each picture"
    )
    lines("a.png 1", "a.png 2")
    for seed in range(50):
        try:
            images("rand_skip: 1000", seed=seed)
        except UserError as error:
            assert str(error) == f"{at}rand_skip 1000: not enough points to skip, the list has 2"
            break
    else:
        pytest.fail("some seed should skip more than the list has")
    assert refusal(images, "", "crop_size: 3").startswith(f"{at}crop_size 3 is larger than the 2x2 pictures")
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert refusal(images, "").endswith("reading pictures (JPEG, PNG) needs OpenCV: pip install 'batchbrew[images]'")


def test_labels_are_checked_before_training():
    write_picture("a.png", picture(2, 2))
    lines("a.png 1", "a.png 3")
    from engine_support import layer, net_of

    net = layer("d", "ImageData", "", "data label", 'image_data_param { source: "list.txt" }')
    net += layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 3 }")
    with pytest.raises(UserError, match="scores 3 classes, but the data has labels up to 3"):
        net_of(net + layer("loss", "SoftmaxWithLoss", "ip label", "loss"))
