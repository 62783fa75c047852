"""Lines in the form of Caffe's log, so that scripts made for its logs read ours; and the clock they carry.

A line is ``Immdd hh:mm:ss.uuuuuu pid file:line] text`` on stderr: parsers split it at spaces, take the time from the
first two words and the text from what follows. The environment variable GLOG_minloglevel (0 info ... 3 fatal) hides
what is less severe.
"""

from __future__ import annotations

import math
import os
import sys
from datetime import datetime
from time import perf_counter

LEVELS = "IWEF"
LEAST_LEVEL = "GLOG_minloglevel"


def number(value: float) -> str:
    """Return ``value`` with six significant digits; never ``-nan``, which crashes the parsers of such logs.

    >>> number(0.00992565123), number(float("nan")), number(2.0)
    ('0.00992565', 'nan', '2')
    """
    return "nan" if math.isnan(value) else f"{value:.6g}"


def log(place: str, text: str, level: str = "I") -> None:
    """Write one message; ``place`` is the ``file:line`` of the source that users of Caffe know."""
    least = os.environ.get(LEAST_LEVEL, "0")
    if LEVELS.index(level) < (int(least) if least.isdecimal() else 0):
        return
    now = datetime.now()
    sys.stderr.write(f"{level}{now:%m%d %H:%M:%S.%f} {os.getpid():5d} {place}] {text}\n")
    sys.stderr.flush()


def seconds() -> float:
    """Return the reading of a clock that only goes forward."""
    return perf_counter()
