"""Rules of inclusion, Split insertion and the backward analysis, as Caffe has them."""

from __future__ import annotations

import pytest
from engine_support import inputs, layer, net_of

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.graph import included, insert_splits

FILTERS = [
    # rules, state, kept
    ('include { stage: "s" }', "", False),
    ('exclude { stage: "s" }', 'stage: "s"', False),
    ('include { stage: "s" }', 'stage: "s"', True),
    ('exclude { stage: "s" }', "", True),
    ('include { stage: "s" stage: "t" }', 'stage: "s"', False),
    ('include { stage: "t" } include { stage: "s" }', 'stage: "s"', True),
    ('include { stage: "s" stage: "t" }', 'stage: "s" stage: "t"', True),
    ('include { stage: "s" not_stage: "t" }', 'stage: "s"', True),
    ('include { stage: "s" not_stage: "t" }', 'stage: "s" stage: "t"', False),
    ('include { not_stage: "s" }', 'stage: "s"', False),
    ("include { min_level: 3 }", "", False),
    ("include { min_level: 3 }", "level: 7", True),
    ("include { min_level: 3 }", "level: 3", True),
    ("include { max_level: -3 }", "", False),
    ("include { max_level: -3 }", "level: -7", True),
    ("include { min_level: 0 }", "", True),
    ("include { max_level: 0 }", "", True),
    ("include { min_level: 2 phase: TRAIN }", "level: 4 phase: TRAIN", True),
    ("include { min_level: 2 phase: TRAIN }", "level: 4 phase: TEST", False),
    ("include { min_level: 2 phase: TRAIN } include { phase: TEST }", "level: 4 phase: TRAIN", True),
    ("include { min_level: 2 phase: TRAIN } include { phase: TEST }", "level: 4 phase: TEST", True),
    ("include { }", "phase: TEST", True),
    ("exclude { }", "", False),
    ("exclude { phase: TEST } exclude { phase: TRAIN }", "phase: TRAIN", False),
    ("", "phase: TEST", True),
    ('include { stage: "" }', 'stage: ""', True),
]


@pytest.mark.parametrize(("rules", "state", "kept"), FILTERS)
def test_filter(rules, state, kept):
    param = text.parse(f'name: "x" type: "ReLU" {rules}', pb.LayerParameter)
    assert included(param, text.parse(state, pb.NetState)) is kept
    if kept and param.include and not param.exclude:  # the same rules as excludes remove it
        turned = text.parse(f'name: "x" type: "ReLU" {rules.replace("include", "exclude")}', pb.LayerParameter)
        assert not included(turned, text.parse(state, pb.NetState))


def test_stages_and_level_come_from_the_caller_too():
    source = inputs(x=(1, 2)) + layer("a", "ReLU", "x", "y", 'include { stage: "deep" min_level: 2 }')
    assert [each.name for each in net_of(source).layers] == ["x"]
    assert [each.name for each in net_of(source, stages=["deep"], level=2).layers] == ["x", "a"]


def split(source: str) -> list[pb.LayerParameter]:
    param = text.parse(source, pb.NetParameter)
    layers, places = insert_splits(param.layer, [""] * len(param.layer))
    assert len(places) == len(layers)
    again, _ = insert_splits(layers, places)
    assert list(again) == list(layers)  # idempotent
    return layers


DATA = layer("data", "Data", "", "data label")
IP1 = layer("innerprod1", "InnerProduct", "data", "innerprod1")
LOSS = layer("loss", "SoftmaxWithLoss", "innerprod1 label", "loss")


def test_no_split_where_none_is_needed():
    plain = DATA + IP1 + layer("relu1", "ReLU", "innerprod1", "innerprod1") + LOSS
    assert list(split(plain)) == list(text.parse(plain, pb.NetParameter).layer)


def test_split_names():
    layers = split(
        DATA
        + IP1
        + layer("innerprod2", "InnerProduct", "data", "innerprod2")
        + layer("innerprod3", "InnerProduct", "data", "innerprod3")
        + layer("loss1", "EuclideanLoss", "innerprod1 innerprod2", "loss1")
        + layer("loss2", "EuclideanLoss", "innerprod2 innerprod3", "loss2")
        + layer("a", "Accuracy", "innerprod3 label", "a", "include { phase: TEST }")
        + layer("b", "Accuracy", "innerprod1 label", "b")
    )
    by_name = {each.name: each for each in layers}
    assert list(by_name)[:3] == ["data", "data_data_0_split", "label_data_1_split"]
    assert list(by_name["data_data_0_split"].top) == [f"data_data_0_split_{i}" for i in range(3)]
    assert list(by_name["innerprod2_innerprod2_0_split"].top) == [
        f"innerprod2_innerprod2_0_split_{i}" for i in range(2)
    ]
    assert [by_name[f"innerprod{i}"].bottom[0] for i in (1, 2, 3)] == [f"data_data_0_split_{i}" for i in range(3)]
    assert list(by_name["loss2"].bottom) == ["innerprod2_innerprod2_0_split_1", "innerprod3_innerprod3_0_split_0"]
    assert list(by_name["b"].bottom) == ["innerprod1_innerprod1_0_split_1", "label_data_1_split_1"]
    assert by_name["data_data_0_split"].type == "Split"


