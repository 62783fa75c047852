"""What a study folder holds, as frozen data: runs with their records, and the one-node calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["done", "running", "diverged", "missing"]
ACCOUNTS = ("data", "compute", "reduce", "wait", "update", "evaluate", "save", "resize")
TRAINING_ACCOUNTS = ACCOUNTS[:5]


@dataclass(frozen=True)
class Spec:
    """The frozen settings a run was started with; ``raw`` is the whole object as written."""

    run_id: str
    batch: int
    nodes: int
    accumulate: int
    threads: int
    seed: int
    strategy: str
    lr_rule: str
    lr_base_batch: float | None
    base_lr: float
    metric: str
    target: float | None
    warmup_updates: int
    scaling: str
    comparable: str
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Segment:
    """The updates between two decision points; ``accounts`` are mean seconds over the nodes."""

    update: int
    samples: int
    updates: int
    loss: float
    rate: float
    seconds: float
    train_seconds: float
    step_seconds: tuple[float, ...]
    nodes: int
    accounts: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """One pass over the test set; ``train_seconds`` is the training clock, which excludes evaluation."""

    update: int
    samples: int
    train_seconds: float
    outputs: Mapping[str, float]


@dataclass(frozen=True)
class Event:
    """Something that happened to a run: a resume, a checkpoint, a resize..."""

    event: str
    update: int


@dataclass(frozen=True)
class Moment:
    """A point of a run on its three axes."""

    update: float
    samples: float
    seconds: float


@dataclass(frozen=True)
class Summary:
    """How a run ended."""

    outcome: str
    reason: str
    reached: bool
    at_end: Moment
    to_target: Moment | None
    best: Mapping[str, float]
    final: Mapping[str, float]
    step_seconds: Mapping[str, float]
    samples_per_second: float
    accounts: Mapping[str, float]


@dataclass(frozen=True)
class Header:
    """What the run was made of: net, data set, machine."""

    identity: str
    net: Mapping[str, Any]
    dataset: Mapping[str, Any]
    environment: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Run:
    """One cell of the study's grid with one seed, and whatever of it has been recorded so far."""

    run_id: str
    batch: int
    nodes: int
    seed: int
    lr_rule: str
    strategy: str
    state: State
    target: float | None
    spec: Spec | None = None
    header: Header | None = None
    segments: tuple[Segment, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    events: tuple[Event, ...] = ()
    summary: Summary | None = None

    @property
    def finished(self) -> bool:
        """Whether the run has ended for good."""
        return self.state in ("done", "diverged")

    @property
    def reached(self) -> bool:
        """Whether the run met its target."""
        return self.finished and self.summary is not None and self.summary.to_target is not None

    @property
    def censored(self) -> bool:
        """Whether the run ended without meeting its target: its time to target is longer than it ran."""
        return self.finished and self.target is not None and not self.reached

    @property
    def accumulate(self) -> int:
        """How many pieces a node cuts its share into."""
        return self.spec.accumulate if self.spec else 1

    @property
    def last(self) -> Moment:
        """The last recorded moment."""
        if self.summary is not None:
            return self.summary.at_end
        if self.segments:
            end = self.segments[-1]
            return Moment(end.update, end.samples, end.train_seconds)
        return Moment(0, 0, 0.0)


@dataclass(frozen=True)
class ComputeTiming:
    """Seconds per update on one node at a local batch."""

    batch: int
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class AllreduceTiming:
    """Seconds per allreduce of a message."""

    nodes: int
    bytes: int
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class SetSizeTiming:
    """Seconds of one pass over a training set of this size on one node at the base batch."""

    samples: int
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """The one-node and allreduce measurements that theory starts from."""

    compute: tuple[ComputeTiming, ...]
    allreduce: tuple[AllreduceTiming, ...]
    set_size: tuple[SetSizeTiming, ...]
    base_batch: int
    message_bytes: int
    train_samples: int


@dataclass(frozen=True, eq=False)
class StudyData:
    """A study as found on disk. ``single`` marks a lone run; ``notes`` are oddities met while reading.

    Compared and hashed by identity, so that what is computed from it can be kept.
    """

    name: str
    scaling: str
    metric: str
    target: float | None
    warmup_updates: int
    runs: tuple[Run, ...]
    calibration: Calibration | None = None
    single: bool = False
    notes: tuple[str, ...] = ()
