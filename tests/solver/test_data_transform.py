"""The transform against a slow literal loop over the rules, and its independence from how batches are cut."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.solver.data import keys
from batchbrew.solver.data.transform import COLUMN, MIRROR, ROW, Transform

ITEM = (3, 6, 5)
transform_param = pb.TransformationParameter


def draw(key, seed, stream, count):
    """The draw of one sample in Python integers: high 32 bits of a hash of (key, seed, stream), scaled."""
    hashed = keys.mix_number((key ^ keys.mix_number(seed)) + keys.mix_number((stream + 1) * keys.GOLDEN))
    return (hashed >> 32) * count >> 32


def literal(param, phase, mean, *, seed, images, sample_keys):
    """Caffe's rules, one pixel at a time; ``mean`` is the mean picture or None."""
    _, channels, height, width = images.shape
    crop = param.crop_size
    h_size, w_size = (crop, crop) if crop else (height, width)
    out = np.zeros((len(images), channels, h_size, w_size), np.float32)
    for n in range(len(images)):
        key = int(sample_keys[n])
        mirror = param.mirror and draw(key, seed, MIRROR, 2) == 1
        h_off = w_off = 0
        if crop:
            if phase == pb.TRAIN:
                h_off = draw(key, seed, ROW, height - crop + 1)
                w_off = draw(key, seed, COLUMN, width - crop + 1)
            else:
                h_off, w_off = (height - crop) // 2, (width - crop) // 2
        for c in range(channels):
            for h in range(h_size):
                for w in range(w_size):
                    pixel = np.float32(images[n, c, h_off + h, w_off + w])
                    if mean is not None:
                        pixel -= np.float32(mean[c, h_off + h, w_off + w])
                    elif len(param.mean_value):
                        pixel -= np.float32(param.mean_value[c if len(param.mean_value) > 1 else 0])
                    out[n, c, h, w_size - 1 - w if mirror else w] = pixel * np.float32(param.scale)
    return out


def samples(count, dtype, seed=0):
    random = np.random.default_rng(seed)
    images = (random.random((count, *ITEM)) * 255).astype(dtype)
    return images, keys.sample_keys(seed, 0, np.arange(count)), (random.random(ITEM) * 200).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    crop=st.sampled_from([0, 1, 2, 4, 5]),
    mirror=st.booleans(),
    scale=st.sampled_from([1.0, 0.00390625, -1.7]),
    mean=st.sampled_from(["none", "auto", "one", "each"]),
    phase=st.sampled_from([pb.TRAIN, pb.TEST]),
    dtype=st.sampled_from([np.uint8, np.float32]),
    count=st.sampled_from([0, 1, 15, 16, 37]),
    layout=st.sampled_from(["nchw", "nhwc", "cnhw", "padded"]),
)
def test_equals_the_literal_loop(*, crop, mirror, scale, mean, phase, dtype, count, layout):
    images, key, picture = samples(count, dtype)
    param = pb.TransformationParameter(crop_size=crop, mirror=mirror, scale=scale)
    param.mean_value.extend({"one": [104.5], "each": [104.5, 117.0, 123.25]}.get(mean, []))
    if mean == "auto":
        param.mean_file = "auto"
    transform = Transform(param, phase, ITEM, picture, 9)
    channels, height, width = transform.shape
    out = {
        "nchw": np.full((count, channels, height, width), np.nan, np.float32),
        "nhwc": np.full((count, height, width, channels), np.nan, np.float32).transpose(0, 3, 1, 2),
        "cnhw": np.full((channels, count, height, width), np.nan, np.float32).transpose(1, 0, 2, 3),
        "padded": np.full((count, height + 4, width + 4, 8), np.nan, np.float32)[:, 2:-2, 2:-2, :3].transpose(
            0, 3, 1, 2
        ),
    }[layout]
    transform.apply(images, key, out)
    expected = literal(param, phase, picture if mean == "auto" else None, seed=9, images=images, sample_keys=key)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("cuts", [[1, 2, 3], [16, 33], [50], list(range(1, 100)), [0, 0, 99]])
def test_does_not_depend_on_the_cut_of_a_batch(cuts):
    images, key, picture = samples(100, np.uint8)
    param = pb.TransformationParameter(crop_size=4, mirror=True, mean_file="auto", scale=0.1)
    transform = Transform(param, pb.TRAIN, ITEM, picture, 0)
    whole = np.empty((100, *transform.shape), np.float32)
    transform.apply(images, key, whole)
    out = np.empty_like(whole)
    for piece in np.split(np.arange(100), cuts):
        transform.apply(images[piece], key[piece], out[slice(piece[0], piece[-1] + 1) if len(piece) else slice(0)])
    assert np.array_equal(out, whole)
    backwards = np.empty_like(whole)
    transform.apply(images[::-1], key[::-1], backwards)
    assert np.array_equal(backwards[::-1], whole)


