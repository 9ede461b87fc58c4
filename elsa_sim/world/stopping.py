"""When training ends before its rounds are over: one rule, one observer of the rounds' ends."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..learning.aggregation.mean import distance
from .round_end import Read, RoundEnd, RoundObserver

if TYPE_CHECKING:
    from ..learning.execution.work import Ref


class Stop(typing.Protocol):
    """When training ends before its rounds are over; ``None``: never for this reason."""

    @property
    def rounds(self) -> int | None: ...
    @property
    def target_accuracy(self) -> float | None: ...
    @property
    def host_time(self) -> float | None: ...
    @property
    def adapter_change(self) -> float | None: ...


class AfterRounds(RoundObserver):
    """Stops after so many rounds."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    def stops(self, end: RoundEnd) -> bool:
        return end.round >= self.rounds


class AtAccuracy(RoundObserver):
    """Stops when an evaluation reaches an accuracy."""

    def __init__(self, target: float) -> None:
        self.target = target

    def stops(self, end: RoundEnd) -> bool:
        return "accuracy" in end.metrics and end.metrics["accuracy"] >= self.target


class AfterHostTime(RoundObserver):
    """Stops when so many seconds have passed on this machine, as ``clock`` tells; not in what is played again."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds, self.clock = seconds, clock

    def stops(self, end: RoundEnd) -> bool:
        return end.live and self.clock() >= self.seconds


class WhenStill(RoundObserver):
    """Stops when the adapters have moved less than ``limit`` from one round to the next; never without arithmetic."""

    def __init__(self, limit: float, read: Read) -> None:
        self.limit, self._read = limit, read
        self._last: tuple[Ref | None, Ref | None] = (None, None)

    def ended(self, end: RoundEnd) -> None:
        self._last = (self._last[1], end.adapters)

    def stops(self, end: RoundEnd) -> bool:
        before, after = self._last
        if before is None or after is None:
            return False
        moved = self._read("adapter change", lambda: float(distance(before.value, after.value)))
        return moved is not None and moved < self.limit


def stopping_rules(stop: Stop, read: Read, clock: Callable[[], float]) -> list[RoundObserver]:
    """The rules that ``stop`` asks for, the cheap ones first; ``clock`` tells the host time of the run (s)."""
    rules: list[RoundObserver] = []
    if stop.target_accuracy is not None:
        rules.append(AtAccuracy(stop.target_accuracy))
    if stop.rounds is not None:
        rules.append(AfterRounds(stop.rounds))
    if stop.host_time is not None:
        rules.append(AfterHostTime(stop.host_time, clock))
    if stop.adapter_change is not None:
        rules.append(WhenStill(stop.adapter_change, read))
    return rules
