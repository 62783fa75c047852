"""The kernels that take pictures and labels from memory: every set bit-equal with the reference, for any layout."""

import numpy as np
import pytest
from data_support import write_lmdb
from engine_support import COMPILED, KERNEL_SETS, data, inputs, layer, net_of
from hypothesis import given, settings
from hypothesis import strategies as st

from batchbrew.protos import datum
from batchbrew.protos import messages as pb
from batchbrew.solver.data.keys import sample_keys
from batchbrew.solver.data.part import Part
from batchbrew.solver.data.transform import Transform
from batchbrew.solver.kernels import compile_program


def parameter(crop, mirror, scale, mean, channels):
    param = pb.TransformationParameter(crop_size=crop, mirror=mirror, scale=scale)
    if mean == "picture":
        param.mean_file = "auto"
    param.mean_value.extend({"one": [104.5], "each": [104.5, 117.25, 12.0, 3.7][:channels]}.get(mean, []))
    return param


def stored(count, item, dtype, layout):
    """Random pictures that lie in memory as planes, interleaved, or in a larger array."""
    values = np.random.default_rng(1).integers(0, 256, (count, *item)).astype(dtype)
    if dtype == np.float32:
        values += np.float32(0.37)
    if layout == "interleaved":
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "within":
        larger = np.zeros((count, item[0], item[1] + 1, item[2] + 3), dtype)
        larger[:, :, 1:, 1:-2] = values
        return larger[:, :, 1:, 1:-2]
    return values


def guarded(count, item, layout):
    """An array for the results within one of NaN, which must stay, and that array."""
    channels, height, width = item
    if layout == "planes":
        whole = np.full((count + 2, channels, height, width), np.nan, np.float32)
        return whole[1:-1], whole
    border = 0 if layout == "tight" else 2
    whole = np.full((count + 2, height + 2 * border, width + 2 * border, channels), np.nan, np.float32)
    inner = whole[1:-1, border : border + height, border : border + width]
    return inner.transpose(0, 3, 1, 2), whole


def run(kernels, transform, images, numbers, keys, *, layout="bordered"):
    out, whole = guarded(len(numbers), transform.shape, layout)
    compile_program([transform.call(images, numbers, keys, out)], kernels).run()
    assert np.isfinite(out).all()
    assert np.isfinite(whole).sum() == out.size, "written beside the pictures"
    return out.copy()


@settings(max_examples=120, deadline=None)
@given(
    dtype=st.sampled_from([np.uint8, np.float32]),
    channels=st.integers(1, 4),
    size=st.sampled_from([(1, 1), (5, 7), (7, 5), (16, 16), (9, 33), (32, 32), (20, 67)]),
    cut=st.sampled_from([0, 1, 3]),
    mirror=st.booleans(),
    scale=st.sampled_from([1.0, 0.00390625, -1.7]),
    mean=st.sampled_from(["none", "picture", "one", "each"]),
    phase=st.sampled_from([pb.TRAIN, pb.TEST]),
    stored_as=st.sampled_from(["planes", "interleaved", "within"]),
    layout=st.sampled_from(["planes", "tight", "bordered"]),
    count=st.sampled_from([0, 1, 5, 21]),
)
def test_every_kernel_set_gives_the_same_bits(
    *, dtype, channels, size, cut, mirror, scale, mean, phase, stored_as, layout, count
):
    item = (channels, *size)
    crop = max(1, min(size) - cut) if cut else 0
    images = stored(11, item, dtype, stored_as)
    picture = np.random.default_rng(2).random(item).astype(np.float32) * 200
    transform = Transform(parameter(crop, mirror, scale, mean, channels), phase, item, picture, 9)
    numbers = np.random.default_rng(3).integers(0, 11, count)
    keys = sample_keys(4, 1, numbers)
    wanted = run("reference", transform, images, numbers, keys, layout=layout)
    for kernels in COMPILED:
        assert run(kernels, transform, images, numbers, keys, layout=layout).tobytes() == wanted.tobytes(), kernels
    out = np.empty_like(wanted)
    transform.apply(images[numbers], keys, out)
    assert out.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_pictures_do_not_depend_on_how_they_are_cut(kernels):
    images = stored(40, (3, 32, 32), np.uint8, "planes")
    transform = Transform(parameter(28, True, 0.5, "each", 3), pb.TRAIN, (3, 32, 32), None, 1)
    numbers = np.random.default_rng(3).permutation(40)
    keys = sample_keys(4, 1, numbers)
    whole = run(kernels, transform, images, numbers, keys)
    for start, stop in ((0, 1), (1, 8), (8, 40)):
        part = run(kernels, transform, images, numbers[start:stop], keys[start:stop])
        assert part.tobytes() == whole[start:stop].tobytes()


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_take_labels(kernels):
    labels, numbers, out = np.arange(9, dtype=np.float32) * 3, np.array([8, 0, 0, 5]), np.zeros(4, np.float32)
    compile_program([("take_labels", (labels, numbers, out))], kernels).run()
    assert out.tolist() == [24, 0, 0, 15]


