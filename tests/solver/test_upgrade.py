"""Nets and solvers in older formats: every rule of their upgrade, against the format written by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from engine_support import layer, net_of
from hypothesis import given, settings
from hypothesis import strategies as st

from batchbrew.errors import UserError
from batchbrew.protos import binary, schema, text
from batchbrew.protos import messages as pb
from batchbrew.solver.layer import LAYERS
from batchbrew.solver.upgrade import outdated_net, outdated_solver, upgrade_net, upgrade_solver, upgraded


def net(source):
    return text.parse(source, pb.NetParameter)


def after(source, **options):
    """Return the upgraded net, and check that binary files give the same and that a second upgrade changes nothing."""
    param = net(source)
    again = pb.NetParameter.FromString(param.SerializeToString())
    notes = upgrade_net(param, **options)
    upgrade_net(again)
    assert again == param
    assert outdated_net(param) == []
    assert not upgrade_net(again)
    assert again == param
    return param, notes


def v0(kind, settings="", wires='bottom: "x" top: "y"'):
    return f'layers {{ layer {{ name: "{kind}_1" type: "{kind}" {settings} }} {wires} }}\n'


X4 = 'input: "x" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5\n'
INPUT = 'layer { name: "input" type: "Input" top: "x" input_param { shape { dim: [2, 3, 4, 5] } } }\n'


# --- first generation (V0) -------------------------------------------------------------------------------------------

V0_TYPES = {
    "accuracy": "Accuracy", "bnll": "BNLL", "concat": "Concat", "conv": "Convolution", "data": "Data",
    "dropout": "Dropout", "euclidean_loss": "EuclideanLoss", "flatten": "Flatten", "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output", "im2col": "Im2col", "images": "ImageData", "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct", "lrn": "LRN", "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling", "relu": "ReLU", "sigmoid": "Sigmoid", "softmax": "Softmax", "softmax_loss": "SoftmaxWithLoss",
    "split": "Split", "tanh": "TanH", "window_data": "WindowData",
}  # fmt: skip


@pytest.mark.parametrize("old", V0_TYPES)
def test_types_of_v0(old):
    param, _ = after(X4 + v0(old))
    assert param.layer[1] == net(layer(f"{old}_1", V0_TYPES[old], "x", "y")).layer[0]


V0_SETTINGS = {  # type -> (all it takes, the same today)
    "conv": ("num_output: 6 biasterm: false weight_filler { type: 'xavier' } bias_filler { value: 0.5 } pad: 1 "
             "kernelsize: 3 group: 2 stride: 2",
             "convolution_param { num_output: 6 bias_term: false weight_filler { type: 'xavier' } "
             "bias_filler { value: 0.5 } pad: 1 kernel_size: 3 group: 2 stride: 2 }"),
    "innerproduct": ("num_output: 4 biasterm: true weight_filler { std: 0.1 } bias_filler { type: 'constant' }",
                     "inner_product_param { num_output: 4 bias_term: true weight_filler { std: 0.1 } "
                     "bias_filler { type: 'constant' } }"),
    "pool": ("pad: 1 kernelsize: 3 stride: 2 pool: STOCHASTIC",
             "pooling_param { pad: 1 kernel_size: 3 stride: 2 pool: STOCHASTIC }"),
    "dropout": ("dropout_ratio: 0.3", "dropout_param { dropout_ratio: 0.3 }"),
    "lrn": ("local_size: 3 alpha: 2 beta: 0.5 k: 1.5", "lrn_param { local_size: 3 alpha: 2 beta: 0.5 k: 1.5 }"),
    "data": ("source: 'd' batchsize: 8 rand_skip: 5 scale: 0.1 meanfile: 'm' cropsize: 20 mirror: true",
             "data_param { source: 'd' batch_size: 8 rand_skip: 5 } "
             "transform_param { scale: 0.1 mean_file: 'm' crop_size: 20 mirror: true }"),
    "hdf5_data": ("source: 'l' batchsize: 7", "hdf5_data_param { source: 'l' batch_size: 7 }"),
    "images": ("source: 'l' batchsize: 3 rand_skip: 2 shuffle_images: true new_height: 30 new_width: 31",
               "image_data_param { source: 'l' batch_size: 3 rand_skip: 2 shuffle: true new_height: 30 new_width: 31 }"),
    "window_data": ("source: 'w' batchsize: 6 det_fg_threshold: 0.6 det_bg_threshold: 0.4 det_fg_fraction: 0.3 "
                    "det_context_pad: 16 det_crop_mode: 'square' cropsize: 9",
                    "window_data_param { source: 'w' batch_size: 6 fg_threshold: 0.6 bg_threshold: 0.4 "
                    "fg_fraction: 0.3 context_pad: 16 crop_mode: 'square' } transform_param { crop_size: 9 }"),
    "infogain_loss": ("source: 'h'", "infogain_loss_param { source: 'h' }"),
    "concat": ("concat_dim: 0", "concat_param { concat_dim: 0 }"),
    "hdf5_output": ("hdf5_output_param { file_name: 'o' }", "hdf5_output_param { file_name: 'o' }"),
    "relu": ("scale: 2", "transform_param { scale: 2 }"),  # of any type
}  # fmt: skip


@pytest.mark.parametrize("old", V0_SETTINGS)
def test_settings_of_v0(old):
    before, today = V0_SETTINGS[old]
    param, notes = after(X4 + v0(old, before))
    assert param.layer[1] == net(layer(f"{old}_1", V0_TYPES[old], "x", "y", today)).layer[0]
    assert [note.level for note in notes] == ["I"] * 6


def test_all_settings_of_v0_are_in_these_tests():
    """new_num and new_channels never meant anything."""
    named = {name for before, _ in V0_SETTINGS.values() for name in re.findall(r"(\w+)(?=:| {)", before)}
    others = {"name", "type", "blobs", "blobs_lr", "weight_decay", "new_num", "new_channels"}
    assert set(pb.V0LayerParameter.DESCRIPTOR.fields_by_name) - named == others - named


def test_arrays_and_rates_of_v0():
    param, _ = after(
        X4 + v0("conv", "blobs { num: 1 data: 3 } blobs { data: 4 } blobs_lr: 1 blobs_lr: 2 weight_decay: 0")
    )
    assert param.layer[1].blobs[0] == pb.BlobProto(num=1, data=[3])
    assert [blob.data[0] for blob in param.layer[1].blobs] == [3, 4]
    assert list(param.layer[1].param) == [pb.ParamSpec(lr_mult=1, decay_mult=0), pb.ParamSpec(lr_mult=2)]


def test_a_setting_that_a_type_of_v0_does_not_take_is_noted_and_left_out():
    param, notes = after(X4 + v0("relu", "pad: 1 num_output: 2 hdf5_output_param { } mirror: true"), file="n.prototxt")
    assert param.layer[1] == net(layer("relu_1", "ReLU", "x", "y", "transform_param { mirror: true }")).layer[0]
    assert [note for note in notes if note.level == "E"] == [
        "Unknown parameter num_output for layer type relu (layer 'relu_1')",
        "Unknown parameter pad for layer type relu (layer 'relu_1')",
        "Unknown parameter hdf5_output_param for layer type relu (layer 'relu_1')",
        "Warning: had problems upgrading V0LayerParameter (see above); continuing anyway.",
    ]
    assert notes[0] == "Attempting to upgrade input file specified using deprecated V0LayerParameter: n.prototxt"
    assert notes[-1] == "Successfully upgraded file specified using deprecated input fields"


def test_what_v0_keeps_of_the_net_and_of_the_connections():
    kept = 'name: "n" force_backward: true '
    param, _ = after(
        kept + X4 + 'state { level: 3 } debug_info: true input_shape { dim: 7 }'
        + v0("relu", "", 'bottom: "x" top: "y" include { phase: TEST } loss_weight: 2 relu_param { negative_slope: 1 }')
        + 'layers { bottom: "y" top: "z" name: "gone" type: RELU }\n'
    )  # fmt: skip
    today = net(kept + INPUT + layer("relu_1", "ReLU", "x", "y"))
    today.layer.add(bottom=["y"], top=["z"])
    assert param == today


PADDED = X4 + v0("padding", "pad: 2", 'bottom: "x" top: "p"')


def test_padding_layers_become_the_pad_of_what_follows():
    positions = [(2, 1), (3, 1), (4, 1), (5, 1)]
    param, _ = after(PADDED + v0("conv", "kernelsize: 3", 'bottom: "p" top: "c"') + v0("relu", "", 'bottom: "c" top: "c"')
                     + v0("pool", "kernelsize: 2", 'bottom: "p" top: "q"'),
                     positions=positions, input_position=(1, 8))  # fmt: skip
    assert param == net(
        INPUT + layer("conv_1", "Convolution", "x", "c", "convolution_param { pad: 2 kernel_size: 3 }")
        + layer("relu_1", "ReLU", "c", "c") + layer("pool_1", "Pooling", "x", "q", "pooling_param { pad: 2 kernel_size: 2 }")
    )  # fmt: skip
    assert positions == [(1, 8), (3, 1), (4, 1), (5, 1)]


# --- transformations in data layers ----------------------------------------------------------------------------------

MOVED = "scale: 2 mean_file: 'm' crop_size: 5 mirror: true"


@pytest.mark.parametrize(
    ("old", "kind", "block"),
    [("DATA", "Data", "data"), ("IMAGE_DATA", "ImageData", "image_data"), ("WINDOW_DATA", "WindowData", "window_data")],
)
def test_transformations_move_out_of_v1_data_layers(old, kind, block):
    param, notes = after(
        f"layers {{ type: {old} {block}_param {{ source: 's' {MOVED} }} transform_param {{ scale: 1 mean_value: 3 }} }}"
    )
    rest = f"{block}_param {{ source: 's' }} transform_param {{ mean_value: 3 {MOVED} }}"
    assert param == net(f'layer {{ type: "{kind}" {rest} }}')
    assert notes[0].startswith("Attempting to upgrade input file specified using deprecated transformation parameters")


def test_transformations_stay_where_no_data_layer_holds_them():
    assert outdated_net(net("layers { type: MEMORY_DATA data_param { scale: 2 } }")) == ["V1LayerParameter"]
    today = 'layer { type: "Data" data_param { scale: 2 } }'
    assert after(today)[0] == net(today)


# --- second generation (V1) ------------------------------------------------------------------------------------------

V1_TYPES = {
    "ACCURACY": "Accuracy", "BNLL": "BNLL", "CONCAT": "Concat", "CONVOLUTION": "Convolution", "DATA": "Data",
    "DROPOUT": "Dropout", "EUCLIDEAN_LOSS": "EuclideanLoss", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData", "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct", "LRN": "LRN", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "POOLING": "Pooling", "RELU": "ReLU", "SIGMOID": "Sigmoid", "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split", "TANH": "TanH", "WINDOW_DATA": "WindowData", "ELTWISE": "Eltwise", "POWER": "Power",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "HINGE_LOSS": "HingeLoss", "MEMORY_DATA": "MemoryData",
    "ARGMAX": "ArgMax", "THRESHOLD": "Threshold", "DUMMY_DATA": "DummyData", "SLICE": "Slice", "MVN": "MVN",
    "ABSVAL": "AbsVal", "SILENCE": "Silence", "CONTRASTIVE_LOSS": "ContrastiveLoss", "EXP": "Exp",
    "DECONVOLUTION": "Deconvolution",
}  # fmt: skip


def test_types_of_v1():
    param, _ = after("".join(f"layers {{ type: {old} }}" for old in [*V1_TYPES, "NONE"]) + "layers { }")
    assert [layer.type for layer in param.layer] == [*V1_TYPES.values(), "", ""]
    assert [layer.HasField("type") for layer in param.layer[-2:]] == [True, False]
    assert len(V1_TYPES) == 39 == len(pb.V1LayerParameter.LayerType.keys()) - 1


def test_types_that_came_from_v1_are_known():
    missing = set(V1_TYPES.values()) - set(LAYERS.names())
    assert missing == set()


def test_every_block_of_v1_is_copied():
    fields = [f for f in pb.V1LayerParameter.DESCRIPTOR.fields if f.name.endswith("_param")]
    assert len(fields) == 30  # 28 layer types, transform_param, loss_param
    old = pb.V1LayerParameter(name="n", bottom=["a", "b"], top=["c"], loss_weight=[2, 3], include=[{"stage": ["s"]}],
                              exclude=[{"min_level": 2}, {}], blobs=[{"data": [1, 2]}])  # fmt: skip
    new = pb.LayerParameter(name="n", bottom=["a", "b"], top=["c"], loss_weight=[2, 3], include=[{"stage": ["s"]}],
                            exclude=[{"min_level": 2}, {}], blobs=[{"data": [1, 2]}])  # fmt: skip
    for field in fields:
        for message in (old, new):
            block = getattr(message, field.name)
            block.SetInParent()
            first = field.message_type.fields[0]
            if not schema.is_repeated(first) and not first.message_type:
                setattr(block, first.name, first.default_value)
    param = pb.NetParameter(layers=[old])
    upgrade_net(param)
    assert param == pb.NetParameter(layer=[new])


@pytest.mark.parametrize(
    ("lists", "specs"),
    [
        ("blobs_lr: 1", "param { lr_mult: 1 }"),
        ("blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0",
         "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"),
        ("param: 'a' param: 'b' blobs_lr: 3", "param { name: 'a' lr_mult: 3 } param { name: 'b' }"),
        ("param: 'a' weight_decay: 1 weight_decay: 2 weight_decay: 4",
         "param { name: 'a' decay_mult: 1 } param { decay_mult: 2 } param { decay_mult: 4 }"),
        ("blob_share_mode: PERMISSIVE blob_share_mode: STRICT",
         "param { share_mode: PERMISSIVE } param { share_mode: STRICT }"),
        ("param: '' blob_share_mode: STRICT blob_share_mode: PERMISSIVE blobs_lr: 0",
         "param { name: '' share_mode: STRICT lr_mult: 0 } param { share_mode: PERMISSIVE }"),
        ("", ""),
    ],
)  # fmt: skip
def test_lists_of_v1_become_param_entries(lists, specs):
    param, _ = after(f'layers {{ name: "l" type: INNER_PRODUCT {lists} }}')
    assert param == net(f'layer {{ name: "l" type: "InnerProduct" {specs} }}')


def test_v1_keeps_the_rest_of_the_net():
    rest = 'name: "n" state { phase: TEST level: 2 stage: "s" } force_backward: true debug_info: true input_dim: 3 '
    param, notes = after(rest + "layers { type: RELU }", file="n.prototxt")
    assert param == net(rest + 'layer { type: "ReLU" }')
    assert notes == [
        "Attempting to upgrade input file specified using deprecated V1LayerParameter: n.prototxt",
        "Successfully upgraded file specified using deprecated V1LayerParameter",
    ]


# --- input fields, BatchNorm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "shapes"),
    [
        (
            "input: 'a' input: 'b' " + "input_dim: 1 " * 4 + "input_dim: 2 " * 4,
            ["dim: [1, 1, 1, 1]", "dim: [2, 2, 2, 2]"],
        ),
        ("input: 'a' input: 'b' input_shape { dim: 3 } input_shape { }", ["dim: 3", ""]),
        ("input: 'a' input_shape { dim: 3 } input_dim: 9", ["dim: 3"]),  # input_shape wins
        ("input: 'a' input_shape { dim: 3 } input_shape { dim: 4 }", ["dim: 3"]),
        ("input: 'a'" + "input_dim: 5 " * 9, ["dim: [5, 5, 5, 5]"]),
    ],
)
def test_input_fields_become_one_first_layer(fields, shapes):
    relu = 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }'
    tops = " ".join(f'top: "{name}"' for name in "ab"[: len(shapes)])
    blocks = " ".join(f"shape {{ {shape} }}" for shape in shapes)
    param, notes = after(f"{fields} {relu}")
    assert param == net(f'layer {{ name: "input" type: "Input" {tops} input_param {{ {blocks} }} }}' + relu)
    assert [note.level for note in notes] == ["I", "I"]


def test_inputs_without_a_shape_are_dropped():
    """Old models say which blobs the net was given, but not how large they were."""
    assert after('name: "n" input: "data" layer { name: "r" }')[0] == net('name: "n" layer { name: "r" }')


def test_batch_norm_with_three_param_entries_does_not_train_its_statistics():
    three = 'param { name: "m" } param { lr_mult: 2 decay_mult: 1 } param { lr_mult: 0 }'
    zero = "lr_mult: 0 decay_mult: 0"
    others = 'layer { type: "BatchNorm" param { } param { } } layer { type: "Scale" param { } param { } param { } }'
    param, notes = after(f'layer {{ type: "BatchNorm" {three} }}' + others)
    today = f'layer {{ type: "BatchNorm" param {{ name: "m" {zero} }} param {{ {zero} }} param {{ {zero} }} }}'
    assert param == net(today + others)
    assert len(notes) == 2
    assert after(today)[1] == []


# --- what has no meaning ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('layers { type: RELU }\nlayer { type: "ReLU" }',
         "n.prototxt: Refusing to upgrade inconsistent NetParameter input; the definition includes both 'layer' and "
         "'layers' fields - write all of them as layer { type: \"...\" }"),
        (X4 + v0("relu") + v0("cnov"),
         "n.prototxt:3:1: Unknown layer name: cnov (layer 'cnov_1') - did you mean 'conv'?"),
        (X4 + v0("relu", wires='bottom: "q"'), "n.prototxt:2:1: Unknown blob input q to layer 'relu_1'"),
        (PADDED + v0("relu", wires='bottom: "p"'),
         "n.prototxt:3:1: Padding layer input to non-convolutional / non-pooling layer type 'relu' (layer 'relu_1' "
         "after padding layer 'padding_1')"),
        (PADDED + v0("conv", wires='bottom: "p" bottom: "x"'),
         "n.prototxt:3:1: after padding a layer takes a single blob as input, found 2 (layer 'conv_1' after padding "
         "layer 'padding_1')"),
        (X4 + v0("padding", "", 'bottom: "x" bottom: "x" top: "p"') + v0("conv", wires='bottom: "p"'),
         "n.prototxt:2:1: a padding layer takes a single blob as input, found 2 (layer 'conv_1' after padding layer "
         "'padding_1')"),
        (X4 + v0("padding", "", 'bottom: "x" top: "p" top: "q"') + v0("conv", wires='bottom: "p"'),
         "n.prototxt:2:1: a padding layer makes a single blob as output, found 2 (layer 'conv_1' after padding layer "
         "'padding_1')"),
        ('input: "a" input: "b" input_shape { dim: 1 }',
         "n.prototxt: 2 inputs need as many input_shape blocks, found 1"),
        ('input: "a" input: "b" ' + "input_dim: 1 " * 7,
         "n.prototxt: 2 input(s) need 8 values of input_dim, 4 for each, found 7"),
    ],
)  # fmt: skip
def test_refused(source, message):
    positions = text.positions(source, "layers")
    with pytest.raises(UserError) as error:
        upgrade_net(net(source), "n.prototxt", positions)
    assert str(error.value) == message
    with pytest.raises(UserError) as error:
        upgraded(net(source))
    assert str(error.value) == message.partition(": ")[2]


# --- solvers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "today"),
    [("SGD", "SGD"), ("NESTEROV", "Nesterov"), ("ADAGRAD", "AdaGrad"), ("RMSPROP", "RMSProp"),
     ("ADADELTA", "AdaDelta"), ("ADAM", "Adam")],
)  # fmt: skip
def test_solver_types(old, today):
    solver = text.parse(f"solver_type: {old} base_lr: 0.1", pb.SolverParameter)
    notes = upgrade_solver(solver, "s.prototxt")
    assert solver == text.parse(f'type: "{today}" base_lr: 0.1', pb.SolverParameter)
    assert notes == [
        "Attempting to upgrade input file specified using deprecated 'solver_type' field (enum): s.prototxt",
        "Successfully upgraded file specified using deprecated 'solver_type' field (enum) to 'type' field (string).",
    ]
    assert upgrade_solver(solver) == []


def test_a_solver_with_both_types_is_refused():
    both = pb.SolverParameter(solver_type="SGD", type="SGD")
    with pytest.raises(UserError, match=r"^s: Failed to upgrade solver: solver_type and type cannot both be given - "):
        upgrade_solver(both, "s")


def test_nets_inside_a_solver_are_upgraded():
    fields = ("net_param", "train_net_param", "test_net_param", "test_net_param")
    solver = text.parse("".join(f"{field} {{ layers {{ type: RELU }} }}" for field in fields), pb.SolverParameter)
    assert outdated_solver(solver) == [f"V1LayerParameter in {field}" for field in fields]
    notes = upgrade_solver(solver, "s.prototxt")
    assert solver == text.parse("".join(f'{f} {{ layer {{ type: "ReLU" }} }}' for f in fields), pb.SolverParameter)
    assert notes[0].endswith("V1LayerParameter: s.prototxt: net_param")
    assert outdated_solver(solver) == []


# --- one net in three formats ----------------------------------------------------------------------------------------

HEAD = 'name: "three" input: "data" input_dim: 2 input_dim: 3 input_dim: 12 input_dim: 12\n'
GAUSS = 'weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "constant" value: 0.2 }'
V0_NET = HEAD + (
    v0("padding", "pad: 1", 'bottom: "data" top: "padded"')
    + v0("conv", f"num_output: 4 kernelsize: 3 stride: 1 {GAUSS} blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0",
         'bottom: "padded" top: "a"')
    + v0("relu", "", 'bottom: "a" top: "a"') + v0("pool", "pool: MAX kernelsize: 3 stride: 2", 'bottom: "a" top: "b"')
    + v0("lrn", "local_size: 3 alpha: 0.001 beta: 0.75", 'bottom: "b" top: "c"')
    + v0("innerproduct", f"num_output: 5 {GAUSS} blobs_lr: 1", 'bottom: "c" top: "d"')
    + v0("dropout", "dropout_ratio: 0.5", 'bottom: "d" top: "d"') + v0("softmax", "", 'bottom: "d" top: "prob"')
)  # fmt: skip
V1_NET = (
    HEAD
    + f"""
