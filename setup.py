"""Build the compiled kernels; without a C compiler the NumPy reference kernels serve."""

from Cython.Build import cythonize
from setuptools import Extension, setup

KERNELS = "src/batchbrew/solver/kernels"

compiled = Extension(
    "batchbrew.solver.kernels._compiled",
    sources=[f"{KERNELS}/{name}" for name in ("_compiled.pyx", "avx512.c", "avx2.c", "baseline.c")],
    depends=[
        f"{KERNELS}/{name}"
        for name in (
            "brew.h",
            "isa.h",
            "gemm.h",
            "conv.h",
            "dense.h",
            "pool.h",
            "norm.h",
            "neuron.h",
            "loss.h",
            "update.h",
        )
    ],
    extra_compile_args=["-O3", "-fno-math-errno", "-fno-trapping-math", "-std=gnu11"],
    optional=True,
)

setup(ext_modules=cythonize([compiled], language_level=3))
