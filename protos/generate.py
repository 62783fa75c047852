"""Bring brew.desc and messages.pyi up to date with brew.proto: ``python -m batchbrew.protos.generate``."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from batchbrew.protos.compiler import compile_proto
from batchbrew.protos.files import write_bytes
from batchbrew.protos.stubs import stub

FOLDER = Path(__file__).parent


def outputs(source: str) -> dict[str, bytes]:
    """Return the contents of the files made from the text of brew.proto, by file name."""
    file = compile_proto(source, "brew.proto")
    descriptor_set = FileDescriptorSet(file=[file]).SerializeToString(deterministic=True)
    return {"brew.desc": descriptor_set, "messages.pyi": stub(file).encode()}


def main() -> None:
    """Write the files next to brew.proto."""
    for name, content in outputs((FOLDER / "brew.proto").read_text(encoding="utf-8")).items():
        write_bytes(FOLDER / name, content)


if __name__ == "__main__":
    main()
