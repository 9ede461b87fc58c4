"""A second opinion: the fluid model in plain Python, one round at a time, no code shared with the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Message:
    """A flow over channel indices: it enters at ``start``, and ``left`` bits drain."""

    route: tuple[int, ...]
    start: float
    bits: float
    left: float = field(init=False)
    end: float = math.inf

    def __post_init__(self) -> None:
        self.left = self.bits


def fair(routes: list[tuple[int, ...]], capacities: list[float]) -> list[float]:
    """Max-min rates by textbook filling: freeze the flows of the one tightest channel, again and again."""
    rates = [math.inf] * len(routes)
    room, active = list(capacities), {i for i, r in enumerate(routes) if r}
    while active:
        users = {c: [i for i in active for x in routes[i] if x == c] for c in range(len(room))}
        tight = min((c for c in users if users[c]), key=lambda c: room[c] / len(users[c]))
        level = max(0.0, room[tight] / len(users[tight]))
        for i in set(users[tight]):
            rates[i] = level
            for c in routes[i]:
                room[c] -= level
            active.discard(i)
    return rates


def simulate(messages: list[Message], capacities: list[float], changes: list[tuple[float, int, float]]) -> list[float]:
    """End times, with ``changes`` of capacity (time, channel, bit/s); infinite for messages that never end."""
    capacities = list(capacities)
    changes = sorted(changes)
    now = 0.0
    while True:
        while changes and changes[0][0] <= now + 1e-12:
            _, channel, capacity = changes.pop(0)
            capacities[channel] = capacity
        flows = [m for m in messages if m.start <= now + 1e-12 and m.end == math.inf]
        rates = fair([m.route for m in flows], capacities)
        for message, rate in zip(flows, rates, strict=True):
            if message.left <= max(rate, 1.0) * 1e-12:
                message.end = now
        if any(m.end == now for m in flows):
            continue
        times = [now + m.left / r for m, r in zip(flows, rates, strict=True) if r > 0]
        times += [m.start for m in messages if m.start > now + 1e-12] + [t for t, _, _ in changes]
        if not times:
            return [m.end for m in messages]
        step = min(times) - now
        for message, rate in zip(flows, rates, strict=True):
            message.left -= rate * step
            if message.left <= rate * 1e-12:
                message.left = 0.0
        now = min(times)
