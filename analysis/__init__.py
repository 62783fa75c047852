"""From recorded runs to a speedup report; reads files and imports no other part of batchbrew."""

if not __name__.startswith("batchbrew."):
    raise ImportError("import this folder as batchbrew.analysis: run 'pip install -e .' in the project first")