def test_split_behind_an_in_place_layer_bears_its_name():
    layers = split(
        DATA
        + IP1
        + layer("relu1", "ReLU", "innerprod1", "innerprod1")
        + layer("innerprod2", "InnerProduct", "innerprod1", "innerprod2")
        + layer("loss1", "EuclideanLoss", "innerprod1 innerprod2", "loss1")
        + layer("loss2", "EuclideanLoss", "innerprod2 data", "loss2")
    )
    names = [each.name for each in layers]
    assert names[names.index("relu1") + 1] == "innerprod1_relu1_0_split"
    assert list(layers[names.index("relu1")].bottom) == ["innerprod1"]


def test_loss_weight_counts_as_a_use_and_moves_to_the_split():
    layers = split(DATA + IP1.replace('type: "Inner', 'loss_weight: 2.5 type: "Inner') + LOSS)
    by_name = {each.name: each for each in layers}
    assert list(by_name["innerprod1_innerprod1_0_split"].loss_weight) == [2.5, 0]
    assert list(by_name["innerprod1"].loss_weight) == [0]
    assert by_name["loss"].bottom[0] == "innerprod1_innerprod1_0_split_1"


def test_input_blobs_split_as_tops_of_their_layer():
    layers = split(inputs(data=(2, 3)) + IP1 + layer("s", "Softmax", "data", "s"))
    assert layers[1].name == "data_data_0_split"


# --- which layers run backward --------------------------------------------------------------------------------------

BASE = inputs(data=(2, 3), label=(2,))
IP = layer("innerproduct", "InnerProduct", "data", "ip", "inner_product_param { num_output: 4 }")
END = layer("loss", "SoftmaxWithLoss", "ip label", "loss")


def needs(source: str) -> dict[str, tuple[bool, list[bool]]]:
    net = net_of(source)
    wired = net.wiring
    return {each.name: (run, need) for each, run, need in zip(net.layers, wired.runs, wired.needs, strict=True)}


def test_only_what_leads_from_parameters_to_a_loss_runs():
    found = needs(BASE + IP + END + layer("aside", "Softmax", "data", "aside"))
    assert found["innerproduct"] == (True, [False])
    assert found["loss"] == (True, [True, False])
    assert not found["aside"][0]
    assert not found["data"][0]
    assert not found["data_data_0_split"][0]


def test_force_backward():
    found = needs(BASE + IP + END + "force_backward: true")
    assert found["innerproduct"] == (True, [True])
    assert found["loss"] == (True, [True, False])
    euclid = needs(
        inputs(data=(2, 3), t=(2, 4)) + IP + layer("l", "EuclideanLoss", "ip t", "l") + "force_backward: true"
    )
    assert euclid["l"] == (True, [True, True])


def test_propagate_down():
    found = needs(
        inputs(data=(2, 3), raw=(2, 3))
        + IP
        + layer("label_ip", "InnerProduct", "raw", "lip", "inner_product_param { num_output: 4 }")
        + layer("loss", "EuclideanLoss", "ip lip", "loss", "propagate_down: true propagate_down: false")
    )
    assert found["loss"] == (True, [True, False])
    assert found["innerproduct"][0]
    assert not found["label_ip"][0]  # all its tops are blocked
    forced = needs(BASE + IP.replace("type", "propagate_down: true type") + END)
    assert forced["innerproduct"] == (True, [True])


def test_a_label_that_needs_a_gradient_is_refused_when_run():
    net = net_of(inputs(data=(2, 3), raw=(2, 3)) + IP + layer(
        "lip", "InnerProduct", "raw", "label", "inner_product_param { num_output: 1 }") + END)  # fmt: skip
    assert dict(zip((each.name for each in net.layers), net.wiring.needs, strict=True))["loss"] == [True, True]
    with pytest.raises(UserError, match=r"layer 'loss' \(SoftmaxWithLoss\): cannot propagate a gradient to its labels"):
        net.backward()


def test_force_backward_wants_the_gradients_of_fixed_parameters():
    source = inputs(data=(2, 3), label=(2,)) + IP.replace("top:", "param { lr_mult: 0 } top:", 1) + END
    free, forced = net_of(source), net_of(source + "force_backward: true")
    for net in (free, forced):
        net.blobs["data"].data[...] = 1
        net.params["innerproduct"][0].data[...] = 0
        net.forward()
        net.backward()
    assert not free.params["innerproduct"][0].grad.any()
    assert forced.params["innerproduct"][0].grad.any()
