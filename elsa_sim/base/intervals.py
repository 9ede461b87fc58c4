"""When something is away: intervals of time, scripted or drawn, and whether a moment lies in one of them."""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Iterator, Sequence

import numpy as np

Interval = tuple[float, float]


def alternation(random: np.random.Generator, first: float, second: float, *, fixed: bool = False) -> Iterator[Interval]:
    """The intervals spent in the second of two alternating states, of these mean lengths (s), forever.

    Lengths are exponential, and the state at time 0 is drawn as it would be found at a random moment; ``fixed`` lengths
    begin with a whole first state.
    """
    time = 0.0
    if not fixed and random.random() < second / (first + second):
        time = second * float(random.standard_exponential())
        yield 0.0, time
    while True:
        begin = time + (first if fixed else first * float(random.standard_exponential()))
        time = begin + (second if fixed else second * float(random.standard_exponential()))
        yield begin, time


class Presence:
    """Whether a device, or a link, is there, by all its downtimes together."""

    def __init__(self, downtimes: Sequence[Iterator[Interval]]) -> None:
        self._ahead = _union(heapq.merge(*downtimes)) if downtimes else iter(())
        self._starts: list[float] = []
        self._ends: list[float] = []

    def _read(self, now: float) -> int:
        """Read the intervals up to the first that ends after ``now``; its index."""
        while not self._ends or self._ends[-1] <= now:
            start, end = next(self._ahead, (math.inf, math.inf))
            self._starts.append(start)
            self._ends.append(end)
        return bisect.bisect_right(self._ends, now)

    def back(self, now: float) -> float:
        """``now`` if it is there, else when it is back (s; infinite if never)."""
        if self._starts and now < self._starts[0]:  # nearly always, where hardly anything goes away
            return now
        i = self._read(now)
        return self._ends[i] if self._starts[i] <= now else now

    def leaves(self, now: float) -> float:
        """When it goes away next, ``now`` or before if it is away (s; infinite if never)."""
        if self._starts and now < self._starts[0]:
            return self._starts[0]
        return self._starts[self._read(now)]

    def intervals(self) -> Iterator[Interval]:
        """All downtimes, from time 0 on."""
        now = 0.0
        while now < math.inf:
            i = self._read(now)
            if self._starts[i] == math.inf:
                return
            yield self._starts[i], self._ends[i]
            now = self._ends[i]


def _union(intervals: Iterator[Interval]) -> Iterator[Interval]:
    """Intervals in order of their start, those that touch made one."""
    current: Interval | None = None
    for start, end in intervals:
        if current is not None and start <= current[1]:
            current = (current[0], max(current[1], end))
        else:
            if current is not None:
                yield current
            current = (start, end)
        if current[1] == math.inf:
            break
    if current is not None:
        yield current