def test_every_offset_and_both_sides_occur_evenly():
    images = np.broadcast_to(np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6), (20_000, 1, 6, 6))
    transform = Transform(pb.TransformationParameter(crop_size=4, mirror=True), pb.TRAIN, (1, 6, 6), None, 0)
    out = np.empty((20_000, 1, 4, 4), np.float32)
    transform.apply(images, keys.sample_keys(0, 0, np.arange(20_000)), out)
    corners = np.minimum(out[:, 0, 0, 0], out[:, 0, 0, -1])
    mirrored = out[:, 0, 0, 0] > out[:, 0, 0, -1]
    found, counts = np.unique(corners + 100 * mirrored, return_counts=True)
    assert sorted(found) == [side + 6 * h + w for side in (0, 100) for h in range(3) for w in range(3)]
    assert abs(counts - 20_000 / 18).max() < 5 * np.sqrt(20_000 / 18)


def test_test_phase_mirrors_too_and_crops_the_centre():
    images = np.arange(5 * 7, dtype=np.float32).reshape(1, 1, 5, 7).repeat(64, 0)
    transform = Transform(pb.TransformationParameter(crop_size=2, mirror=True), pb.TEST, (1, 5, 7), None, 0)
    out = np.empty((64, 1, 2, 2), np.float32)
    transform.apply(images, keys.sample_keys(0, 0, np.arange(64)), out)
    assert {tuple(picture.ravel()) for picture in out} == {(9, 10, 16, 17), (10, 9, 17, 16)}


def test_seed_and_epoch_change_the_draws():
    images, _, _ = samples(64, np.uint8)
    results = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0)):
        transform = Transform(pb.TransformationParameter(crop_size=3, mirror=True), pb.TRAIN, ITEM, None, seed)
        results.append(np.empty((64, *transform.shape), np.float32))
        transform.apply(images, keys.sample_keys(3, epoch, np.arange(64)), results[-1])
    assert np.array_equal(results[0], results[3])
    assert not np.array_equal(results[0], results[1]) and not np.array_equal(results[0], results[2])


def test_recorded_datum_of_caffe():
    # Caffe's own test of its data layer: bytes 0..23 as 2x3x4, crop 1, scale 3, TEST: pixels 5 and 17.
    transform = Transform(pb.TransformationParameter(crop_size=1, scale=3), pb.TEST, (2, 3, 4), None, 0)
    out = np.empty((1, 2, 1, 1), np.float32)
    transform.apply(np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4), np.zeros(1, np.uint64), out)
    assert out.ravel().tolist() == [15, 51]


@pytest.mark.parametrize("shape", [ITEM, (1, *ITEM)])
def test_mean_file(tmp_path, shape):
    images, key, picture = samples(4, np.uint8)
    path = tmp_path / "mean.binaryproto"
    binary.write(path, binary.array_to_blob(picture.reshape(shape)))
    transform = Transform(pb.TransformationParameter(mean_file=str(path)), pb.TRAIN, ITEM, None, 0)
    out = np.empty((4, *ITEM), np.float32)
    transform.apply(images, key, out)
    assert np.array_equal(out, images - picture)


def test_mean_file_in_the_legacy_shape(tmp_path):
    blob = pb.BlobProto(num=1, channels=3, height=6, width=5, data=[2.0] * 90)
    binary.write(tmp_path / "mean.binaryproto", blob)
    param = pb.TransformationParameter(mean_file=str(tmp_path / "mean.binaryproto"))
    out = np.empty((1, *ITEM), np.float32)
    Transform(param, pb.TRAIN, ITEM, None, 0).apply(np.full((1, *ITEM), 5, np.uint8), np.zeros(1, np.uint64), out)
    assert (out == 3).all()


