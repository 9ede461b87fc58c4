"""Max-min fairness for many flows: only what an event touches is shared anew, group by group.

See :mod:`.groups` for what a group is. When a flow enters, ends, or a capacity changes, the groups connected to it
through contended channels get new levels by progressive filling: in plain Python if they are few, with NumPy over
all groups at once if they are many. Which flows are held at their limit is taken over from the last time, checked
against the new levels, and corrected until it fits; should that not settle, filling flow by flow decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .fluid import Flow, slack
from .groups import Group
from .progressive_filling import fill, fill_by_flow
from .table import Table


class IncrementalMaxMin:
    """Flows under max-min fairness: the same times as :class:`.fluid.ResolveAll`, for a fraction of the work."""

    FEW = 12
    """Up to so many connected groups get their levels in plain Python."""
    TRIES = 12
    """So often held flows are corrected before filling flow by flow decides."""

    def __init__(self, capacities: Sequence[float]) -> None:
        size = len(capacities)
        self.over: list[str] = []
        self.drained = 0.0
        self._capacities = list(capacities)
        self._users = [0] * size
        self._sole: list[Flow | None] = [None] * size
        self._slot = [0] * size  # of a contended channel in the table's room, 0 for others
        self._spare_slots: list[int] = []
        self._table = Table()
        self._groups: dict[tuple[int, ...], Group] = {}
        self._rows: dict[int, Group] = {}
        self._on: dict[int, dict[Group, None]] = {}  # contended channel -> its groups
        self._changed: dict[Group, None] = {}  # groups whose row is out of date
        self._dirty: dict[int, bool] = {}  # contended channels to share anew -> whether that may lower their level
        self._known = False  # whether the table knows at which level channels are full
        self._twice = False  # whether a flow ever crossed a channel twice
        self._now = 0.0
        self._rate = 0.0
        self._next = math.inf

    # -- changes ------------------------------------------------------------------------------------------------------

    def enter(self, flow: Flow, now: float) -> None:
        moved: list[Flow] = []
        channels = set(flow.channels)
        self._twice |= len(channels) < len(flow.channels)
        for channel in channels:
            flow.dead += self._capacities[channel] <= 0.0
            self._users[channel] += 1
            if self._users[channel] == 1:
                self._sole[channel] = flow
            elif not self._slot[channel]:
                self._contend(channel)
                other = self._sole[channel]
                if other is not None and other not in moved:
                    moved.append(other)
        for other in moved:
            self._take_out(other, now)
            self._put(other, now)
        self._put(flow, now)
        flow.run(now, not flow.dead)

    def leave(self, flow: Flow, now: float) -> None:
        flow.run(now, False)
        self._take_out(flow, now)
        self._vacate(flow)

    def set_capacity(self, channel: int, capacity: float, now: float) -> None:
        before = self._capacities[channel]
        if capacity == before:
            return
        self._capacities[channel] = capacity
        if before <= 0.0 or capacity <= 0.0:
            for one in self._flows(channel):
                one.dead += 1 if capacity <= 0.0 else -1
                one.run(now, not one.dead)
        if self._slot[channel]:
            self._table.room[self._slot[channel]] = capacity
            self._dirty[channel] = True
        elif self._users[channel]:
            flow = self._sole[channel]
            assert flow is not None
            self._take_out(flow, now)
            self._put(flow, now)

    def left(self, flow: Flow, now: float) -> float:
        group: Group = flow.group
        return group.left(flow, now)

    def next_time(self) -> float:
        return self._next

    def _flows(self, channel: int) -> list[Flow]:
        """The flows over a channel."""
        if self._slot[channel]:
            return [flow for group in self._on[channel] for flow in group.flows()]
        sole = self._sole[channel]
        return [] if sole is None else [sole]

    def _contend(self, channel: int) -> None:
        """A second flow: the channel takes part in sharing until it is empty."""
        table = self._table
        if not self._spare_slots:
            self._spare_slots = table.slots(len(table.room))
        slot = self._slot[channel] = self._spare_slots.pop()
        table.room[slot], table.full[slot] = self._capacities[channel], math.inf
        self._on[channel] = {}

    def _vacate(self, flow: Flow) -> None:
        for channel in set(flow.channels):
            self._users[channel] -= 1
            if self._users[channel] == 0:
                self._sole[channel] = None

    def _put(self, flow: Flow, now: float) -> None:
        """Put a flow into the group of its contended channels; the private ones limit it."""
        key: list[int] = []
        limit = flow.cap
        channels = flow.channels
        for channel in channels:
            if self._slot[channel]:
                key.append(channel)
            else:
                capacity = self._capacities[channel]
                if len(channels) > 1:
                    capacity /= channels.count(channel)
                limit = min(limit, capacity)
        key.sort()
        flow.limit = limit
        name = tuple(key)
        group = self._groups.get(name)
        if group is None:
            row = self._table.take([self._slot[channel] for channel in name], now)
            group = self._groups[name] = self._rows[row] = Group(name, row, self._table)
            for channel in name:
                self._on[channel][group] = None
        group.add(flow, now)
        self._touch(group, True)

    def _take_out(self, flow: Flow, now: float) -> None:
        group: Group = flow.group
        group.remove(flow, now)
        self._touch(group)

    def _touch(self, group: Group, added: bool = False) -> None:
        self._changed[group] = None
        for channel in group.key:
            self._dirty[channel] = added or self._dirty.get(channel, False)

    # -- settling -----------------------------------------------------------------------------------------------------

    def settle(self, now: float) -> list[Flow]:
        if now > self._now:
            self.drained += self._rate * (now - self._now)
            self._now = now
        near = slack(now)
        done: list[Flow] = []
        if self._next <= now + near:
            for row in np.flatnonzero(self._table.when <= now + near).tolist():
                self._touch(self._rows[row])
        for group in list(self._changed):  # a flow that is done may just have moved to another group
            done += group.done(now, near)
        if done:
            done.sort(key=lambda flow: flow.order)
            for flow in done:
                flow.run(now, False)
                self._vacate(flow)
        self._write_back(now)
        if self._dirty:
            self._share(now)
        self._next = float(self._table.when.min()) if self._groups else math.inf
        return done

    def _write_back(self, now: float) -> None:
        """Bring the rows of changed groups up to date; drop empty groups and channels that are contended no more."""
        for group in self._changed:
            if group.free or group.held:
                group.write()
                if not group.key:
                    self._rate += self._table.commit_row(group.index, 0.0, now)
            else:
                self._rate -= self._table.flowing.item(group.index)
                del self._groups[group.key], self._rows[group.index]
                for channel in set(group.key):
                    del self._on[channel][group]
                    if not self._on[channel]:
                        self._spare_slots.append(self._slot[channel])
                        self._table.room[self._slot[channel]] = self._table.full[self._slot[channel]] = math.inf
                        self._slot[channel] = 0
                        del self._on[channel]
                        self._dirty.pop(channel, None)
                self._table.give_back(group.index)
        self._changed.clear()
        if not self._groups:
            self._rate = 0.0

    def _share(self, now: float) -> None:
        few = self._connected()
        if few is None:
            self._share_many(now)
        elif few:
            self._share_few(few, now)
        self._dirty.clear()

    def _connected(self) -> list[Group] | None:
        """The groups connected to a change through contended channels; ``None`` if they are too many to list."""
        found: dict[Group, None] = {}
        channels = list(self._dirty)
        seen = set(channels)
        for channel in channels:
            groups = self._on[channel]
            if len(groups) > self.FEW:
                return None
            for group in groups:
                if group not in found:
                    found[group] = None
                    new = [other for other in group.key if other not in seen]
                    seen.update(new)
                    channels += new
            if len(found) > self.FEW:
                return None
        return list(found)

    def _share_few(self, groups: list[Group], now: float) -> None:
        table = self._table
        for group in groups:
            group.tick(now)
        for _ in range(self.TRIES):
            levels, fits = fill(groups, self._capacities, self._on, self._slot, self._table)
            changed = [g for g, level in zip(groups, levels, strict=True) if g.adjust(now, level)]
            if not changed:
                break
            for group in changed:
                group.write()
        else:
            levels, fits = self._fill_by_flow(groups, now), True
        for group, level in zip(groups, levels, strict=True):
            self._rate += table.commit_row(group.index, level, now)
        self._note_overload(fits, now)

    def _share_many(self, now: float) -> None:
        table = self._table
        table.advance(now)
        changed_slots, floor = [self._slot[channel] for channel in self._dirty], self._floor()
        for _ in range(self.TRIES):
            levels, fits = table.fill(changed_slots, floor)
            floor, self._known = 0.0, True
            wrong = np.flatnonzero((levels > table.low) | (levels < table.high)).tolist()
            changed = [g for g in map(self._rows.__getitem__, wrong) if g.adjust(now, levels.item(g.index))]
            if not changed:
                break
            for group in changed:
                group.write()
        else:
            groups = list(self._groups.values())
            levels, fits = np.full(len(table.free), np.inf), True
            for group, level in zip(groups, self._fill_by_flow(groups, now), strict=True):
                levels[group.index] = level
        self._rate = table.commit(levels, now)
        self._note_overload(fits, now)

    def _floor(self) -> float:
        """Below this level (bit/s), nothing is different from the last time that levels were found.

        Who has left was there up to the level of its channels. Who has come makes a channel full at no less than an
        even share of it.
        """
        if self._twice or not self._known:
            return 0.0
        full, slot, users = self._table.full, self._slot, self._users
        floor = math.inf
        for channel, added in self._dirty.items():
            floor = min(floor, full.item(slot[channel]))
            if added:
                floor = min(floor, self._capacities[channel] / users[channel])
        return floor * (1.0 - 1e-9)

    def _note_overload(self, fits: bool, now: float) -> None:
        if not fits and len(self.over) < 10:
            self.over.append(f"a channel carried more than its capacity from {now:.9g} s on")

    def _fill_by_flow(self, groups: list[Group], now: float) -> list[float]:
        self._known = False
        return fill_by_flow(groups, self._capacities, now)
