"""Between arrays and the messages that hold them: BlobProto, BlobProtoVector, Datum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.solver.data import images

Array = NDArray[Any]


def blobproto_to_array(blob: pb.BlobProto, return_diff: bool = False) -> Array:
    """Return the values of ``blob`` (or its gradients) in its shape, which may be one of Caffe's legacy four axes.

    float32, or float64 where the blob holds doubles. Raises ValueError if shape and number of values disagree.

    >>> blobproto_to_array(array_to_blobproto([[1.0, 2.0]]))
    array([[1., 2.]], dtype=float32)
    """
    double, single = (blob.double_diff, blob.diff) if return_diff else (blob.double_data, blob.data)
    shape = binary.blob_shape(blob)
    values = np.array(double, np.float64) if double else np.array(single, np.float32)
    if values.size != math.prod(shape):
        raise ValueError(f"the blob holds {values.size} values, its shape {shape} takes {math.prod(shape)}")
    return values.reshape(shape)


def array_to_blobproto(arr: ArrayLike, diff: ArrayLike | None = None) -> pb.BlobProto:
    """Return the blob of an array of any shape, with gradients of the same shape where given."""
    return binary.array_to_blob(arr, diff)


def arraylist_to_blobprotovector_str(arraylist: Sequence[ArrayLike]) -> bytes:
    """Return the serialized BlobProtoVector of some arrays."""
    return pb.BlobProtoVector(blobs=[array_to_blobproto(array) for array in arraylist]).SerializeToString()


def blobprotovector_str_to_arraylist(text: bytes) -> list[Array]:
    """Return the arrays in a serialized BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in pb.BlobProtoVector.FromString(text).blobs]


def array_to_datum(arr: ArrayLike, label: int | None = None) -> pb.Datum:
    """Return the record of an array (C, H, W): bytes stay bytes, other numbers are stored as floats.

    Raises ValueError for another number of axes.

    >>> array_to_datum(np.zeros((1, 2, 2), np.uint8), 7).label
    7
    """
    array = np.asarray(arr)
    if array.ndim != 3:
        raise ValueError(f"Incorrect array shape: a datum has 3 axes (C, H, W), found {array.shape}")
    datum = pb.Datum(channels=array.shape[0], height=array.shape[1], width=array.shape[2])
    if array.dtype == np.uint8:
        datum.data = array.tobytes()
    else:
        datum.float_data.extend(array.astype(np.float64).ravel().tolist())
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum: pb.Datum) -> Array:
    """Return the array (C, H, W) of a record: uint8 of its bytes or of its JPEG or PNG file, else float64.

    Raises ValueError if shape and number of values disagree.
    """
    if datum.encoded:
        return images.decode(datum.data, None)
    shape = (datum.channels, datum.height, datum.width)
    values: Array = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float64)
    if values.size != math.prod(shape):
        raise ValueError(f"the datum holds {values.size} values, its shape {shape} takes {math.prod(shape)}")
    return values.reshape(shape).copy()
