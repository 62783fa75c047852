"""NumPy reference of every compiled kernel: the same names and arguments, written to be read, for any float type.

Axis letters: N samples, C input channels, K output channels, H and W height and width, R and Q rows and columns of an
output, U and V rows and columns of a filter or window. ``x``, ``y``, ``w`` are data, ``dx``, ``dy``, ``dw`` gradients.
Pictures are (N, C, H, W) views; memory layout is of no concern here.
Each file mirrors the C header of the same name; a kernel without a C version runs from here in compiled programs too.
"""

from importlib import import_module
from pkgutil import iter_modules

from batchbrew.solver.kernels.reference.table import KERNELS

__all__ = ["KERNELS"]

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
