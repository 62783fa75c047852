"""``caffe.proto.caffe_pb2``: Caffe's messages and enums, those of batchbrew's own descriptor pool.

Text and binary formats are Caffe's; a message of a real caffe_pb2 is exchanged as bytes, not with ``CopyFrom``.

>>> SolverParameter(type="Adam").type, TRAIN, LossParameter.VALID
('Adam', 0, 1)
"""

from batchbrew.protos.messages import *  # noqa: F403
from batchbrew.protos.messages import NetParameter

DESCRIPTOR = NetParameter.DESCRIPTOR.file
