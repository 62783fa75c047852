"""What the measuring processes share: requests in and answers out as lines of JSON, and steps timed for a while.

Standard library only: the peer's interpreter need not have anything else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

END = {"ask": "end"}  # a line of its own, because not every mpiexec hands the end of its input on
MOST_STEPS = 5000
WARM_UP = 0.3  # of the seconds of measuring

Run = Callable[[int], list[float]]  # makes so many training steps and returns the seconds of each


def serve(
    lines: Iterable[str], answer: Callable[[dict[str, Any]], dict[str, Any]], rank: int = 0, ranks: int = 1
) -> None:
    """Answer every line of ``lines`` until there are none or one says END; of several ranks the first answers.

    An exception is an answer, too, but ends the process where others wait for it.
    """
    for line in lines:
        request = json.loads(line)
        if request == END:
            return
        try:
            reply = answer(request)
        except Exception as problem:
            if ranks > 1:
                raise
            reply = {"error": f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"}
        if rank == 0:
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


def settle(run: Run, seconds: float) -> float:
    """Warm up for about 0.3 ``seconds``, at least one step; return the median seconds of a step so far."""
    first = run(1)[0]
    more = steps_in(WARM_UP * seconds, first)
    return median(run(more)) if more else first


def measure(run: Run, seconds: float, expected: float) -> float:
    """Return the median seconds of the steps of ``seconds``, at least one, if one takes about ``expected``."""
    return median(run(max(1, steps_in(seconds, expected))))


def steps_in(seconds: float, each: float) -> int:
    """Return how many steps of ``each`` seconds fit.

    >>> steps_in(1.0, 0.3), steps_in(1.0, 2.0), steps_in(1e9, 1.0)
    (3, 0, 5000)
    """
    return min(MOST_STEPS, int(seconds / max(each, 1e-9)))


def peak_bytes() -> int:
    """Return the most memory this process has held at once (resident), 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
