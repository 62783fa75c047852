"""What one run is: a frozen description that names itself by a hash of all it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, ValidationError

from batchbrew.config import Config
from batchbrew.errors import UserError

Metric = Literal["accuracy", "loss"]
Scaling = Literal["strong", "weak"]

# Names and places, for people: the contents behind them are in the hash as digests.
_LABELS = frozenset({"study", "net", "solver", "data", "start", "allow_oversubscription", "pin"})
# What a study varies. Two runs whose other fields agree may be divided by each other.
_VARIED = frozenset({"batch", "nodes", "accumulate", "seed", "strategy", "strategy_options", "balancer"}) | frozenset(
    {"lr_rule", "lr_base_batch", "lr_warmup_samples"}
)
# What the sequence of parameters depends on, whatever the node count and however long the run is.
_TRAJECTORY: tuple[str, ...] = (
    "net_digest", "solver_digest", "solver_overrides", "data_digest", "batch", "schedule_batch", "seed",
    "shuffle", "strategy", "strategy_options", "lr_rule", "lr_base_batch", "lr_warmup_samples",
)  # fmt: skip


def digest(text: str | bytes) -> str:
    """Return ``sha256:<hex>`` of a text.

    >>> digest("")[:14]
    'sha256:e3b0c44'
    """
    data = text.encode("utf-8") if isinstance(text, str) else text
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Plateau(Config):
    """Stop after ``patience`` evaluations in a row without an improvement of more than ``delta``."""

    patience: int = Field(ge=1)
    delta: float = Field(default=0.0, ge=0)


class Stop(Config):
    """When a run ends; whichever comes first."""

    updates: int | None = Field(default=None, ge=0)
    epochs: float | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)
    plateau: Plateau | None = None

    @property
    def bounded(self) -> bool:
        """Return whether the run is sure to end."""
        return any(limit is not None for limit in (self.updates, self.epochs, self.seconds))


class RunSpec(Config):
    """One run, complete: a worker needs this, the copies of the prototxt files and the data set, nothing else.

    Lengths are in samples. ``schedule_batch`` is the solver file's own global batch (batch_size x iter_size): its
    learning-rate policy counts in updates of that many samples, so the schedule keeps its meaning at any ``batch``.
    """

    study: str
    net: str
    solver: str
    data: str
    net_digest: str
    solver_digest: str
    data_digest: str
    train_samples: int = Field(ge=1)
    test_samples: int = Field(ge=0)
    solver_overrides: dict[str, Any] = Field(default_factory=dict)
    start: str | None = None
    start_kind: Literal["snapshot", "weights"] | None = None
    start_digest: str | None = None

    batch: int = Field(ge=1)
    nodes: int = Field(ge=1)
    accumulate: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    pin: bool = True
    seed: int = Field(default=1, ge=0)
    shuffle: bool = True
    strategy: str = "allreduce"
    strategy_options: dict[str, Any] = Field(default_factory=dict)
    balancer: str = "equal"
    scaling: Scaling = "strong"

    lr_rule: str = "none"
    lr_base_batch: int | None = Field(default=None, ge=1)
    lr_warmup_samples: int = Field(default=0, ge=0)
    base_lr: float
    schedule_batch: int = Field(ge=1)

    metric: Metric = "accuracy"
    target: float | None = None
    stop: Stop
    evaluate_every_samples: int | None = Field(default=None, ge=1)
    evaluate_first: bool = True
    checkpoint_every_samples: int | None = Field(default=None, ge=1)
    snapshot_every_updates: int | None = Field(default=None, ge=1)
    snapshot_after_train: bool = False
    snapshot_prefix: str | None = None
    segment_updates: int = Field(default=50, ge=1)
    warmup_updates: int = Field(default=5, ge=0)
    allow_oversubscription: bool = False

    def _fields(self, without: Iterable[str]) -> dict[str, Any]:
        left_out = set(without)
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in left_out}

    @property
    def run_id(self) -> str:
        """Return a short readable prefix and the hash of everything in the spec but names of files."""
        prefix = f"b{self.batch:03d}-n{self.nodes}-s{self.seed}-{self.lr_rule}"
        return f"{prefix}-{_short(self._fields(_LABELS), 6)}"

    @property
    def comparable(self) -> str:
        """Return the hash of everything that must be equal for a ratio of two runs to mean something."""
        fields = self._fields(_LABELS | _VARIED)
        del fields["stop"]["updates"]  # the same limit in samples is another number of updates at another batch
        return _short(fields, 16)

    @property
    def trajectory(self) -> dict[str, Any]:
        """Return what the sequence of parameters depends on; a saved state is only taken up where it is equal."""
        everything = self._fields(())
        return {name: everything[name] for name in _TRAJECTORY}

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON values, with ``run_id`` and ``comparable``."""
        return {"run_id": self.run_id, **self._fields(()), "comparable": self.comparable}

    def dumps(self) -> str:
        """Return the text of spec.json."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_spec(path: Path) -> RunSpec:
    """Read a spec.json back; UserError if it was edited or belongs to another version."""
    try:
        values = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
        run_id, _ = values.pop("run_id"), values.pop("comparable")
        spec = RunSpec.model_validate(values)
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from None
    except (ValueError, KeyError, AttributeError, ValidationError):
        raise UserError(f"{path}: is no spec.json of this version of batchbrew: delete the run folder") from None
    if spec.run_id != run_id:
        raise UserError(f"{path}: was changed after the run was planned ({run_id}): change the study instead")
    return spec


def _short(values: dict[str, Any], length: int) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:length]
