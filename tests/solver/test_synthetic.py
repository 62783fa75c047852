"""Made-up samples in the place of a net's data."""

from __future__ import annotations

import pytest

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.net import Net
from batchbrew.solver.synthetic import synthesize

TOPS = 'name: "d" top: "x" top: "y"'


def shapes(layer: str, *given: object) -> list[list[int]]:
    """Return the shapes that stand for the tops of a layer."""
    net = text.parse(f"layer {{ {TOPS} {layer} }}", pb.NetParameter)
    synthesize(net, "net", *given)
    assert net.layer[0].type == "DummyData"
    return [list(shape.dim) for shape in net.layer[0].dummy_data_param.shape]


DATA = 'type: "Data" data_param { source: "none" batch_size: 4 }'


@pytest.mark.parametrize(
    ("layer", "given", "expected"),
    [
        (DATA, ((1, 5, 6),), [[4, 1, 5, 6], [4]]),
        (DATA, ((1, 5, 6), 2), [[2, 1, 5, 6], [2]]),
        (DATA + "transform_param { crop_size: 7 }", (), [[4, 3, 7, 7], [4]]),
        (DATA + "transform_param { crop_size: 7 }", ((1, 8, 8),), [[4, 1, 7, 7], [4]]),
        (DATA + "transform_param { crop_size: 7 force_gray: true }", (), [[4, 1, 7, 7], [4]]),
        (DATA + "transform_param { crop_size: 7 mean_value: 1 }", (), [[4, 3, 7, 7], [4]]),
        (DATA + "transform_param { crop_size: 7 mean_value: 1 mean_value: 2 }", (), [[4, 2, 7, 7], [4]]),
        (DATA, ({"x": (2, 3), "y": (5,)},), [[4, 2, 3], [4, 5]]),
        ('type: "ImageData" image_data_param { batch_size: 3 new_height: 4 new_width: 5 }', (), [[3, 3, 4, 5], [3]]),
        ('type: "ImageData" image_data_param { is_color: false } transform_param { crop_size: 2 }', (),
         [[1, 1, 2, 2], [1]]),
        ('type: "WindowData" window_data_param { batch_size: 2 } transform_param { crop_size: 6 }', ((1, 9, 9),),
         [[2, 3, 6, 6], [2]]),
        ('type: "MemoryData" memory_data_param { batch_size: 2 channels: 1 height: 3 width: 4 }', ((3, 9, 9),),
         [[2, 1, 3, 4], [2]]),
        ('type: "HDF5Data" top: "z" hdf5_data_param { batch_size: 5 }', ((4,),), [[5, 4], [5], [5]]),
        ('type: "HDF5Data" top: "z" hdf5_data_param { batch_size: 5 }', ({"x": (7,), "z": (2, 2)},),
         [[5, 7], [5], [5, 2, 2]]),
        ('type: "Python" python_param { module: "nowhere" layer: "Data" }', ((3, 2, 2), 6), [[6, 3, 2, 2], [6]]),
    ],
)  # fmt: skip
def test_shapes(layer: str, given: tuple[object, ...], expected: list[list[int]]) -> None:
    assert shapes(layer, *given) == expected


def test_a_shape_nobody_knows() -> None:
    for given in ((), ({"y": (2,)},)):
        with pytest.raises(UserError) as caught:
            shapes(DATA, *given)
        assert str(caught.value) == (
            "net: layer 'd' (Data) does not say how large its pictures are: give the shape, as in --shape 3,32,32"
        )


def test_the_rest_of_the_net_stays() -> None:
    source = f"""
    layer {{ {TOPS} {DATA} include {{ phase: TRAIN stage: "a" }} }}
    layer {{ {TOPS} {DATA.replace("4", "2")} exclude {{ phase: TRAIN }} }}
    layer {{ name: "p" type: "Python" bottom: "x" top: "p" python_param {{ module: "m" layer: "L" }} }}
    layer {{ name: "i" type: "Input" top: "i" input_param {{ shape {{ dim: 9 }} }} }}
    """
    net = text.parse(source, pb.NetParameter)
    before = pb.NetParameter()
    before.CopyFrom(net)
    synthesize(net, "net", (1, 2, 3))
    assert list(net.layer)[2:] == list(before.layer)[2:]
    del net.layer[2:]
    train, test = Net(net, pb.TRAIN, stages=["a"]), Net(net, pb.TEST)
    train.forward()
    test.forward()
    assert train.blobs["x"].shape == (4, 1, 2, 3)
    assert test.blobs["x"].shape == (2, 1, 2, 3)
    assert test.blobs["x"].data.std() > 0.3
    assert not test.blobs["y"].data.any()
