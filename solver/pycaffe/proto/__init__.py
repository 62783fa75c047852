"""``caffe.proto``: the package whose module ``caffe_pb2`` holds Caffe's messages."""

from batchbrew.solver.pycaffe.proto import caffe_pb2

__all__ = ["caffe_pb2"]
