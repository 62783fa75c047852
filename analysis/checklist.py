"""The twelve rules of T. Hoefler and R. Belli (SC 2015) for reporting parallel performance, answered for a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from batchbrew.analysis.findings import find
from batchbrew.analysis.headline import Headline, headline
from batchbrew.analysis.intervals import DRAWS, SMALL
from batchbrew.analysis.records import StudyData
from batchbrew.analysis.tables import View
from batchbrew.analysis.wording import count

Status = Literal["met", "partly", "yours to say"]


@dataclass(frozen=True)
class Answer:
    """One rule, how far the report meets it, and with what."""

    rule: str
    status: Status
    answer: str


def answers(study: StudyData) -> tuple[Answer, ...]:
    """Return the twelve answers, filled from the records where they tell."""
    findings, head = find(study), headline(study)
    finished = [g for g in findings.groups if g.finished]
    fewest = min((len(g.finished) for g in finished), default=0)
    calibrated = findings.compute is not None
    return (
        Answer("State the base case of a speedup and its absolute time",
               "met" if findings.base else "partly", head.base),
        Answer("Justify any choice of a subset", "yours to say", f"the grid: {_levels(study)}"),
        Answer("Summarise costs by the arithmetic mean, rates by the harmonic", "met",
               "costs (seconds) are summarised; rates are samples over summed seconds"),
        Answer("Do not average ratios", "met", "a speedup is a ratio of medians of times, never a center of ratios"),
        Answer("Say whether data are deterministic; if not, give intervals", "met" if fewest > 1 else "partly",
               f"times vary: {DRAWS} bootstrap draws over seeds, 95 %" if fewest > 1
               else "single runs: no interval can be given"),
        Answer("Do not assume normality unchecked", "met",
               "percentile bootstrap of medians; Fieller's interval, which assumes it, is only given beside it"),
        Answer("Compare by sound statistics", "met" if fewest >= SMALL else "partly", _compared(head)),
        Answer("Choose mean or median deliberately", "met",
               "medians, as times to a target are skewed; every seed is drawn and tabled"),
        Answer("Document all factors, levels and the setup", "met" if any(r.header for r in study.runs) else "partly",
               "see Reproducibility"),
        Answer("Say how parallel times were taken", "met",
               "training clock of the first node, without evaluation and saving; accounts are means over nodes; "
               f"{count(study.warmup_updates, 'warm-up update')} left out of step times"),
        Answer("Show upper bounds", "met" if calibrated else "partly",
               "ideal and calibrated model curves" if calibrated else "ideal line only: there is no calibration"),
        Answer("Plot what is needed; join points only where that means something", "met",
               "measured points are not joined, only models and learning curves are lines"),
    )  # fmt: skip


def view(study: StudyData) -> View:
    """Return the answers as a table."""
    return View(
        caption="Twelve rules for reporting parallel performance (paraphrased from T. Hoefler and R. Belli, SC 2015).",
        columns=("rule", "status", "in this report"),
        rows=tuple((f"{i}. {a.rule}", a.status, a.answer) for i, a in enumerate(answers(study), 1)),
        numeric=(False, False, False),
    )


def _levels(study: StudyData) -> str:
    factors = (
        ("batch", [run.batch for run in study.runs]),
        ("nodes", [run.nodes for run in study.runs]),
        ("seed", [run.seed for run in study.runs]),
    )
    texts = (("lr rule", [run.lr_rule for run in study.runs]), ("strategy", [run.strategy for run in study.runs]))
    parts = [f"{name} {', '.join(map(str, sorted(set(values))))}" for name, values in factors]
    parts += [f"{name} {', '.join(sorted(set(values)))}" for name, values in texts]
    return "; ".join(parts)


def _compared(head: Headline) -> str:
    found = [row.speedup.interval for row in head.rows if row.speedup and row.speedup.interval]
    if not found:
        return "no speedup has an interval"
    apart = sum(i.low > 1 or i.high < 1 for i in found)
    return f"{apart} of {count(len(found), 'speedup interval')} exclude 1; they are not corrected for their number"
