"""study.yaml as frozen models: what may be written in it, and everything that cannot be right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from batchbrew.config import Config
from batchbrew.errors import UserError
from batchbrew.registry import Registry
from batchbrew.runner.balance import BALANCERS
from batchbrew.runner.lr_rules import LR_RULES
from batchbrew.runner.overrides import check_overrides
from batchbrew.runner.spec import Scaling, Stop
from batchbrew.runner.strategies import STRATEGIES

T = TypeVar("T")
Positive = Annotated[int, Field(ge=1)]


def _as_tuple(value: Any) -> Any:
    """Let one value stand for a list of one."""
    return tuple(value) if isinstance(value, list) else (value,)


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("give at least one value")
    twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} is listed twice")
    return values


def _known(registry: Registry[Any], name: str) -> str:
    try:
        registry.get(name)
    except UserError as error:
        raise ValueError(str(error)) from None
    return name


class Length(Config):
    """A length in exactly one unit: ``{samples: 2000}``, ``{epochs: 0.2}`` or ``{updates: 50}``.

    >>> Length(epochs=0.5).in_samples(train_samples=1000, batch=10), Length(updates=7).in_samples(1000, 10)
    (500, 70)
    """

    samples: int | None = Field(default=None, ge=0)
    epochs: float | None = Field(default=None, ge=0)
    updates: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_unit(self) -> Length:
        if sum(value is not None for value in (self.samples, self.epochs, self.updates)) != 1:
            raise ValueError("give a length in exactly one of samples, epochs, updates")
        return self

    def in_samples(self, train_samples: int, batch: int) -> int:
        """Return the length in samples."""
        if self.samples is not None:
            return self.samples
        if self.epochs is not None:
            return round(self.epochs * train_samples)
        return (self.updates or 0) * batch


class Grid(Config):
    """The cells of the study: every combination of these."""

    batch: Annotated[tuple[Positive, ...], BeforeValidator(_as_tuple)] | None = None
    batch_per_node: Annotated[tuple[Positive, ...], BeforeValidator(_as_tuple)] | None = None
    nodes: Annotated[tuple[Positive, ...], BeforeValidator(_as_tuple)] = (1,)
    seed: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_as_tuple)] = (1,)
    lr_rule: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] | None = None

    @field_validator("batch", "batch_per_node", "nodes", "seed", "lr_rule")
    @classmethod
    def _no_repeats(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return _distinct(values) if values is not None else None

    @field_validator("lr_rule")
    @classmethod
    def _rules(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return tuple(_known(LR_RULES, name) for name in values) if values is not None else None


class LearningRate(Config):
    """How the learning rate follows the batch."""

    rule: str | None = None
    base_batch: int | None = Field(default=None, ge=1)
    warmup: Length | None = None

    @field_validator("rule")
    @classmethod
    def _rule(cls, value: str | None) -> str | None:
        return _known(LR_RULES, value) if value is not None else None


class Target(Config):
    """The value of a test output that counts as reached."""

    accuracy: float | None = Field(default=None, gt=0, le=1)
    loss: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_metric(self) -> Target:
        if (self.accuracy is None) == (self.loss is None):
            raise ValueError("give exactly one of accuracy, loss")
        return self


class StrategyChoice(Config):
    """A strategy by name, with its options beside the name."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "name" in value:
            return {"name": value["name"], "options": {key: item for key, item in value.items() if key != "name"}}
        return value

    @model_validator(mode="after")
    def _options(self) -> StrategyChoice:
        _known(STRATEGIES, self.name)
        try:
            STRATEGIES.get(self.name).Options.model_validate(self.options)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"option '{'.'.join(map(str, first['loc']))}' of {self.name}: {first['msg']}") from None
        return self


