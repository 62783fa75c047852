"""Build the compiled kernels; without a C compiler the NumPy reference kernels serve."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = "src/batchbrew/solver/kernels"

compiled = Extension(
    "batchbrew.solver.kernels._compiled",
    sources=[f"{KERNELS}/{name}" for name in ("_compiled.pyx", "avx512.c", "avx2.c", "baseline.c")],
    depends=[f"{KERNELS}/{path.name}" for path in Path(KERNELS).glob("*.h")],
    extra_compile_args=["-O3", "-fno-math-errno", "-fno-trapping-math", "-std=gnu11", "-pthread"],
    extra_link_args=["-pthread"],
)


class OptionalBuild(build_ext):
    """Go on without the kernels where they cannot be compiled (`optional` alone does not, in an editable install)."""

    def build_extensions(self) -> None:
        """Compile, or warn and leave them out of what is installed."""
        try:
            super().build_extensions()
        except Exception as problem:  # whatever a missing or broken compiler raises
            self.warn(f"the kernels were not compiled, the NumPy reference will serve: {problem}")
            self.extensions = []


setup(cmdclass={"build_ext": OptionalBuild}, ext_modules=cythonize([compiled], language_level=3))
