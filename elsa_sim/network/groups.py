"""Groups: flows that share the same contended channels progress alike, so that a group is one variable of the solver.

A channel with a single flow is *private*: it only limits that flow's rate. The flows whose contended channels are the
same form a group. All of them that are not held back by their limit run at the group's level, so one virtual clock
(bits per flow since the group began) serves them all: a flow of b bits that enters at clock value c is done at c + b,
whatever happens to the level, and a heap of these values knows who is next. Flows that are held back run at their own
constant rate, and a heap of their end times knows who is next of them.

Tested in tests/network/test_incremental.py.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush

from .fluid import CRUMB_BITS, Flow
from .table import Table

#: (key, order of the flow, version of the flow when this was pushed, flow); void once the flow has another version.
Entry = tuple[float, int, int, Flow]
_REBASE = 2.0**40


class Group:
    """The flows over one set of contended channels. Level and clock live in the row ``index`` of the table."""

    __slots__ = ("_due", "_high", "_low", "_next", "_table", "free", "held", "held_rate", "index", "key")

    def __init__(self, key: tuple[int, ...], index: int, table: Table) -> None:
        self.key = key
        self.index = index
        self.free = 0  # flows at the level
        self.held = 0  # flows at their limit
        self.held_rate = 0.0  # bit/s
        self._table = table
        self._next: list[Entry] = []  # free flows by the clock value of their end
        self._low: list[Entry] = []  # free flows by limit, lowest first
        self._high: list[Entry] = []  # held flows by limit, highest first (negated)
        self._due: list[Entry] = []  # held flows by the time of their end

    def tick(self, now: float) -> float:
        """Move the virtual clock to ``now``; its value (bits)."""
        table, i = self._table, self.index
        step = now - table.since.item(i)
        if step > 0.0:
            table.since[i] = now
            table.clock[i] += table.level.item(i) * step
        return table.clock.item(i)

    def add(self, flow: Flow, now: float) -> None:
        """A flow with ``flow.left`` bits joins, held or free as the present level suggests."""
        flow.group = self
        if not self.key or flow.limit <= self._table.level.item(self.index):
            self._hold(flow, now)
        else:
            self._set_free(flow, now)

    def remove(self, flow: Flow, now: float) -> None:
        """A flow leaves; its ``left`` is that of ``now``. Its entries in the heaps are void from now on."""
        flow.left = self.left(flow, now)
        self._drop(flow)
        flow.group = None

    def _drop(self, flow: Flow) -> None:
        flow.version += 1
        if flow.held:
            self.held -= 1
            self.held_rate = self.held_rate - flow.limit if self.held else 0.0
        else:
            self.free -= 1

    def left(self, flow: Flow, now: float) -> float:
        """Bits that a flow of the group has still to drain."""
        if flow.held:
            return max(0.0, flow.left - flow.limit * (now - flow.since))
        return max(0.0, flow.end - self.tick(now))

    def _hold(self, flow: Flow, now: float) -> None:
        flow.held, flow.since = True, now
        self.held += 1
        self.held_rate += flow.limit
        time = now if flow.left <= CRUMB_BITS else math.inf
        if flow.limit > 0.0:
            time = now + flow.left / flow.limit
        heappush(self._due, (time, flow.order, flow.version, flow))
        heappush(self._high, (-flow.limit, flow.order, flow.version, flow))
        if len(self._high) > 64 + 4 * self.held:
            self._due, self._high = _valid(self._due), _valid(self._high)

    def _set_free(self, flow: Flow, now: float) -> None:
        clock = self.tick(now)
        if clock > _REBASE:
            clock = self._rebase()
        flow.held = False
        flow.end = clock + flow.left
        self.free += 1
        heappush(self._next, (flow.end, flow.order, flow.version, flow))
        if flow.limit < math.inf:
            heappush(self._low, (flow.limit, flow.order, flow.version, flow))
        if len(self._low) + len(self._next) > 64 + 8 * self.free:
            self._low, self._next = _valid(self._low), _valid(self._next)

    def _rebase(self) -> float:
        """Begin the clock at 0 again, so that its floats stay fine."""
        base = self._table.clock.item(self.index)
        self._table.clock[self.index] = 0.0
        self._next = _valid(self._next)
        for _, _, _, flow in self._next:
            flow.end -= base
        self._next = [(flow.end, order, version, flow) for _, order, version, flow in self._next]
        heapify(self._next)
        return 0.0

    def flows(self) -> list[Flow]:
        """All flows of the group."""
        return [entry[3] for entry in _valid(self._next) + _valid(self._due)]

    def adjust(self, now: float, level: float) -> bool:
        """Hold the free flows whose limit is below ``level``, free the held ones above it; whether any changed."""
        changed = False
        while _top(self._low) < level:
            changed = True
            flow = heappop(self._low)[3]
            flow.left = self.left(flow, now)
            self._drop(flow)
            self._hold(flow, now)
        while -_top(self._high) > level:
            changed = True
            flow = heappop(self._high)[3]
            flow.left = self.left(flow, now)
            self._drop(flow)
            self._set_free(flow, now)
        return changed

    def done(self, now: float, near: float) -> list[Flow]:
        """Take out the flows that are done, or stall, within ``near`` seconds from ``now``; those that go on stay."""
        found: list[Flow] = []
        limit = self.tick(now) + max(self._table.level.item(self.index) * near, CRUMB_BITS)
        while _top(self._next) <= limit:
            found.append(heappop(self._next)[3])
            self._drop(found[-1])
        free = len(found)
        while _top(self._due) <= now + near:
            found.append(heappop(self._due)[3])
            self._drop(found[-1])
        ended = []
        for i, flow in enumerate(found):
            if flow.goes_on(now):
                (self._set_free if i < free else self._hold)(flow, now)
            else:
                flow.group = None
                ended.append(flow)
        return ended

    def write(self) -> None:
        """Bring the row of the table up to date."""
        table, i = self._table, self.index
        table.free[i] = self.free
        table.held[i] = self.held_rate
        table.low[i] = _top(self._low)
        table.high[i] = -_top(self._high)
        table.head[i] = _top(self._next)
        table.due[i] = _top(self._due)


def _top(heap: list[Entry]) -> float:
    """The smallest key of a valid entry, infinity if there is none; void entries are dropped on the way."""
    while heap:
        key, _, version, flow = heap[0]
        if flow.version == version:
            return key
        heappop(heap)
    return math.inf


def _valid(heap: list[Entry]) -> list[Entry]:
    kept = [entry for entry in heap if entry[3].version == entry[2]]
    heapify(kept)
    return kept
