"""Timers of the network: what they do comes after every ordinary event of the same instant."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import simpy

_LAST = 2  # priority of SimPy events


def at(env: simpy.Environment, time: float, callback: Callable[[Any], None]) -> None:
    """Call back at a time (s), now if it is past."""
    event = simpy.Event(env)
    event._ok, event._value = True, None
    event.callbacks.append(callback)
    env.schedule(event, _LAST, max(0.0, time - env.now))


class Timer:
    """Calls back at the earliest time that was asked for since it last did."""

    def __init__(self, env: simpy.Environment, callback: Callable[[], None]) -> None:
        self.time = math.inf
        self._env, self._callback = env, callback

    def by(self, time: float) -> None:
        """Go off at ``time`` (s), or at an earlier one that is set; what was set for later then finds nothing to do."""
        if time < self.time:
            self.time = time
            at(self._env, time, self._expire)

    def _expire(self, _: Any) -> None:
        if self.time <= self._env.now + 8.0 * math.ulp(self._env.now):
            self.time = math.inf
            self._callback()
