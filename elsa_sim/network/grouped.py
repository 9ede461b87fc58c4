"""Max-min fairness for many flows: only what an event touches is shared anew, group by group.

See :mod:`.groups` for what a group is. When a flow enters, ends, or a capacity changes, the groups connected to it
through contended channels are levelled anew by progressive filling: in plain Python if they are few, with NumPy over
all groups at once if they are many. Which flows are held at their limit is taken over from the last time, checked
against the new levels, and corrected until it fits; should that not settle, the textbook's filling decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..links import MaxMin
from .fluid import Flow, slack
from .groups import Group
from .table import Table


class Grouped:
    """Flows under max-min fairness: the same times as :class:`.fluid.ResolveAll`, for a fraction of the work."""

    FEW = 12
    """Up to so many connected groups are levelled in plain Python."""
    TRIES = 12
    """So often held flows are corrected before the textbook decides."""

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
        self._dirty: dict[int, None] = {}  # contended channels to share anew
        self._now = 0.0
        self._rate = 0.0
        self._next = math.inf

    # -- changes ------------------------------------------------------------------------------------------------------

    def enter(self, flow: Flow, now: float) -> None:
        moved: list[Flow] = []
        for channel in set(flow.channels):
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

    def leave(self, flow: Flow, now: float) -> None:
        self._take_out(flow, now)
        self._vacate(flow)

    def set_capacity(self, channel: int, capacity: float, now: float) -> None:
        if capacity == self._capacities[channel]:
            return
        self._capacities[channel] = capacity
        if self._slot[channel]:
            self._table.room[self._slot[channel]] = capacity
            self._dirty[channel] = None
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

    def _contend(self, channel: int) -> None:
        """A second flow: the channel takes part in sharing until it is empty."""
        table = self._table
        if not self._spare_slots:
            size = len(table.room)
            table.room = np.concatenate([table.room, np.full(size, np.inf)])
            self._spare_slots = list(range(2 * size - 1, size - 1, -1))
        slot = self._slot[channel] = self._spare_slots.pop()
        table.room[slot] = self._capacities[channel]
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
        self._touch(group)

    def _take_out(self, flow: Flow, now: float) -> None:
        group: Group = flow.group
        group.remove(flow, now)
        self._touch(group)

    def _touch(self, group: Group) -> None:
        self._changed[group] = None
        for channel in group.key:
            self._dirty[channel] = None

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
            ended = group.done(now, near)
            if ended:
                self._touch(group)
                done += ended
        if done:
            done.sort(key=lambda flow: flow.order)
            for flow in done:
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
                        self._table.room[self._slot[channel]] = math.inf
                        self._slot[channel] = 0
                        del self._on[channel]
                        self._dirty.pop(channel, None)
                self._table.give_back(group.index)
        self._changed.clear()
        if not self._groups:
            self._rate = 0.0

    def _share(self, now: float) -> None:
        few = self._connected()
        self._dirty.clear()
        if few is None:
            self._share_many(now)
        elif few:
            self._share_few(few, now)

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
            levels, fits = self._fill(groups)
            changed = [g for g, level in zip(groups, levels, strict=True) if g.adjust(now, level)]
            if not changed:
                break
            for group in changed:
                group.write()
        else:
            levels, fits = self._textbook(groups, now), True
        for group, level in zip(groups, levels, strict=True):
            self._rate += table.commit_row(group.index, level, now)
        self._judge(fits, now)

    def _share_many(self, now: float) -> None:
        table = self._table
        table.advance(now)
        for _ in range(self.TRIES):
            levels, fits = table.fill()
            wrong = np.flatnonzero((levels > table.low) | (levels < table.high)).tolist()
            changed = [g for g in map(self._rows.__getitem__, wrong) if g.adjust(now, levels.item(g.index))]
            if not changed:
                break
            for group in changed:
                group.write()
        else:
            groups = list(self._groups.values())
            levels, fits = np.full(len(table.free), np.inf), True
            for group, level in zip(groups, self._textbook(groups, now), strict=True):
                levels[group.index] = level
        self._rate = table.commit(levels, now)
        self._judge(fits, now)

    def _judge(self, fits: bool, now: float) -> None:
        if not fits and len(self.over) < 10:
            self.over.append(f"a channel carried more than its capacity from {now:.9g} s on")

    def _fill(self, groups: list[Group]) -> tuple[list[float], bool]:
        """As :meth:`.table.Table.fill`, for a few groups: freeze the tightest channel, again and again."""
        if len(groups) == 1 and groups[0].free:  # one channel, or several that see the same flows
            (group,) = groups
            free, held = group.free, group.held_rate
            shares = [(self._capacities[c] / group.key.count(c) - held) / free for c in group.key]
            return [max(0.0, min(shares))], min(shares) >= 0.0
        room: dict[int, float] = {}
        count: dict[int, int] = {}
        for group in groups:
            for channel in group.key:
                room[channel] = room.get(channel, self._capacities[channel]) - group.held_rate
                count[channel] = count.get(channel, 0) + group.free
        full = dict.fromkeys(room, math.inf)
        for channel, users in count.items():
            if not users and room[channel] < -1e-9 * self._capacities[channel]:
                fastest = max(self._table.high.item(g.index) for g in self._on[channel])
                full[channel] = max(0.0, fastest + room[channel])
        level = dict.fromkeys(groups, math.inf)
        active = [group for group in groups if group.free]
        while active:
            tightest = min((room[c] / n, c) for c, n in count.items() if n)[1]
            share = full[tightest] = max(0.0, room[tightest] / count[tightest])
            for group in active:
                if tightest in group.key:
                    level[group] = share
                    for channel in group.key:
                        room[channel] -= share * group.free
                        count[channel] -= group.free
            active = [group for group in active if level[group] == math.inf]
        for group in groups:
            if not group.free:
                level[group] = min(full[channel] for channel in group.key)
        fits = all(rest >= -1e-9 * self._capacities[c] - 1e-6 for c, rest in room.items())
        return [level[group] for group in groups], fits

    def _textbook(self, groups: list[Group], now: float) -> list[float]:
        """Levels from the rates of the single flows, which are then held or free as these say: exact, and slow."""
        flows = [(group, flow) for group in groups for flow in group.flows()]
        size = len(self._capacities)
        limits = [flow.limit for _, flow in flows]
        routes = [(*group.key, size + i) for i, (group, _) in enumerate(flows)]
        rates = MaxMin().allocate(routes, np.array([*self._capacities, *limits]))
        levels = dict.fromkeys(groups, math.inf)
        for (group, flow), rate in zip(flows, rates.tolist(), strict=True):
            if rate < flow.limit:
                levels[group] = rate
        for group in groups:
            group.adjust(now, levels[group])
            group.write()
        return list(levels.values())
