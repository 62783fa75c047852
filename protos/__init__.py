"""Caffe's messages, their text and their binary form; imports nothing else of batchbrew."""

if not __name__.startswith("batchbrew."):
    raise ImportError("import this folder as batchbrew.protos: run 'pip install -e .' in the project first")
