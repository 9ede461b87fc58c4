"""The channels of a topology: who shares which capacity, how it changes over time, and paths over them."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..topology import Link, Topology


@dataclass(frozen=True, slots=True)
class Path:
    """A route as the engine needs it: channel indices, and latency per hop (s)."""

    src: str
    dst: str
    route: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    channels: tuple[int, ...]
    latencies: tuple[float, ...]
    latency: float


class Channels:
    """One index per capacity: per direction of a full-duplex link, per half-duplex link, per cell."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.index: dict[tuple[str, str], int] = {}
        self.capacities: list[float] = []
        self.carried_bytes: dict[tuple[str, str], float] = {}
        self._paths: dict[tuple[str, str] | tuple[str, ...], Path] = {}
        self._timed: list[tuple[Link, tuple[float, float], tuple[int, int]]] = []
        cells: dict[str, int] = {}
        for link in topology.links:
            if link.cell is not None:
                up = down = cells.setdefault(link.cell, len(self.capacities))
            else:
                up = down = len(self.capacities)
                down += link.duplex == "full"
            for channel, bandwidth in ((up, link.up), (down, link.down if down > up else link.up)):
                if channel == len(self.capacities):
                    self.capacities.append(bandwidth)
                self.capacities[channel] = min(self.capacities[channel], bandwidth)
            for pair, channel in (((link.u, link.v), up), ((link.v, link.u), down)):
                self.index[pair] = channel
                self.carried_bytes[pair] = 0.0
            if link.profile:
                self._timed.append((link, (self.capacities[up], self.capacities[down]), (up, down)))

    def path(self, src: str, dst: str, route: Sequence[str] | None = None) -> Path:
        """The path along ``route``, or along the topology's own route.

        Raises:
            InputError: unknown nodes, no route, or a route over a link that does not exist.
        """
        key = (src, dst) if route is None else (src, dst, *route)
        found = self._paths.get(key)
        if found is None:
            nodes = self.topology.route(src, dst) if route is None else tuple(route)
            if not nodes or nodes[0] != src or nodes[-1] != dst:
                raise InputError(f"a route from {src!r} to {dst!r} begins and ends with them, got {list(nodes)!r}")
            self.topology.role(src)
            pairs = tuple(itertools.pairwise(nodes))
            latencies = tuple(self.topology.link(u, v).latency for u, v in pairs)
            channels = tuple(self.index[pair] for pair in pairs)
            found = Path(src, dst, nodes, pairs, channels, latencies, math.fsum(latencies))
            self._paths[key] = found
        return found

    def at(self, now: float) -> Iterator[tuple[int, float]]:
        """Every channel whose bandwidth changes over time, with that of ``now`` (bit/s)."""
        for link, (up, down), (there, back) in self._timed:
            times = [t for t, _ in link.profile]
            step = bisect.bisect_right(times, _phase(link, now)) - 1
            yield there, up if step < 0 else link.profile[step][1]
            if back != there:
                yield back, down if step < 0 else link.profile[step][1]

    def next_change(self, now: float) -> float:
        """When a bandwidth changes next (s; infinite if never)."""
        return min((_next_step(link, now) for link, _, _ in self._timed), default=math.inf)


def _phase(link: Link, now: float) -> float:
    """The time within the profile; 1e-9 s are forgiven, so that a change is seen at the instant it is woken for."""
    phase = now + 1e-9 * max(1.0, now * 1e-6)
    return phase if link.period is None else math.fmod(phase, link.period)


def _next_step(link: Link, now: float) -> float:
    phase = _phase(link, now)
    times = [t for t, _ in link.profile]
    index = bisect.bisect_right(times, phase)
    begin = 0.0 if link.period is None else math.floor((now + 1e-9 * max(1.0, now * 1e-6)) / link.period) * link.period
    if index < len(times):
        return begin + times[index]
    if link.period is None:
        return math.inf
    return begin + link.period + (0.0 if times[0] > 0 else times[0])
