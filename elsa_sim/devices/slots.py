"""The slots of a device: what finds none free waits in the order of asking.

A `simpy.Resource` does the same at three times the cost, which a run of millions of pieces of work notices; events come in
the same order.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import simpy


class Slots:
    """``count`` slots in simulated time."""

    __slots__ = ("_env", "_free", "_waiting")

    def __init__(self, env: simpy.Environment, count: int) -> None:
        self._env = env
        self._free = count
        self._waiting: deque[simpy.Event] | None = None  # an empty one takes 600 bytes, and most devices have no queue

    def request(self) -> simpy.Event:
        """An event that happens when a slot is the caller's; :meth:`give_back` it, however the wait or the work ends."""
        mine = self._env.event()
        if self._free and not self._waiting:
            self._free -= 1
            mine.succeed()
            return mine
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(mine)
        self._grant()
        return mine

    def give_back(self, mine: simpy.Event) -> None:
        """End a request, granted or not."""
        if mine.triggered:
            self._free += 1
        elif self._waiting is not None:
            self._waiting.remove(mine)
        later = self._env.event()  # whoever waits comes after what is happening now
        later.callbacks.append(self._grant)
        later.succeed()

    def _grant(self, _: Any = None) -> None:
        """The first who waits gets a slot, if one is free; for each slot that is given back there is a call."""
        if self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().succeed()
