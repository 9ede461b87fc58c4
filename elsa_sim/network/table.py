"""The numbers of all groups of flows as arrays, and progressive filling over all of them at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Table:
    """A row per group (see :mod:`.groups`), and an entry of ``room`` per contended channel.

    Row 0 of ``room`` is an endless channel that pads the routes. A row without a group has no flows and never ends.
    """

    _FIELDS = ("free", "held", "low", "high", "level", "since", "clock", "head", "due", "when", "flowing")

    free: Floats
    """Flows at the level."""
    held: Floats
    """Sum of the rates of the flows at their limit (bit/s)."""
    low: Floats
    """Lowest limit of a free flow, highest limit of a held one: a level between fits (bit/s)."""
    high: Floats
    level: Floats
    """Rate of a free flow (bit/s), from time ``since`` (s) on."""
    since: Floats
    clock: Floats
    """Bits that a flow free since the group began has drained at time ``since``."""
    head: Floats
    """Clock value at which the next free flow is done (bits)."""
    due: Floats
    """Time at which the next held flow is done (s)."""
    when: Floats
    """Time at which the next flow is done (s)."""
    flowing: Floats
    """Rate of the whole group (bit/s)."""

    def __init__(self) -> None:
        self.rows = 0
        self.columns: list[NDArray[np.intp]] = []
        self.room: Floats = np.full(1, np.inf)
        self._spare: list[int] = []
        for name in self._FIELDS:
            setattr(self, name, np.zeros(0))

    def take(self, slots: list[int], now: float) -> int:
        """A row for a group over the contended channels ``slots``."""
        while len(self.columns) < len(slots):
            self.columns.append(np.zeros(len(self.free), dtype=np.intp))
        if not self._spare:
            more = max(16, len(self.free))
            self._spare = list(range(len(self.free) + more - 1, len(self.free) - 1, -1))
            for name in self._FIELDS:
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros(more)]))
            self.columns = [np.concatenate([c, np.zeros(more, dtype=np.intp)]) for c in self.columns]
            for row in self._spare:
                self._clear(row)
        row = self._spare.pop()
        self.since[row] = now
        for column, slot in zip(self.columns, slots, strict=False):
            column[row] = slot
        return row

    def give_back(self, row: int) -> None:
        """The group of a row has no flows any more."""
        self._clear(row)
        self._spare.append(row)

    def _clear(self, row: int) -> None:
        for name in self._FIELDS:
            getattr(self, name)[row] = 0.0
        self.low[row] = self.head[row] = self.due[row] = self.when[row] = np.inf
        self.high[row] = -np.inf
        for column in self.columns:
            column[row] = 0

    def advance(self, now: float) -> None:
        """Move every clock to ``now``."""
        self.clock += self.level * (now - self.since)
        self.since.fill(now)

    def fill(self) -> tuple[Floats, bool]:
        """The max-min level of every group (bit/s), its held flows taken as given; and whether all channels cope.

        A round freezes, at its level, every channel that is the tightest one for all groups that cross it. The level of
        a group without free flows is the lowest among its full channels: what its held flows must stay below.
        """
        size, columns = len(self.room), self.columns
        weight, room = self.free.copy(), self.room - self._sum(self.held)
        level, full = np.full(len(weight), np.inf), np.full(size, np.inf)
        count = self._sum(weight)
        count[0] = 0.0
        self._push_back(np.flatnonzero((count == 0.0) & (room < -1e-9 * self.room)), room, full)
        while True:
            busy = count > 0.0
            share = np.full(size, np.inf)
            np.divide(room, count, out=share, where=busy)
            np.maximum(share, 0.0, out=share)
            shares = [share[column] for column in columns]
            limit = shares[0] if len(shares) == 1 else np.minimum.reduce(shares)
            active = weight > 0.0
            for column, own in zip(columns, shares, strict=True):
                busy[column[(own > limit) & active]] = False
            frozen = busy[columns[0]]
            for column in columns[1:]:
                frozen |= busy[column]
            frozen &= active
            full[busy] = share[busy]
            level[frozen] = limit[frozen]
            used = np.zeros(len(weight))
            used[frozen] = weight[frozen] * limit[frozen]
            room -= self._sum(used)
            weight[frozen] = 0.0
            if not weight.any():
                break
            count = self._sum(weight)
            count[0] = 0.0
        idle = self.free == 0.0
        level[idle] = np.minimum.reduce([full[column[idle]] for column in columns])
        return level, bool((room >= -1e-9 * self.room - 1e-6).all())

    def _sum(self, amounts: Floats) -> Floats:
        """The sum of ``amounts`` of the groups over every contended channel."""
        size = len(self.room)
        total: Floats = np.bincount(self.columns[0], amounts, size).astype(np.float64, copy=False)
        for column in self.columns[1:]:
            total += np.bincount(column, amounts, size)
        return total

    def _push_back(self, crowded: NDArray[np.intp], room: Floats, full: Floats) -> None:
        """Channels with more held flows than they can carry: the fastest must be freed."""
        for slot in crowded.tolist():
            crossing = np.logical_or.reduce([column == slot for column in self.columns])
            full[slot] = max(0.0, float(self.high[crossing].max()) + float(room[slot]))

    def commit(self, level: Floats, now: float) -> float:
        """Run at these levels from ``now`` on; the rate of everything (bit/s)."""
        self.level = np.where(self.free > 0.0, level, 0.0)
        rest = np.maximum(self.head - self.clock, 1e-300)
        with np.errstate(divide="ignore"):
            self.when = np.minimum(self.due, now + rest / self.level)
        self.flowing = self.level * self.free + self.held
        return float(self.flowing.sum())

    def commit_row(self, row: int, level: float, now: float) -> float:
        """Run one group at this level from ``now`` on; how much its rate has changed (bit/s)."""
        if self.free.item(row) == 0.0:
            level = 0.0
        flowing = level * self.free.item(row) + self.held.item(row)
        change = flowing - self.flowing.item(row)
        when = self.due.item(row)
        if level > 0.0:
            when = min(when, now + (self.head.item(row) - self.clock.item(row)) / level)
        self.level[row], self.flowing[row], self.when[row] = level, flowing, when
        return change
