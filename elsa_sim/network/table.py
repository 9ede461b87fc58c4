"""The numbers of all groups of flows as arrays, and progressive filling over all of them at once.

Tested in tests/network/test_incremental.py.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        self.full: Floats = np.full(1, np.inf)
        """The level at which a contended channel is full (bit/s); infinite if it is not."""
        self._crossed: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
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
        self._crossed = None
        row = self._spare.pop()
        self.since[row] = now
        for column, slot in zip(self.columns, slots, strict=False):
            column[row] = slot
        return row

    def give_back(self, row: int) -> None:
        """The group of a row has no flows any more."""
        self._crossed = None
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

    def slots(self, channels: int) -> list[int]:
        """So many more entries of ``room`` and ``full``."""
        size = len(self.room)
        self.room = np.concatenate([self.room, np.full(channels, np.inf)])
        self.full = np.concatenate([self.full, np.full(channels, np.inf)])
        return list(range(size + channels - 1, size - 1, -1))

    def fill(self, changed: Sequence[int], floor: float) -> tuple[Floats, bool]:
        """The max-min level of every group (bit/s), its held flows taken as given; and whether all channels cope.

        A round freezes, at its level, every channel that is the tightest one for all groups that cross it. The level of
        a group without free flows is the lowest among its full channels: what its held flows must stay below.

        Levels rise together, so what happens below ``floor``, the lowest level at which something is different from the
        last time, is known: groups that stayed below it keep their level, but those over ``changed`` entries of ``room``.
        """
        size, free = len(self.room), self.free
        rows, slots = self._crossings()
        level, full = np.full(len(free), np.inf), np.where(self.full < floor, self.full, np.inf)
        room = self.room - np.bincount(slots, self.held[rows], size)
        busy = has_free = free[rows] > 0.0
        count = np.bincount(slots, free[rows], size)
        self._push_back(np.flatnonzero((count == 0.0) & (room < -1e-9 * self.room)), room, full)
        kept = (self.level < floor) & (free > 0.0)
        if kept.any():
            touched = np.zeros(size, dtype=bool)
            touched[changed] = True
            kept[rows[touched[slots]]] = False
            level[kept] = self.level[kept]
            room -= np.bincount(slots, np.where(kept, self.level * free, 0.0)[rows], size)
            count -= np.bincount(slots, np.where(kept, free, 0.0)[rows], size)
            busy = has_free & ~kept[rows]
        row, slot = rows[busy], slots[busy]  # what is not frozen yet, in order of rows
        while len(row):
            share = np.full(size, np.inf)
            np.divide(room, count, out=share, where=count > 0.0)
            np.maximum(share, 0.0, out=share)
            own = share[slot]
            begins, lengths = _runs(row)
            least = np.minimum.reduceat(own, begins)
            limit = np.repeat(least, lengths)
            tight = np.ones(size, dtype=bool)
            tight[slot[own > limit]] = False
            hit = tight[slot]
            full[slot[hit]] = own[hit]
            frozen = np.logical_or.reduceat(hit, begins)
            level[row[begins[frozen]]] = least[frozen]
            gone = np.repeat(frozen, lengths)
            room -= np.bincount(slot[gone], free[row[gone]] * limit[gone], size)
            row, slot = row[~gone], slot[~gone]
            count = np.bincount(slot, free[row], size)
        if not has_free.all():
            row, own = rows[~has_free], full[slots[~has_free]]
            begins, _ = _runs(row)
            level[row[begins]] = np.minimum.reduceat(own, begins)
        self.full = full
        return level, bool((room >= -1e-9 * self.room - 1e-6).all())

    def _crossings(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Every (row, contended channel) of all groups, in order of rows."""
        if self._crossed is None:
            matrix = np.stack(self.columns, axis=1)
            used = matrix > 0
            self._crossed = np.nonzero(used)[0], matrix[used]
        return self._crossed

    def _push_back(self, crowded: NDArray[np.intp], room: Floats, full: Floats) -> None:
        """Channels with more held flows than they can carry: the fastest must be freed."""
        rows, slots = self._crossings()
        for slot in crowded.tolist():
            full[slot] = max(0.0, float(self.high[rows[slots == slot]].max()) + float(room[slot]))

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


def _runs(row: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where each run of equal numbers begins, and how long it is."""
    begins = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))
    return begins, np.diff(begins, append=len(row))
