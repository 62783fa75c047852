"""Studies, node sets, strategies and the training loop over MPI ranks."""

if not __name__.startswith("batchbrew."):
    raise ImportError("import this folder as batchbrew.runner: run 'pip install -e .' in the project first")
