"""WindowData: which windows a batch holds, and what is cut out of the pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from data_support import batches, picture, source_net, write_picture

from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.solver.data.windows import Cutter, read_windows

PICTURES = {"a.png": (30, 40), "b.png": (20, 24)}
FILE = """# 0
a.png
3 30 40
3
2 0.9 0 0 39 29
7 0.3 4 5 23 19
5 0.5 2 2 9 9
# 1
b.png
3
20
24
2
0 0.0 1 2 20 17
4 0.49 0 0 5 5
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, (name, size) in enumerate(PICTURES.items()):
        write_picture(name, picture(*size, seed))
    Path("windows.txt").write_text(FILE)


def windows(settings="batch_size: 8", transform="crop_size: 12", **options):
    return source_net(
        "WindowData", f'window_data_param {{ source: "windows.txt" {settings} }}', "data label", transform, **options
    )


def warped(name, box, size=(12, 12)):
    x1, y1, x2, y2 = box
    part = np.ascontiguousarray(cv2.imread(name)[y1 : y2 + 1, x1 : x2 + 1])
    return cv2.resize(part, size).transpose(2, 0, 1)


BACKGROUND = {"b": ("a.png", (4, 5, 23, 19)), "c": ("b.png", (1, 2, 20, 17)), "d": ("b.png", (0, 0, 5, 5))}
FOREGROUND = {2: ("a.png", (0, 0, 39, 29)), 5: ("a.png", (2, 2, 9, 9))}


def test_the_file_is_sorted_by_overlap():
    found = read_windows("windows.txt", "root", 0.5, 0.4)
    assert found.paths == ["root/a.png", "root/b.png"] and len(found) == 4
    assert found.foreground.tolist() == [[0, 2, 0, 0, 39, 29], [0, 5, 2, 2, 9, 9]]
    assert found.background.tolist() == [[0, 0, 4, 5, 23, 19], [1, 0, 1, 2, 20, 17]]  # 0.49 is neither
    assert read_windows("windows.txt", "", 0.5, 0.5).background.shape == (3, 6)


@pytest.mark.parametrize("cache", ["", "cache_images: true"])
def test_background_comes_first_and_windows_are_warped(cache):
    choices = set()
    for pictures, labels in batches(windows(f"batch_size: 8 fg_fraction: 0.26 {cache}"), 20, "data", "label"):
        assert pictures.shape == (8, 3, 12, 12) and labels[:6].tolist() == [0] * 6  # 8 x 0.26 -> 2
        for found in pictures[:6]:
            choices.update(key for key, window in BACKGROUND.items() if (found == warped(*window)).all())
        for found, label in zip(pictures[6:], labels[6:], strict=True):
            assert (found == warped(*FOREGROUND[int(label)])).all()
            choices.add(int(label))
    assert choices == {"b", "c", "d", 2, 5}


