"""The contract of a stopping rule, and how several act together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from batchbrew.registry import Registry
from batchbrew.runner.history import History
from batchbrew.runner.spec import RunSpec


class StopRule(ABC):
    """Decide from the history whether a run ends.

    To add one: a file in ``runner/stopping/`` with a class entered by ``@STOP_RULES.register("name")``; the name is
    the run's outcome when the rule ends it.

    Set:
        ``order`` - when several rules hold at once the one with the lowest order names the outcome;
        ``is_limit`` - whether the rule bounds the work rather than judges the result: before a limit ends a run the
        parameters are evaluated once more.

    Implement:
        :meth:`of` - the rule a spec asks for, or None;
        :meth:`verdict` - the reason to stop, or None. It must be a pure function of the history (no clock, no rank),
        so that recorded runs can be replayed; rank 0 evaluates it and broadcasts the result;
        :meth:`updates_left` - only if the rule must be asked at a certain update: how many updates may pass before.

    Example::

        @STOP_RULES.register("bored")
        class Bored(StopRule):
            @classmethod
            def of(cls, spec):
                return cls()

            def verdict(self, history):
                return "one hundred evaluations" if len(history.evaluations) >= 100 else None
    """

    order: int = 50
    is_limit: bool = False

    @classmethod
    @abstractmethod
    def of(cls, spec: RunSpec) -> StopRule | None:
        """Return the rule as ``spec`` sets it, None where it does not ask for it."""

    @abstractmethod
    def verdict(self, history: History) -> str | None:
        """Return the reason to stop, or None to go on."""

    def updates_left(self, history: History) -> int | None:
        """Return how many updates may be made before the rule must be asked again; None for any number."""
        return None


class Verdict(NamedTuple):
    """Why a run ends: the rule's name and its reason."""

    outcome: str
    reason: str


STOP_RULES: Registry[type[StopRule]] = Registry("stopping rule")


def rules_for(spec: RunSpec) -> dict[str, StopRule]:
    """Return the rules ``spec`` asks for by name, in the order in which they are asked."""
    found = {name: STOP_RULES.get(name).of(spec) for name in STOP_RULES}
    rules = {name: rule for name, rule in found.items() if rule is not None}
    return dict(sorted(rules.items(), key=lambda item: (item[1].order, item[0])))


def first_verdict(rules: dict[str, StopRule], history: History, limits_only: bool = False) -> Verdict | None:
    """Return the verdict of the first rule that wants to stop."""
    for name, rule in rules.items():
        if limits_only and not rule.is_limit:
            continue
        reason = rule.verdict(history)
        if reason is not None:
            return Verdict(name, reason)
    return None


def updates_left(rules: Sequence[StopRule], history: History) -> int | None:
    """Return how many updates may be made before some rule must be asked; at least 1, None without a bound."""
    left = [updates for rule in rules if (updates := rule.updates_left(history)) is not None]
    return max(1, min(left)) if left else None
