#!/bin/sh
# Make the virtual environment: pinned packages, MPI from wheels, compiled kernels. Says what it finds and does.
set -eu
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}

say() { printf '%s\n' "$*"; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    { say "✗ needs Python 3.11 or later, '$PYTHON' is $("$PYTHON" --version 2>&1 || true); set PYTHON=..."; exit 2; }
say "✓ $("$PYTHON" --version)"
if command -v "${CC:-cc}" >/dev/null 2>&1; then
    say "✓ C compiler: $("${CC:-cc}" --version | head -n 1)"
else
    say "✗ no C compiler: the NumPy reference kernels will serve (slower); install gcc or clang and run make again"
fi
[ -x "$VENV/bin/python" ] || { say "  making $VENV"; "$PYTHON" -m venv "$VENV"; }
say "  installing pinned packages (a minute or two the first time)"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT="$PWD/constraints.txt"
"$VENV/bin/python" -m pip install --quiet --editable '.[mpi,dev]'
say "✓ MPI: $("$VENV/bin/mpiexec" --version 2>/dev/null | head -n 1 || echo 'none: runs on one node only')"
kernels=$("$VENV/bin/python" -c 'from batchbrew.solver.kernels import available; print(", ".join(available()))')
case $kernels in
reference) say "✗ kernels: reference only (compiled ones need a C compiler; $VENV/bin/python setup.py build_ext shows why)" ;;
*) say "✓ kernels: $kernels" ;;
esac
