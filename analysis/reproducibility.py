"""What is needed to repeat a study: versions, machine, data, seeds and command, from the headers of its runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

from batchbrew.analysis.intervals import DRAWS, SEED
from batchbrew.analysis.records import Header, Run, StudyData
from batchbrew.analysis.tables import View
from batchbrew.analysis.wording import number

SOFTWARE = ("batchbrew", "python", "numpy", "mpi4py", "mpi", "kernels", "blas")
MACHINE = ("cpu", "cores", "threads", "affinity", "oversubscribed")


def facts(study: StudyData) -> list[tuple[str, str]]:
    """Return (what, value) pairs; a fact in which the runs differ lists every value."""
    headers = [run.header for run in study.runs if run.header is not None]
    if not headers:
        return [("recorded", "nothing yet: no run has started")]
    found = [*_content(study, headers), *_environment(headers)]
    found.append(("report", f"bootstrap of {DRAWS} draws with the fixed seed {SEED}"))
    return found


def view(study: StudyData) -> View:
    """Return the facts as a table."""
    return View(
        caption="What the runs recorded about themselves.",
        columns=("what", "recorded"),
        rows=tuple(facts(study)),
        numeric=(False, False),
    )


def _content(study: StudyData, headers: list[Header]) -> Iterator[tuple[str, str]]:
    yield "net", _distinct([_net(h) for h in headers])
    yield "data set", _distinct([_dataset(h) for h in headers])
    specs = [run.spec for run in study.runs if run.spec is not None]
    for key, name in (("net", "net file"), ("solver", "solver file"), ("data", "data source")):
        yield name, _distinct([str(spec.raw.get(key, "")) for spec in specs])
    yield "stop", _distinct([json.dumps(spec.raw.get("stop"), sort_keys=True) for spec in specs])
    yield "evaluated every", _distinct([f"{spec.raw.get('evaluate_every_samples')} samples" for spec in specs])
    yield "seeds", ", ".join(str(s) for s in sorted({run.seed for run in study.runs}))
    yield "batch identities", _distinct([_identity(run) for run in study.runs if run.header], limit=12)
    yield "comparable", _distinct([spec.comparable for spec in specs])


def _environment(headers: list[Header]) -> Iterator[tuple[str, str]]:
    environments = [h.environment for h in headers]
    for key in (*SOFTWARE, *MACHINE):
        values = [_text(e[key]) for e in environments if e.get(key) is not None]
        if values:
            yield key, _distinct(values)
    yield "hosts", ", ".join(sorted({str(h) for e in environments for h in e.get("hosts") or ()})) or "not recorded"
    revisions = [e.get("git") or {} for e in environments]
    yield (
        "git",
        _distinct(
            [
                f"{g.get('sha')}{' with uncommitted changes' if g.get('dirty') else ''}" if g else "none"
                for g in revisions
            ]
        ),
    )
    yield (
        "command",
        _distinct([_text(e["command"]) for e in environments if e.get("command")], limit=3) or "not recorded",
    )


def _net(header: Header) -> str:
    net = header.net
    flops = net.get("flops_per_sample")
    work = f", {number(flops / 1e6)} MFLOP a sample" if isinstance(flops, (int, float)) else ""
    return f"{net.get('name')}, {net.get('parameters')} parameters{work}"


def _dataset(header: Header) -> str:
    data = header.dataset
    return f"{data.get('name')}: {data.get('train')} to train, {data.get('test')} to test, {data.get('digest')}"


def _identity(run: Run) -> str:
    return run.header.identity if run.header else ""


def _text(value: object) -> str:
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        # Thread pools as threadpoolctl reports them: the library, its version and its threads are what matters.
        return ", ".join(
            f"{v.get('internal_api')} {v.get('version')} with {v.get('num_threads')} threads" for v in value
        )
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return " ".join(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _distinct(values: list[str], limit: int = 6) -> str:
    kinds = sorted({v for v in values if v}, key=lambda v: (len(v), v))
    more = f"; and {len(kinds) - limit} more" if len(kinds) > limit else ""
    return "; ".join(kinds[:limit]) + more
