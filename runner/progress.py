"""A progress bar that reads the record of a run while other processes write it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from batchbrew.runner.launch import Tick
from batchbrew.runner.spec import RunSpec


class Follower:
    """Read the lines that were added to a record since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """Yield complete new lines; a record that a resume has cut is read again from its beginning."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            if stream.seek(0, 2) < self._offset:
                self._offset = 0
            stream.seek(self._offset)
            for raw in stream:
                if not raw.endswith(b"\n"):
                    return
                try:
                    line = json.loads(raw)
                except ValueError:  # not the beginning of a line any more
                    self._offset = 0
                    return
                self._offset += len(raw)
                yield line


def share_done(spec: RunSpec, line: dict[str, Any]) -> float:
    """Return how much of the run is done, by the limit that is nearest: 0 to 1."""
    stop, shares = spec.stop, [0.0]
    if stop.updates:
        shares.append(line["update"] / stop.updates)
    if stop.epochs:
        shares.append(line["samples"] / (stop.epochs * spec.train_samples))
    if stop.seconds:
        shares.append(line["train_seconds"] / stop.seconds)
    return min(1.0, max(shares))


@contextmanager
def bar(spec: RunSpec, record: Path, title: str) -> Iterator[Tick]:
    """Show a progress bar while the ``with`` block runs; the function it yields updates it.

    Nothing is shown where stderr is no terminal. The bar lives in the process that started the ranks and draws only
    when told to, so it takes no time from theirs.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=12), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[facts]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task(title, total=1.0, facts="starting")
        follower = Follower(record)
        facts: dict[str, str] = {}

        def tick() -> None:
            for line in follower.new_lines():
                facts.update(_facts(spec, line))
                if line["kind"] in ("segment", "evaluation"):
                    progress.update(task, completed=share_done(spec, line), facts="  ".join(facts.values()))
            progress.refresh()

        yield tick


def _facts(spec: RunSpec, line: dict[str, Any]) -> dict[str, str]:
    if line["kind"] == "segment":
        speed = line["updates"] * spec.batch / max(line["seconds"], 1e-9)
        loss = "nan" if line["loss"] is None else f"{line['loss']:.3f}"
        return {"speed": f"{speed:,.0f} samples/s", "loss": f"loss {loss}"}
    if line["kind"] == "evaluation":
        value = line["outputs"].get(spec.metric)
        return {"metric": f"{spec.metric} {value:.4f}"} if value is not None else {}
    return {}
