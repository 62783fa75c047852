"""``caffe.io``: arrays and messages, pictures, and the Transformer between them and a net."""

from batchbrew.solver.pycaffe.arrays import (
    array_to_blobproto,
    array_to_datum,
    arraylist_to_blobprotovector_str,
    blobproto_to_array,
    blobprotovector_str_to_arraylist,
    datum_to_array,
)
from batchbrew.solver.pycaffe.pictures import load_image, oversample, resize_image
from batchbrew.solver.pycaffe.proto import caffe_pb2
from batchbrew.solver.pycaffe.transformer import Transformer

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]
