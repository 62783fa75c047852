"""Run spoilt files through everything that reads files: no crash, no hang, no traceback.

``python tests/fuzz/fuzz_campaign.py`` runs all targets; ``--target net --first 123 --cases 1 --show`` runs one case
again and prints the file. What fails is kept in ``fuzz_failures/``.
"""

from __future__ import annotations

import argparse
import json
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
SECONDS = 30.0  # for one case, on a busy machine
STARTUP = 120.0
Span = tuple[str, int, int]


@dataclass(frozen=True)
class Failure:
    """A case that crashed, hung or raised something else than UserError."""

    target: str
    case: int
    what: str

    @property
    def kind(self) -> str:
        """What failures of one cause have in common: the last place in our code, and the kind of exception."""
        places = re.findall(r'File ".*?/batchbrew/(\S+)", line (\d+)', self.what)
        last = self.what.strip().splitlines()[-1]
        return f"{':'.join(places[-1])}: {last.partition(':')[0]}" if places else re.sub(r"\d+", "N", last)


def campaign(
    spans: Sequence[Span],
    module: str = "fuzz_targets",
    seconds: float = SECONDS,
    tell: Callable[[str, int, str], None] = lambda target, case, said: None,
) -> list[Failure]:
    """Run the cases of ``spans``, (target, first, last), in workers that are replaced when they die."""
    failures: list[Failure] = []
    left = list(spans)
    while left:
        at, ended = _work(module, left, seconds, failures, tell)
        if not ended:
            break
        tell(*at, "bug")
        failures.append(Failure(*at, ended))
        done = next(i for i, (target, _, _) in enumerate(left) if target == at[0])
        again = (at[0], at[1] + 1, left[done][2])
        left = [span for span in (again, *left[done + 1 :]) if span[1] < span[2]]
    return failures


def _work(
    module: str, spans: Sequence[Span], seconds: float, failures: list[Failure], tell: Callable[[str, int, str], None]
) -> tuple[tuple[str, int], str]:
    """Run one worker to its end; return the last case it began, and why it ended if not because all was done."""
    at: tuple[str, int] | None = None
    for facts in _lines(module, spans, seconds):
        if "begin" in facts:
            at = (facts["target"], facts["begin"])
        elif "ended" in facts:
            if at is None:
                raise RuntimeError(f"the worker did not begin: {facts['ended']}")
            return at, facts["ended"]
        elif at is not None and "case" in facts:
            tell(*at, facts.get("said", "bug"))
            if "bug" in facts:
                failures.append(Failure(*at, facts["bug"]))
    return at or ("", 0), ""


def _lines(module: str, spans: Sequence[Span], seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what a worker says; at the end {"done": true}, or {"ended": why}."""
    arguments = [":".join(map(str, span)) for span in spans]
    with tempfile.TemporaryFile("w+") as complaints, subprocess.Popen(
        [sys.executable, str(HERE / "fuzz_worker.py"), module, *arguments],
        stdout=subprocess.PIPE, stderr=complaints, text=True,
    ) as worker:  # fmt: skip
        said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_collect, args=(worker.stdout, said), daemon=True).start()
        patience = STARTUP
        try:
            while line := said.get(timeout=patience):
                patience = seconds
                facts = json.loads(line)
                yield facts
                if "done" in facts:
                    return
            code = worker.wait()
            complaints.seek(0)
            why = f"the process died with {code}: {complaints.read()[-2000:]}" if code else "the process ended early"
            yield {"ended": why}
        except queue.Empty:
            yield {"ended": f"no answer in {patience:g} s"}
        finally:
            worker.kill()


def _collect(stream: IO[str], said: queue.Queue[str]) -> None:
    """Hand on the lines of ``stream``, then an empty one."""
    for line in stream:
        said.put(line)
    said.put("")


def shares(cases: int, names: Sequence[str]) -> list[Span]:
    """Return the spans of a campaign of so many cases in all, at least."""
    sys.path.insert(0, str(HERE))
    from fuzz_targets import TARGETS

    weights = {name: TARGETS.get(name).share for name in names or TARGETS.names()}
    return [(name, 0, -(-cases * weight // sum(weights.values()))) for name, weight in weights.items()]


def content(target: str, case: int) -> bytes:
    """Return the spoilt file of one case."""
    sys.path.insert(0, str(HERE))
    from fuzz_mutations import file_of
    from fuzz_targets import TARGETS

    with tempfile.TemporaryDirectory() as folder:
        kind = TARGETS.get(target)(Path(folder))
        return file_of(case, kind.seeds(), kind.ways, target)


def main() -> int:
    """Run a campaign and print what failed; the exit code is 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12_000, help="number of spoilt files in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first one of each target")
    parser.add_argument("--target", action="append", default=[], help="only this target (may be repeated)")
    parser.add_argument("--show", action="store_true", help="print the files and the answers")
    options = parser.parse_args()
    spans = [(name, options.first, options.first + count) for name, _, count in shares(options.cases, options.target)]
    total = sum(last - first for _, first, last in spans)
    tried: Counter[str] = Counter()
    taken: Counter[str] = Counter()

    def tell(target: str, case: int, said: str) -> None:
        tried[target] += 1
        taken[target] += said == "taken"
        if options.show:
            print(f"--- {target} {case}: {said}\n{content(target, case)[:5000]!r}")
        elif sys.stderr.isatty() or sum(tried.values()) % 1000 == 0:
            print(f"{sum(tried.values()):6d} of {total}  {target:20s}", end="\r", file=sys.stderr, flush=True)

    failures = campaign(spans, tell=tell)
    for target, count in tried.items():
        print(f"{target:20s} {count:6d} files, {taken[target]:5d} still taken")
    folder = Path("fuzz_failures")
    alike: dict[str, list[Failure]] = {}
    for failure in failures:
        folder.mkdir(exist_ok=True)
        if failure.case >= 0:
            (folder / f"{failure.target}-{failure.case}").write_bytes(content(failure.target, failure.case))
        alike.setdefault(failure.kind, []).append(failure)
    for kind, group in alike.items():
        print(f"\n{'=' * 100}\n{len(group)} x {kind}: {[(f.target, f.case) for f in group][:8]}\n{group[0].what}")
    print(f"{sum(tried.values())} files, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
