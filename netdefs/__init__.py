"""Nets, solvers and studies that come with batchbrew, as prototxt and YAML files."""

if not __name__.startswith("batchbrew."):
    raise ImportError("import this folder as batchbrew.netdefs: run 'pip install -e .' in the project first")
