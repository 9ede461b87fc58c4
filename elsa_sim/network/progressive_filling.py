"""Levels of a few groups of flows, in plain Python; and of any groups from their single flows.

Tested in tests/network/test_incremental.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..links import Flows, MaxMin
from .groups import Group
from .table import Table


def fill(
    groups: Sequence[Group],
    capacities: Sequence[float],
    on: Mapping[int, Mapping[Group, None]],
    slots: Sequence[int],
    table: Table,
) -> tuple[list[float], bool]:
    """As :meth:`.table.Table.fill`, for a few groups: freeze the tightest channel, again and again.

    ``on`` names the groups on every contended channel, ``slots`` its entry in ``table``, where ``full`` is kept.
    """
    if len(groups) == 1 and groups[0].free:  # one channel, or several that see the same flows
        (group,) = groups
        shares = [(capacities[c] / group.key.count(c) - group.held_rate) / group.free for c in group.key]
        least = min(shares)
        for channel, share in zip(group.key, shares, strict=True):
            table.full[slots[channel]] = math.inf if share > least else max(0.0, least)
        return [max(0.0, least)], least >= 0.0
    room: dict[int, float] = {}
    count: dict[int, int] = {}
    for group in groups:
        for channel in group.key:
            room[channel] = room.get(channel, capacities[channel]) - group.held_rate
            count[channel] = count.get(channel, 0) + group.free
    full = dict.fromkeys(room, math.inf)
    for channel, users in count.items():
        if not users and room[channel] < -1e-9 * capacities[channel]:
            fastest = max(table.high.item(g.index) for g in on[channel])
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
    for channel, at in full.items():
        table.full[slots[channel]] = at
    fits = all(rest >= -1e-9 * capacities[c] - 1e-6 for c, rest in room.items())
    return [level[group] for group in groups], fits


def fill_by_flow(groups: Sequence[Group], capacities: Sequence[float], now: float) -> list[float]:
    """Levels from the rates of the single flows, which are then held or free as these say: exact, and slow."""
    flows = [(group, flow) for group in groups for flow in group.flows()]
    size = len(capacities)
    limits = [flow.limit for _, flow in flows]
    routes = [(*group.key, size + i) for i, (group, _) in enumerate(flows)]
    rates = MaxMin().allocate(Flows(routes, np.zeros(len(routes))), np.array([*capacities, *limits]))
    levels = dict.fromkeys(groups, math.inf)
    for (group, flow), rate in zip(flows, rates.tolist(), strict=True):
        if rate < flow.limit:
            levels[group] = rate
    for group in groups:
        group.adjust(now, levels[group])
        group.write()
    return list(levels.values())