class StudyFile(Config):
    """The contents of a study.yaml."""

    study: str = Field(min_length=1)
    solver: str = Field(min_length=1)
    data: str | None = None
    scaling: Scaling = "strong"
    grid: Grid
    lr: LearningRate = LearningRate()
    strategy: StrategyChoice = StrategyChoice(name="allreduce")
    balancer: str = "equal"
    accumulate: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    pin: bool = True
    shuffle: bool = True
    target: Target | None = None
    stop: Stop = Stop()
    evaluate_every: Length | None = None
    checkpoint_every: Length | None = None
    warmup_updates: int = Field(default=5, ge=0)
    solver_overrides: dict[str, Any] = Field(default_factory=dict)
    allow_oversubscription: bool = False
    calibrate: bool = True

    @field_validator("balancer")
    @classmethod
    def _balancer(cls, value: str) -> str:
        return _known(BALANCERS, value)

    @field_validator("solver_overrides")
    @classmethod
    def _overrides(cls, values: dict[str, Any]) -> dict[str, Any]:
        try:
            check_overrides(values)
        except UserError as error:
            raise ValueError(str(error)) from None
        return values

    @field_validator("evaluate_every", "checkpoint_every")
    @classmethod
    def _not_zero(cls, value: Length | None) -> Length | None:
        if value is not None and not value.in_samples(1_000_000, 1):
            raise ValueError("must be more than 0")
        return value

    @property
    def lr_rules(self) -> tuple[str, ...]:
        """Return the learning-rate rules of the grid."""
        return self.grid.lr_rule or (self.lr.rule or "none",)

    def cells(self) -> Iterator[tuple[int, int]]:
        """Yield every (global batch, nodes) of the grid."""
        for batch in self.grid.batch or self.grid.batch_per_node or ():
            for nodes in self.grid.nodes:
                per_node = self.scaling == "weak" or self.grid.batch_per_node is not None
                yield (batch * nodes if per_node else batch), nodes

    @model_validator(mode="after")
    def _fits_together(self) -> StudyFile:
        """Refuse what no single key is wrong about, naming the key to change."""
        for loc, message, value in self._misfits():
            kind = PydanticCustomError("study", "{text}", {"text": message})
            raise ValidationError.from_exception_data("study", [InitErrorDetails(type=kind, loc=loc, input=value)])
        return self

    def _misfits(self) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
        grid = self.grid
        if grid.batch is None and grid.batch_per_node is None:
            yield ("grid",), "give the batch sizes (batch, or batch_per_node)", "no batch"
        if grid.batch is not None and grid.batch_per_node is not None:
            yield ("grid", "batch_per_node"), "give either batch or batch_per_node", list(grid.batch_per_node)
        if grid.batch_per_node is not None and self.scaling == "strong" and len(grid.nodes) > 1:
            text = "changes the global batch with the node count: say scaling: weak, or give grid.batch"
            yield ("grid", "batch_per_node"), text, list(grid.batch_per_node)
        if grid.lr_rule is not None and self.lr.rule is not None:
            yield ("lr", "rule"), "the rule is already given as grid.lr_rule: give it once", self.lr.rule
        yield from self._lr_misfits()
        batches = {batch for batch, _ in self.cells()}
        for i, batch in enumerate(grid.batch or ()):
            most = max(grid.nodes)
            if self.scaling == "strong" and batch < most * self.accumulate:
                pieces = f"{most} nodes" + (f" x accumulate {self.accumulate}" if self.accumulate > 1 else "")
                yield ("grid", "batch", i), f"a global batch of {batch} cannot be cut into {pieces}", batch
        for name in ("evaluate_every", "checkpoint_every"):
            length = getattr(self, name)
            if length is not None and length.updates is not None and len(batches) > 1:
                sizes = " and ".join(str(batch) for batch in sorted(batches)[:2])
                text = f"updates are not the same length at batch {sizes}: give samples or epochs"
                yield (name, "updates"), text, length.updates

    def _lr_misfits(self) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
        scaled = [rule for rule in self.lr_rules if rule != "none"]
        if scaled and self.lr.base_batch is None:
            where = ("grid", "lr_rule") if self.grid.lr_rule else ("lr", "rule")
            yield where, "needs lr.base_batch, the batch size at which base_lr is right", scaled[0]
        if self.lr.warmup is not None and self.lr.base_batch is None:
            yield ("lr", "warmup"), "leads from base_lr to the scaled rate: give lr.base_batch and a rule", "warmup"
        elif self.lr.warmup is not None and not scaled:
            yield ("lr", "warmup"), "the lr rule is none, so there is nothing to warm up to", "warmup"
        if self.lr.warmup is not None and self.lr.warmup.updates is not None:
            batches = {batch for batch, _ in self.cells()}
            if len(batches) > 1:
                text = "updates are not the same length at several batch sizes: give samples or epochs"
                yield ("lr", "warmup", "updates"), text, self.lr.warmup.updates
