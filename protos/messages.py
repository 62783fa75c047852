"""Caffe's messages as Python classes; messages.pyi lists them for editors and type checkers.

>>> from batchbrew.protos import messages as pb
>>> pb.LayerParameter(name="pool1", pooling_param={"pool": pb.PoolingParameter.AVE}).pooling_param.stride
1
"""

from __future__ import annotations

from batchbrew.protos.schema import namespace

_NAMES = namespace()
__all__ = sorted(_NAMES)  # noqa: PLE0605
globals().update(_NAMES)