layers {{ name: "conv_1" type: CONVOLUTION bottom: "data" top: "a" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  convolution_param {{ num_output: 4 pad: 1 kernel_size: 3 stride: 1 {GAUSS} }} }}
layers {{ name: "relu_1" type: RELU bottom: "a" top: "a" }}
layers {{ name: "pool_1" type: POOLING bottom: "a" top: "b" pooling_param {{ pool: MAX kernel_size: 3 stride: 2 }} }}
layers {{ name: "lrn_1" type: LRN bottom: "b" top: "c" lrn_param {{ local_size: 3 alpha: 0.001 beta: 0.75 }} }}
layers {{ name: "innerproduct_1" type: INNER_PRODUCT bottom: "c" top: "d" blobs_lr: 1
  inner_product_param {{ num_output: 5 {GAUSS} }} }}
layers {{ name: "dropout_1" type: DROPOUT bottom: "d" top: "d" dropout_param {{ dropout_ratio: 0.5 }} }}
layers {{ name: "softmax_1" type: SOFTMAX bottom: "d" top: "prob" }}
"""
)
TODAY = 'name: "three" ' + (
    'layer { name: "input" type: "Input" top: "data" input_param { shape { dim: [2, 3, 12, 12] } } }'
    + layer("conv_1", "Convolution", "data", "a",
            "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 } "
            f"convolution_param {{ num_output: 4 pad: 1 kernel_size: 3 stride: 1 {GAUSS} }}")
    + layer("relu_1", "ReLU", "a", "a")
    + layer("pool_1", "Pooling", "a", "b", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }")
    + layer("lrn_1", "LRN", "b", "c", "lrn_param { local_size: 3 alpha: 0.001 beta: 0.75 }")
    + layer("innerproduct_1", "InnerProduct", "c", "d",
            f"param {{ lr_mult: 1 }} inner_product_param {{ num_output: 5 {GAUSS} }}")
    + layer("dropout_1", "Dropout", "d", "d", "dropout_param { dropout_ratio: 0.5 }")
    + layer("softmax_1", "Softmax", "d", "prob")
)  # fmt: skip


def test_one_net_in_three_formats_is_one_net():
    assert after(V0_NET)[0] == after(V1_NET)[0] == net(TODAY)
    wanted = None
    for source in (V0_NET, V1_NET, TODAY):
        built = net_of(source, pb.TEST, seed=3)
        built.blobs["data"].data[...] = np.random.default_rng(0).normal(size=(2, 3, 12, 12))
        found = built.forward()["prob"].copy()
        wanted = found if wanted is None else wanted
        np.testing.assert_array_equal(found, wanted)


def test_a_net_is_not_changed_by_building_it():
    param = net(V1_NET)
    before = param.SerializeToString(deterministic=True)
    net_of(V1_NET)
    upgraded(param)
    assert param.SerializeToString(deterministic=True) == before
    current = net(TODAY)
    assert upgraded(current)[0] is current


def test_a_net_of_v1_that_is_fed_from_memory():
    built = net_of(
        'layers { name: "m" type: MEMORY_DATA top: "x" top: "label" '
        "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 } }"
        'layers { name: "ip" type: INNER_PRODUCT bottom: "x" top: "y" inner_product_param { num_output: 2 } }'
        'layers { name: "loss" type: SOFTMAX_LOSS bottom: "y" bottom: "label" top: "loss" }'
    )
    assert [layer.type for layer in built.layers] == ["MemoryData", "InnerProduct", "SoftmaxWithLoss"]
    assert built.blobs["x"].data.shape == (2, 3, 4, 5)


# --- anything at all -------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "b", "c", ""])
_NUMBERS = st.integers(0, 5)


def _values(field):
    """Return a strategy for small values of one field."""
    if field.enum_type:
        return st.sampled_from(sorted(field.enum_type.values_by_number))
    if field.type == field.TYPE_STRING:
        kinds = ["conv", "pool", "padding", "relu", "data", "BatchNorm", "ReLU", "a", "b", "unheard of"]
        return st.sampled_from(kinds) if field.name == "type" else _NAMES
    return st.booleans() if field.type == field.TYPE_BOOL else _NUMBERS


@st.composite
def _messages(draw, descriptor, depth):
    message = getattr(pb, descriptor.name)()
    fields = [f for f in descriptor.fields if depth > 1 or not f.message_type]
    likely = [f for f in fields if f.name in ("layer", "layers", "type", "bottom", "top", "input", "param", "pad")]
    choice = st.sampled_from(likely) | st.sampled_from(fields) if likely else st.sampled_from(fields)
    for field in draw(st.lists(choice, max_size=5, unique_by=lambda f: f.name)) if fields else ():
        values = _messages(field.message_type, depth - 1) if field.message_type else _values(field)
        if schema.is_repeated(field):
            getattr(message, field.name).extend(draw(st.lists(values, max_size=4)))
        elif field.message_type:
            getattr(message, field.name).CopyFrom(draw(values))
            getattr(message, field.name).SetInParent()
        else:
            setattr(message, field.name, draw(values))
    return message


@settings(max_examples=150, deadline=None)
@given(_messages(pb.NetParameter.DESCRIPTOR, 4))
def test_any_net_is_upgraded_once_or_refused_in_one_line(param):
    positions = [(i, 1) for i in range(len(param.layers) + len(param.layer))]
    try:
        notes = upgrade_net(param, "n", positions)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert len(positions) == len(param.layer)
    assert not len(param.layers)
    assert all(note and note.level in "IE" for note in notes)
    once = param.SerializePartialToString(deterministic=True)
    assert upgrade_net(param) == []
    assert param.SerializePartialToString(deterministic=True) == once


@settings(max_examples=50, deadline=None)
@given(_messages(pb.SolverParameter.DESCRIPTOR, 4))
def test_any_solver_is_upgraded_once_or_refused_in_one_line(param):
    try:
        upgrade_solver(param, "s")
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert outdated_solver(param) == []
    once = param.SerializePartialToString(deterministic=True)
    assert upgrade_solver(param) == []
    assert param.SerializePartialToString(deterministic=True) == once


def test_binary_models_of_every_format_are_upgraded(tmp_path):
    for number, source in enumerate((V0_NET, V1_NET)):
        path = tmp_path / str(number)
        binary.write(path, net(source))
        model = binary.read(path, pb.NetParameter)
        upgrade_net(model)
        assert model == net(TODAY)
