"""The environment variables of a job."""

from __future__ import annotations

import re

from batchbrew.errors import UserError

# BLAS libraries and OpenMP each read their own; one left out takes every core of the machine for every rank.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def variable_name(name: str, where: str) -> str:
    """Return ``name`` if a shell can export it; ``where`` begins the UserError otherwise.

    >>> variable_name("OMP_NUM_THREADS", "site 'x'")
    'OMP_NUM_THREADS'
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{where}: {name!r} is no name of an environment variable: "
            "use letters, digits and _, not starting with a digit"
        )
    return name
