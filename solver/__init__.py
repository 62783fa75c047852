"""The layer engine: nets compiled to programs over NumPy buffers, update rules, data. Knows no MPI and no clock."""

if not __name__.startswith("batchbrew."):
    raise ImportError("import this folder as batchbrew.solver: run 'pip install -e .' in the project first")
