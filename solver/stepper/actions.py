"""What a user may ask of a running solver, and the signals he asks with."""

from __future__ import annotations

import signal
from enum import Enum
from types import FrameType, TracebackType
from typing import Any, Self

from batchbrew.errors import UserError, did_you_mean


class Action(Enum):
    """What to do next: go on, save a snapshot, or stop."""

    NONE = "none"
    SNAPSHOT = "snapshot"
    STOP = "stop"

    @classmethod
    def of(cls, effect: str) -> Action:
        """Return the action that a flag names.

        >>> Action.of("stop")
        <Action.STOP: 'stop'>
        """
        known = [action.value for action in cls]
        if effect not in known:
            raise UserError(
                f'Invalid signal effect "{effect}" was specified{did_you_mean(effect, known)} (known: '
                f"{', '.join(known)})"
            )
        return cls(effect)


class Signals:
    """Turn signals into actions: SIGHUP by default into a snapshot, SIGINT into a stop.

    Handlers only leave a note; calling the object returns the action of one note and forgets it, SIGHUP first. They
    are installed by ``with`` and afterwards what was there before is back.
    """

    def __init__(self, sigint: str = "stop", sighup: str = "snapshot") -> None:
        self._actions = {signal.SIGHUP: Action.of(sighup), signal.SIGINT: Action.of(sigint)}
        self._arrived: set[int] = set()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in self._actions:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._arrived.add(number)

    def __call__(self) -> Action:
        """Return what the signals since the last call ask for, one at a time."""
        for number, action in self._actions.items():
            if number in self._arrived:
                self._arrived.discard(number)
                return action
        return Action.NONE