TRANSFORM = "transform_param { crop_size: 9 mirror: true scale: 0.01 mean_value: 100 }"
HEAD = layer(
    "ip", "InnerProduct", "data", "ip", 'inner_product_param { num_output: 5 weight_filler { type: "xavier" } }'
)
NET = HEAD + layer("loss", "SoftmaxWithLoss", "ip label", "loss")


def part(count=30):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 3, 11, 12), np.uint8)
    return Part(images, rng.integers(0, 5, count).astype(np.int32))


def gradients(net, indices):
    net.zero_sums()
    net.accumulate(indices, 3)
    return net.flat.grads.tobytes(), net.mean_loss


@pytest.mark.parametrize("chunk", [1, 4, 64])
@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_memory_and_data_base_train_alike(tmp_path, kernels, chunk):
    samples = part()
    path = write_lmdb(
        tmp_path / "db", [datum.serialize(x, int(y)) for x, y in zip(samples.images, samples.labels, strict=True)]
    )
    base = layer("data", "Data", "", "data label", f'data_param {{ batch_size: 4 source: "{path}" }} {TRANSFORM}')
    indices = np.array([3, 29, 3, 31, 60, 7, -1])  # beyond the samples: of later passes, and of those before
    found = [
        gradients(net_of(source + NET, data=given, kernels=kernels, chunk=chunk, seed=2), indices)
        for source, given in ((data(4, rest=TRANSFORM), samples), (base, None))
    ]
    assert found[0] == found[1]


def test_pictures_of_other_types_are_fed_as_before():
    samples = part()
    wide = Part(samples.images.astype(np.float64), samples.labels)
    found = [gradients(net_of(data(4, rest=TRANSFORM) + NET, data=p), np.arange(9)) for p in (samples, wide)]
    assert found[0] == found[1]


def test_the_whole_batch_takes_pictures_in_order():
    samples = part()
    net = net_of(data(4) + HEAD + layer("loss", "SoftmaxWithLoss", "ip label", "loss"), data=samples)
    for start in (0, 4):
        net.forward()
        assert (net.blobs["data"].data == samples.images[start : start + 4]).all()
        assert (net.blobs["label"].data == samples.labels[start : start + 4]).all()
    net.blobs["data"].data[...] = 0
    net.whole.forward(start=1)  # which leaves what the caller wrote
    assert not net.blobs["data"].data.any()


def test_a_top_of_another_shape_is_refused():
    net = net_of(
        data(4) + layer("pool", "Pooling", "data", "pool", "pooling_param { global_pooling: true }"), data=part()
    )
    net.whole.resize("data", (4, 3, 10, 12))
    with pytest.raises(ValueError, match="do not fit"):
        net.forward()


def test_inputs_are_no_pictures():
    net = net_of(inputs(data=(2, 3, 4, 4)) + layer("r", "ReLU", "data", "r"))
    net.blobs["data"].data[...] = -1
    net.forward()
    assert not net.blobs["r"].data.any()


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("kernels", COMPILED)
def test_threads_share_the_pictures_of_a_chunk(kernels, threads):
    found = []
    for count in (1, threads):
        net = net_of(data(4, rest=TRANSFORM) + NET, data=part(), kernels=kernels, threads=count, chunk=12, seed=2)
        net.zero_sums()
        net.accumulate(np.arange(29), 3)
        found.append((net.flat.grads.astype(np.float32).tobytes(), np.float32(net.mean_loss)))
    assert found[0] == found[1]
