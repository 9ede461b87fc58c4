"""When training ends before its rounds are over: one rule, one observer of the rounds' ends."""

from __future__ import annotations

import time
import typing
from typing import TYPE_CHECKING

from ..learning.aggregation.mean import distance
from .round_end import RoundEnd, RoundObserver

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
    """Stops when so many seconds have passed on this machine since the rule was made."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._begin = seconds, time.perf_counter()

    def stops(self, end: RoundEnd) -> bool:
        return time.perf_counter() - self._begin >= self.seconds


class WhenStill(RoundObserver):
    """Stops when the adapters have moved less than ``limit`` from one round to the next; never without arithmetic."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._last: tuple[Ref | None, Ref | None] = (None, None)

    def ended(self, end: RoundEnd) -> None:
        self._last = (self._last[1], end.adapters)

    def stops(self, end: RoundEnd) -> bool:
        before, after = self._last
        if before is None or after is None or not (after.ready or after.node):
            return False
        return distance(before.value, after.value) < self.limit


def stopping_rules(stop: Stop) -> list[RoundObserver]:
    """The rules that ``stop`` asks for, the cheap ones first."""
    rules: list[RoundObserver] = []
    if stop.target_accuracy is not None:
        rules.append(AtAccuracy(stop.target_accuracy))
    if stop.rounds is not None:
        rules.append(AfterRounds(stop.rounds))
    if stop.host_time is not None:
        rules.append(AfterHostTime(stop.host_time))
    if stop.adapter_change is not None:
        rules.append(WhenStill(stop.adapter_change))
    return rules
