"""The folder of one run: which file is which, and what state the run is in."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from batchbrew import atomic
from batchbrew.errors import UserError
from batchbrew.runner.record import plain, read_lines
from batchbrew.runner.spec import RunSpec, read_spec

LOCK_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class RunFolder:
    """<out>/runs/<run_id>: spec.json, copies of the prototxt files, record.jsonl, summary.json, state.h5, DONE."""

    path: Path

    @property
    def record(self) -> Path:
        """Return the path of the record."""
        return self.path / "record.jsonl"

    @property
    def done(self) -> bool:
        """Return whether the run has ended."""
        return (self.path / "DONE").exists()

    def create(self, spec: RunSpec, files: Mapping[str, str]) -> None:
        """Write the spec and the prototxt copies; a folder that holds another run is refused."""
        place = self.path / "spec.json"
        if place.exists() and (found := read_spec(place).run_id) != spec.run_id:
            raise UserError(
                f"{self.path}: holds another run ({found}, this one is {spec.run_id}): "
                f"use another --out (to go on from it: --snapshot {self.path / 'state.h5'})"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            atomic.write(self.path / name, text)
        atomic.write(place, spec.dumps())

    def spec(self) -> RunSpec:
        """Return the run's spec."""
        return read_spec(self.path / "spec.json")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, then DONE."""
        write_json(self.path / "summary.json", dict(summary))
        atomic.write(self.path / "DONE", "")

    def summary(self) -> dict[str, Any] | None:
        """Return summary.json of a finished run."""
        if not self.done:
            return None
        result: dict[str, Any] = json.loads((self.path / "summary.json").read_text(encoding="utf-8"))
        return result

    def progress(self) -> dict[str, Any] | None:
        """Return the last segment or evaluation in the record, None before the first."""
        last = None
        for line in read_lines(self.record):
            last = line if line["kind"] in ("segment", "evaluation") else last
        return last

    def status(self) -> str:
        """Return the outcome of a finished run, else ``running``, ``interrupted`` or ``missing``."""
        summary = self.summary()
        if summary is not None:
            return str(summary["outcome"])
        if not self.record.exists():
            return "missing"
        return "running" if self._locked() else "interrupted"

    def _locked(self) -> bool:
        place = self.path / ".lock"
        if not place.exists():
            return False
        with place.open("rb") as stream:
            return not _try_lock(stream.fileno(), fcntl.LOCK_SH)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder for writing; waits a moment for a run that is just ending, then raises UserError."""
        with (self.path / ".lock").open("ab") as stream:
            end = monotonic() + LOCK_PATIENCE_SECONDS
            while not _try_lock(stream.fileno(), fcntl.LOCK_EX):
                if monotonic() > end:
                    raise UserError(f"{self.path}: another process is writing this run: wait for it, or end it")
                sleep(0.1)
            for left_over in self.path.glob(".*.tmp"):  # of a process that was killed while it wrote
                left_over.unlink()
            yield


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: one writer a folder is then up to the user
    return True


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as JSON."""
    atomic.write(path, json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
