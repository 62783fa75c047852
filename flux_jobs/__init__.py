"""Job scripts for clusters: one file a scheduler."""

if not __name__.startswith("batchbrew."):
    raise ImportError("import this folder as batchbrew.flux_jobs: run 'pip install -e .' in the project first")
