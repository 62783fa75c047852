"""pycaffe's net_spec and coord_map: nets written in Python, and how their coordinates map."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.net import Net
from batchbrew.solver.pycaffe.coord_map import (
    AxisMismatchException,
    UndefinedMapException,
    compose,
    coord_map,
    coord_map_from_to,
    crop,
    inverse,
)
from batchbrew.solver.pycaffe.net_spec import NetSpec, Top, assign_proto, layers, param_name_dict, params, to_proto

L, P = layers, params
XAVIER = {"type": "xavier"}


def small(n, batch: int = 4):  # type: ignore[no-untyped-def]
    """Fill ``n`` with a small convolutional net; return its loss."""
    n.data, n.label = L.DummyData(
        shape=[{"dim": [batch, 1, 12, 12]}, {"dim": [batch, 1, 1, 1]}], transform_param={"scale": 1 / 255}, ntop=2
    )
    n.conv = L.Convolution(n.data, kernel_size=5, num_output=6, weight_filler=XAVIER)
    n.pool = L.Pooling(n.conv, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip = L.InnerProduct(n.pool, num_output=8, weight_filler=XAVIER)
    n.relu = L.ReLU(n.ip, in_place=True)
    n.ip2 = L.InnerProduct(n.relu, num_output=3, weight_filler=XAVIER)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.loss


def test_a_net_is_named_after_its_attributes() -> None:
    n = NetSpec()
    small(n)
    net = n.to_proto()
    assert [layer.name for layer in net.layer] == ["data", "conv", "pool", "ip", "relu", "ip2", "loss"]
    assert [list(layer.top) for layer in net.layer[:2]] == [["data", "label"], ["conv"]]
    assert list(net.layer[4].top) == list(net.layer[4].bottom) == ["ip"]
    assert list(net.layer[5].bottom) == ["ip"]
    assert net.layer[2].pooling_param.pool == pb.PoolingParameter.MAX
    assert net.layer[1].convolution_param.weight_filler.type == "xavier"
    assert list(net.layer[1].convolution_param.kernel_size) == [5]
    assert net.layer[0].transform_param.scale == pytest.approx(1 / 255)


def test_the_text_of_a_net_builds_it() -> None:
    n = NetSpec()
    loss = small(n)
    for net in (n.to_proto(), to_proto(loss), loss.to_proto()):
        built = Net(text.parse(str(net), pb.NetParameter), pb.TEST)
        assert len(built.layers) == 7
        assert len(built.forward()) == 1


def test_names_are_made_of_type_and_number() -> None:
    data, label = L.DummyData(shape={"dim": [2, 3]}, ntop=2)
    ip = L.InnerProduct(data, num_output=2)
    net = L.SoftmaxWithLoss(L.InnerProduct(ip, num_output=2), label).to_proto()
    assert [layer.name for layer in net.layer] == ["DummyData1", "InnerProduct1", "InnerProduct2", "SoftmaxWithLoss1"]
    assert list(net.layer[0].top) == ["DummyData1", "DummyData2"]


def test_layers_without_tops_are_kept_by_name() -> None:
    n = NetSpec()
    n.data, n.more = L.DummyData(shape={"dim": 3}, ntop=2)
    n.quiet = L.Silence(n.data, ntop=0)
    n["quiet2"] = L.Silence(n["more"], ntop=0)
    net = n.to_proto()
    assert [(layer.name, list(layer.bottom), len(layer.top)) for layer in net.layer[1:]] == [
        ("quiet", ["data"], 0),
        ("quiet2", ["more"], 0),
    ]


def test_an_input_that_is_no_top_is_a_type_error() -> None:
    pair = L.DummyData(ntop=2)
    with pytest.raises(TypeError, match=r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$"):
        L.Silence(pair, ntop=0)
    assert L.Silence(*pair, ntop=0).inputs == pair


def test_settings_go_where_they_belong() -> None:
    data = L.Input(shape={"dim": [1, 2]}, name="mine")
    net = L.Python(
        data, module="m", layer="C", param_str="{}", loss_weight=2, propagate_down=[True],
        include={"phase": pb.TRAIN}, param=[{"lr_mult": 1}, {"lr_mult": 2, "name": "b"}],
    ).to_proto()  # fmt: skip
    assert net.layer[0].name == "mine"
    layer = net.layer[1]
    assert (layer.python_param.module, list(layer.loss_weight), list(layer.propagate_down)) == ("m", [2.0], [True])
    assert [spec.lr_mult for spec in layer.param] == [1, 2]
    assert layer.include[0].phase == pb.TRAIN
    borrowed = L.Deconvolution(data, num_output=2, kernel_size=np.array([3, 4])).to_proto().layer[1]
    assert list(borrowed.convolution_param.kernel_size) == [3, 4]
    both = L.Deconvolution(data, convolution_param={"num_output": 5}).to_proto().layer[1]
    assert both.convolution_param.num_output == 5
    empty = L.Dropout(data, dropout_param={}).to_proto().layer[1]
    assert empty.HasField("dropout_param")


def test_unknown_settings_names_and_values_are_reported() -> None:
    data = L.Input(shape={"dim": [1, 2]})
    for make, message in (
        (lambda: L.InnerProduct(data, num_outputs=2).to_proto(),
         "layer 'InnerProduct1' (InnerProduct) has no parameter 'num_outputs' - did you mean 'num_output'?"),
        (lambda: L.InnerProduct(data, weight_filler={"typ": "x"}).to_proto(),
         "FillerParameter has no field 'typ' - did you mean 'type'?"),
        (lambda: P.Pooling.MAXI, "PoolingParameter has no value 'MAXI' - did you mean 'MAX'? (known: MAX, AVE, "),
        (lambda: P.Poolings, "there is no message PoolingsParameter"),
        (lambda: NetSpec().dat, "the net has no top 'dat'"),
    ):  # fmt: skip
        with pytest.raises(AttributeError, match="^" + re.escape(message)):
            make()


def test_values_are_assigned_by_kind() -> None:
    layer = pb.LayerParameter()
    assign_proto(layer, "top", "a")
    assign_proto(layer, "top", ("b", "c"))
    assign_proto(layer, "param", {"lr_mult": 3})
    assign_proto(layer, "include", [{"stage": ["s", "t"]}])
    assign_proto(layer, "convolution_param", pb.ConvolutionParameter(num_output=4))
    assert list(layer.top) == ["a", "b", "c"]
    assert layer.param[0].lr_mult == 3
    assert list(layer.include[0].stage) == ["s", "t"]
    assert layer.convolution_param.num_output == 4


def test_a_spec_is_a_mapping_of_tops() -> None:
    n = NetSpec()
    n.a = L.Input(shape={"dim": [1]})
    n.update({"b": L.ReLU(n.a)})
    assert list(n.keys()) == list(n) == ["a", "b"]
    assert all(isinstance(top, Top) for top in n.vals())
    del n.b
    del n["a"]
    assert "a" not in n
    assert not hasattr(n, "b")
    assert param_name_dict()["Pooling"] == "pooling"


# --- coordinates


def spatial(*, ks=3, stride=1, pad=0, pool=2, dstride=2, dpad=0):  # type: ignore[no-untyped-def]
    n = NetSpec()
    n.data = L.Input(shape={"dim": [2, 1, 100, 100]})
    n.aux = L.Input(shape={"dim": [2, 1, 20, 20]})
    n.conv = L.Convolution(n.data, num_output=10, kernel_size=ks, stride=stride, pad=pad)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=pool, stride=pool, pad=0)
    n.deconv = L.Deconvolution(
        n.pool, convolution_param={"num_output": 10, "kernel_size": 2 * dstride, "stride": dstride, "pad": dpad}
    )
    return n


def test_pooling_and_deconvolution_map_back() -> None:
    n = spatial()
    assert coord_map_from_to(n.deconv, n.data) == (1, 1, 0)
    n = spatial(pool=4, dstride=4)
    assert coord_map_from_to(n.deconv, n.data) == (1, 1, -1)


def test_pointwise_layers_and_1x1_convolutions_do_not_move() -> None:
    n = spatial()
    expected = coord_map_from_to(n.deconv, n.data)
    n.relu = L.ReLU(n.deconv)
    n.same = L.Convolution(n.relu, num_output=1, kernel_size=1)
    assert coord_map_from_to(n.relu, n.data) == expected
    assert coord_map_from_to(n.same, n.data) == expected
    assert coord_map_from_to(n.relu, n.deconv) == (None, 1, 0)


def test_padding_shifts() -> None:
    pad = random.Random(0).randint(1, 10)
    _, a, b = _of(spatial())
    assert _of(spatial(pad=pad))[1:] == (a, b - pad)
    assert _of(spatial(dpad=pad))[1:] == (a, b + pad)
    assert _of(spatial(pad=pad, dpad=pad))[1:] == (a, b)


def _of(n):  # type: ignore[no-untyped-def]
    return coord_map_from_to(n.deconv, n.data)


def test_all_tops_of_a_layer_map_alike() -> None:
    n = spatial()
    n.one, n.two = L.Convolution(n.data, n.aux, ntop=2, num_output=10, kernel_size=5, stride=2, pad=0)
    assert coord_map_from_to(n.one, n.data) == coord_map_from_to(n.two, n.aux) == (1, 2, 2)


def test_rectangular_maps_are_made_of_square_ones() -> None:
    both = _of(spatial(ks=[3, 5], stride=[1, 2], pad=[0, 10]))
    _, a3, b3 = _of(spatial(ks=3, stride=1, pad=0))
    _, a5, b5 = _of(spatial(ks=5, stride=2, pad=10))
    assert both[1].tolist() == [a3, a5]
    assert both[2].tolist() == [b3, b5]


def test_three_spatial_axes() -> None:
    n = NetSpec()
    n.data = L.Input(shape={"dim": [2, 3, 50, 50, 50]})
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=[3, 3, 3], stride=[1, 1, 1], pad=[0, 1, 2])
    n.pool = L.Pooling(n.conv, kernel_size=2, stride=2)
    n.deconv = L.Deconvolution(n.pool, num_output=1, kernel_size=4, stride=2)
    axis, a, b = _of(n)
    assert axis == 1
    assert a.tolist() == [1, 1, 1]
    assert np.diff(b).tolist() == [-1, -1]


def test_dilation_widens_the_kernel() -> None:
    n = NetSpec()
    n.data = L.Input(shape={"dim": [1, 1, 9, 9]})
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=3, dilation=2)
    assert coord_map_from_to(n.conv, n.data) == (1, 1, 2)


def test_cropping_a_crop_adds_offsets() -> None:
    n = spatial()
    _, a, b = _of(n)
    n.crop = L.Crop(n.deconv, n.data, axis=2, offset=7)
    assert coord_map_from_to(n.crop, n.data) == (1, a, b + 7)


def test_a_crop_aligns_tops() -> None:
    n = spatial(pad=10)
    n.score = crop(n.deconv, n.data)
    layer = n.to_proto().layer[-1]
    assert (layer.type, list(layer.bottom)) == ("Crop", ["deconv", "data"])
    assert (layer.crop_param.axis, list(layer.crop_param.offset)) == (2, [10])


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (spatial(pool=3, dstride=2), "scale mismatch on crop (a = [1.5])"),
        (spatial(dpad=10), "cannot crop negative offset (b = [10.])"),
        (spatial(ks=4, pad=5), "cannot crop noninteger offset (b = [-4.5])"),
    ],
)
def test_impossible_crops_are_refused(n, text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AssertionError) as caught:
        crop(n.deconv, n.data)
    assert str(caught.value).startswith(text)


def test_tops_must_be_connected_by_spatial_layers() -> None:
    n = spatial()
    n.ip = L.InnerProduct(n.deconv, num_output=10)
    with pytest.raises(RuntimeError, match="Could not compute map between tops; are they connected by spatial layers"):
        coord_map_from_to(n.ip, n.data)
    with pytest.raises(RuntimeError, match="Could not compute map"):
        coord_map_from_to(n.aux, n.data)
    with pytest.raises(UndefinedMapException, match="layers of type InnerProduct have no coordinate map"):
        coord_map(n.ip.fn)


def test_maps_compose_and_invert() -> None:
    assert compose((1, 2, 3), inverse((1, 2, 3))) == (1, 1, 0)
    with pytest.raises(AxisMismatchException, match="along axes 1 and 2"):
        compose((1, 1, 0), (2, 1, 0))
    rectangular = L.Convolution(L.Input(), kernel_h=3, kernel_w=1)
    with pytest.raises(AssertionError, match="does not support legacy _h/_w params"):
        coord_map(rectangular.fn)