def test_draws_repeat_with_the_seed():
    first, again, other = (np.stack(batches(windows(seed=seed), 4)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_mirror_scale_and_mean():
    mean = np.random.default_rng(0).normal(100, 20, (1, 3, 16, 16)).astype(np.float32)
    binary.write("mean.binaryproto", binary.array_to_blob(mean))
    Path("windows.txt").write_text("# 0 a.png 3 30 40 1\n2 0.9 4 5 23 19\n")
    plain = warped("a.png", (4, 5, 23, 19)).astype(np.float32)
    for settings, subtracted in (
        ('mean_file: "mean.binaryproto"', mean[0, :, 2:14, 2:14]),  # its centre
        ("mean_value: 7", 7),
        ("mean_value: 1 mean_value: 2 mean_value: 3", np.array([1, 2, 3], np.float32).reshape(3, 1, 1)),
    ):
        net = windows("batch_size: 16 fg_fraction: 1", f"crop_size: 12 mirror: true scale: 0.25 {settings}")
        found = batches(net, 1)[0]
        sides = [plain - subtracted, plain[:, :, ::-1] - subtracted]
        seen = [next(side for side in (0, 1) if np.array_equal(one, sides[side] / 4)) for one in found]
        assert set(seen) == {0, 1}


def test_context_outside_of_the_picture_stays_empty():
    # Worked by hand: 12 - 2 x 3 = 6, so the window grows by 2: centre 4, half 4 x 2 -> x and y from -4 to 12, 17 long;
    # 12/17 a pixel: 4 outside -> 3 (2.8), 13 inside -> 9 (9.2).
    flat = np.full((3, 30, 30), 50, np.uint8)
    part, row, column = Cutter(12, 3).cut(flat, (0, 0, 7, 7), False)
    assert (part.shape, row, column) == ((3, 9, 9), 3, 3) and (part == 50).all()
    assert Cutter(12, 3).cut(flat, (0, 0, 7, 7), True)[1:] == (3, 0)  # mirrored: what is missing on the right
    part, row, column = Cutter(12, 3).cut(flat, (22, 22, 29, 29), True)
    # centre 26, from 18 to 34: 12 inside -> 8 (8.47), 5 outside -> 4 (3.5): mirrored, they come first.
    assert (part.shape, row, column) == ((3, 8, 8), 0, 4)


def test_the_layer_writes_only_what_is_inside():
    write_picture("a.png", np.full((3, 30, 30), 50, np.uint8))
    Path("windows.txt").write_text("# 0 a.png 3 30 30 1\n2 0.9 0 0 7 7\n")
    found = batches(windows("batch_size: 1 fg_fraction: 1 context_pad: 3", "crop_size: 12 mean_value: 10"), 1)[0][0]
    assert (found[:, 3:, 3:] == 40).all() and found.sum() == 3 * 81 * 40


def test_square_windows_grow_to_the_longer_side():
    image = picture(30, 40)
    # 5 wide and 11 high: centre (12.5, 15.5), half 5.5 -> from (7, 10) to (18, 21)
    part, row, column = Cutter(10, square=True).cut(image, (10, 10, 14, 20), False)
    expected = cv2.resize(np.ascontiguousarray(image[:, 10:22, 7:19].transpose(1, 2, 0)), (10, 10)).transpose(2, 0, 1)
    assert (row, column) == (0, 0) and np.array_equal(part, expected)


def refusal(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


AT = "layer 'd' (WindowData): "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "windows.txt: the window file is empty"),
        ("# 0 a.png 3 30 40 2\n1 1 0 0 1 1\n", "windows.txt:1: expected '# number', path, channels, height, width, "),
        ("# 0 a.png 3 30 40 1\n1 1 0 0 1 nan\n", "windows.txt:1: expected '# number', path"),
        ("# 0 a.png 3 30 40 -1\n1 1 0 0 1 1\n", "windows.txt:1: expected '# number', path"),
        ("# 0 a.png 3 30 40 1\n1 1 0 0 1 one\n", "windows.txt:1: expected '# number', path"),
        ("\na.png 0 # 3 30 40 1\n1 1 0 0 1 1\n", "windows.txt:2: expected '# number', path"),
        ("# 0 a.png\n3\n", "windows.txt:1: the block of this picture is cut short"),
        ("# 0 a.png 1 30 40 0\n", "windows.txt:1: 'a.png' has 1 channels: windows are cut from pictures of 3"),
        (
            "# 0 a.png 3 9 9 0\n# 1 b.png 3 9 9 1\n0 1 0 0 1 1",
            "windows.txt:2: a foreground window of 'b.png' has class 0",
        ),
        ("# 0 a.png 3 30 40 1\n1 1 0 0 1 1\n", "windows.txt has no background windows: look at fg_threshold"),
        ("# 0 a.png 3 30 40 1\n0 0 0 0 1 1\n", "windows.txt has no foreground windows: look at fg_threshold"),
    ],
)
def test_files_that_do_not_fit(text, message):
    Path("windows.txt").write_text(text)
    assert refusal(windows).startswith(AT + message)


def test_settings_that_do_not_fit():
    assert refusal(windows, "batch_size: 4", "").endswith("crop_size of transform_param must be at least 1")
    assert refusal(windows, 'batch_size: 4 crop_mode: "sqare"') == (
        f"{AT}unknown crop_mode 'sqare' - did you mean 'square'? (known: warp, square)"
    )
    assert refusal(windows, "batch_size: 4 context_pad: 6").endswith(
        "context_pad 6 must be less than half of crop_size 12"
    )
    both = 'crop_size: 12 mean_file: "m" mean_value: 1'
    assert refusal(windows, "batch_size: 4", both).endswith(
        "mean_file and mean_value cannot be used together - keep one of them"
    )
    two = "crop_size: 12 mean_value: 1 mean_value: 1"
    assert refusal(windows, "batch_size: 4", two).endswith("2 entries of mean_value for 3 channels - give 1 value or 3")
    binary.write("mean.binaryproto", binary.array_to_blob(np.zeros((3, 9, 9), np.float32)))
    small = 'crop_size: 12 mean_file: "mean.binaryproto"'
    assert refusal(windows, "batch_size: 4", small).endswith(
        "mean_file 'mean.binaryproto' has shape (3, 9, 9), expected 3 channels and at least 12 rows and columns"
    )
    assert not windows().layers[0].cuttable


def test_pictures_that_do_not_fit():
    Path("windows.txt").write_text("# 0 b.png 3 30 40 1\n2 0.9 0 0 39 29\n")
    net = windows("batch_size: 1 fg_fraction: 1")
    assert refusal(net.forward) == (f"{AT}could not load 'b.png' (window 0 0 39 29 does not lie in the 20x24 picture)")
    Path("b.png").unlink()
    assert refusal(net.forward) == f"{AT}could not load 'b.png' (No such file or directory)"