@pytest.mark.parametrize(
    ("param", "mean", "text"),
    [
        ({"crop_size": 6}, None, "crop_size 6 is larger than the 6x5 pictures of the data set"),
        ({"force_color": True, "force_gray": True}, None, "force_color and force_gray cannot be used together - keep"),
        ({"mean_file": "auto", "mean_value": [1]}, None, "mean_file and mean_value cannot be used together - keep one"),
        (
            {"mean_value": [1, 2]},
            None,
            "2 entries of mean_value for 3 channels - give 1 value, or one for each of the 3",
        ),
        (
            {"mean_file": "auto"},
            None,
            'mean_file: "auto" needs a data set that knows its mean picture - give a file, made by',
        ),
        (
            {"mean_file": "auto"},
            np.zeros((3, 5, 6), np.float32),
            "mean_file 'auto' has shape (3, 5, 6), but the pictures",
        ),
    ],
)
def test_contradictions(param, mean, text):
    with pytest.raises(UserError) as caught:
        Transform(pb.TransformationParameter(**param), pb.TRAIN, ITEM, mean, 0, where="net.prototxt:3:1: layer 'x': ")
    assert str(caught.value).startswith(f"net.prototxt:3:1: layer 'x': {text}") and "\n" not in str(caught.value)


def test_wrong_mean_files(tmp_path):
    path = tmp_path / "mean.binaryproto"
    param = pb.TransformationParameter(mean_file=str(path))
    with pytest.raises(UserError, match=r"mean\.binaryproto"):
        Transform(param, pb.TRAIN, ITEM, None, 0)
    binary.write(path, binary.array_to_blob(np.zeros((1, 3, 8, 8), np.float32)))
    with pytest.raises(UserError, match=r"mean\.binaryproto' has shape \(3, 8, 8\), but the pictures .* \(3, 6, 5\)$"):
        Transform(param, pb.TRAIN, ITEM, None, 0)
    binary.write(path, binary.array_to_blob(np.zeros((2, *ITEM), np.float32)))
    with pytest.raises(UserError, match=r"has shape \(2, 3, 6, 5\)"):
        Transform(param, pb.TRAIN, ITEM, None, 0)
    path.write_bytes(b"no blob")
    with pytest.raises(UserError, match=r"mean\.binaryproto: "):
        Transform(param, pb.TRAIN, ITEM, None, 0)


def test_pictures_of_several_sizes():
    images = [samples(1, np.uint8, seed)[0][0, :, : 6 - seed % 2, : 5 - seed % 3] for seed in range(6)]
    key = keys.sample_keys(0, 0, np.arange(6))
    transform = Transform(transform_param(crop_size=3, mirror=True, mean_value=[4]), pb.TRAIN, ITEM, None, 2)
    out = np.empty((6, 3, 3, 3), np.float32)
    transform.apply(images, key, out)
    for i, image in enumerate(images):
        alone = Transform(transform_param(crop_size=3, mirror=True, mean_value=[4]), pb.TRAIN, image.shape, None, 2)
        single = np.empty((1, 3, 3, 3), np.float32)
        alone.apply(image[None], key[i : i + 1], single)
        assert np.array_equal(out[i], single[0])
    assert transform.item_shape == ITEM
    whole = Transform(pb.TransformationParameter(), pb.TEST, ITEM, None, 0, where="n:1:1: ")
    with pytest.raises(
        UserError, match=r"^n:1:1: picture 1 of a batch has shape \(3, 5, 4\), but the batch has \(3, 6, 5\) "
    ):
        whole.apply(images[:2], key[:2], np.empty((2, *ITEM), np.float32))
    with pytest.raises(UserError, match=r"crop_size 5 is larger than the 6x3 pictures"):
        Transform(transform_param(crop_size=5), pb.TEST, ITEM, None, 0).apply(
            [images[2]], key[:1], np.empty((1, 3, 5, 5), np.float32)
        )


def test_arrays_of_other_shapes_are_refused():
    transform = Transform(pb.TransformationParameter(crop_size=4), pb.TRAIN, ITEM, None, 0)
    images, key, _ = samples(4, np.uint8)
    for bad_images, bad_key, out in (
        (images[:, :, :5], key, np.empty((4, 3, 4, 4), np.float32)),
        (images, key[:3], np.empty((4, 3, 4, 4), np.float32)),
        (images, key, np.empty((4, 3, 5, 5), np.float32)),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            transform.apply(bad_images, bad_key, out)


def test_speed():
    """3x32x32 bytes, mean subtracted: the aim is 100,000 pictures/s on one core; a busy machine gets some slack."""
    images = np.random.default_rng(0).integers(0, 256, (2000, 3, 32, 32), np.uint8)
    transform = Transform(
        pb.TransformationParameter(mean_file="auto"), pb.TRAIN, (3, 32, 32), np.ones((3, 32, 32), np.float32), 0
    )
    out = np.zeros((2000, 36, 36, 3), np.float32)[:, 2:34, 2:34].transpose(0, 3, 1, 2)
    key = keys.sample_keys(0, 0, np.arange(2000))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        transform.apply(images, key, out)
        seconds.append(time.perf_counter() - start)
    assert 2000 / min(seconds) > 50_000
