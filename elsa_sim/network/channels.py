"""The channels of a topology: who shares which capacity, how it changes over time, and paths over them."""

from __future__ import annotations

import heapq
import itertools
import math
import typing
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..base.errors import InputError
from ..base.intervals import Interval, Presence
from ..base.streams import Streams
from ..topology import Link, Topology
from .downtimes import presence
from .options import NetworkOptions
from .profiles import BandwidthProfile, SharedProfiles


@dataclass(frozen=True, slots=True)
class Path:
    """A route as the engine needs it: channels, and latency and its jitter per hop (s).

    ``inflation`` is how often each byte is sent on average because packets are lost, ``cap`` the highest rate that
    congestion control reaches under that loss (bit/s).
    """

    src: str
    dst: str
    route: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    hops: tuple[tuple[int, ...], ...]
    """The channels of every hop: one of its link, and that of its cell if it has one."""
    channels: tuple[int, ...]
    latencies: tuple[float, ...]
    jitters: tuple[float, ...]
    latency: float
    jitter: float
    inflation: float
    cap: float


class Bandwidths(typing.Protocol):
    """Where the bandwidth of some channels comes from, instead of from their links: a radio, say."""

    def changes(self, now: float) -> Mapping[tuple[str, str], float]:
        """The channels (u, v) whose bandwidth may have changed since this was last asked, with that of ``now`` (bit/s)."""

    def next_change(self, now: float) -> float:
        """When a bandwidth changes next by itself (s; infinite if never)."""


@dataclass(frozen=True, slots=True)
class _Timed:
    """A link whose bandwidth may change: by its profiles, and when it is down."""

    link: Link
    channels: tuple[int, int]
    presence: Presence | None
    profiles: tuple[BandwidthProfile, BandwidthProfile]
    """Of both directions."""

    def at(self, now: float) -> tuple[float, float]:
        """The bandwidth of both directions (bit/s)."""
        link, (up, down) = self.link, self.profiles
        if self.out(now):
            return 0.0, 0.0
        soon = now + _near(now)
        if link.duplex == "half":
            return (up.at(soon, link.up),) * 2
        return up.at(soon, link.up), down.at(soon, link.down)

    def out(self, now: float) -> bool:
        """Whether there is an outage."""
        now += _near(now)
        return self.presence is not None and self.presence.back(now) > now

    def next_change(self, now: float) -> float:
        """When this may change next (s; infinite if never)."""
        soon = now + _near(now)
        edges = [profile.next_change(soon) for profile in self.profiles]
        if self.presence is not None:
            back = self.presence.back(soon)
            edges.append(back if back > soon else self.presence.leaves(soon))
        return min(edges)


class Channels:
    """One index per capacity: per direction of a full-duplex link, per half-duplex link, and per cell."""

    def __init__(self, topology: Topology, options: NetworkOptions, streams: Streams) -> None:
        self.topology = topology
        self.index: dict[tuple[str, str], tuple[int, ...]] = {}
        self.capacities: list[float] = []
        self.most: list[float] = []
        """The largest bandwidth that each channel may ever have (bit/s): infinite where a source says, or for a cell."""
        self.changed = 0
        """How often capacities, or what they may be, have changed."""
        self.carried_bytes: dict[tuple[str, str], float] = {}
        self.down: dict[int, float] = {}
        """Channels without bandwidth, and since when that is known (s)."""
        self._options = options
        self._streams = streams
        self._draws: dict[tuple[str, ...], np.random.Generator] = {}
        self._paths: dict[tuple[str, str] | tuple[str, ...], Path] = {}
        self._timed: list[_Timed] = []
        self._steady: list[_Timed] = []
        self._disconnected: Counter[str] = Counter()
        self._sources: list[Bandwidths] = []
        self._given: dict[int, float] = {}  # channel -> bandwidth from a source
        self._link_of: dict[int, _Timed] = {}
        self._soon: list[tuple[float, int]] = []  # (time, index in _timed) of the next changes, as a heap
        cells: dict[str, int] = {}
        stated: dict[str, list[float]] = {}
        shared_profiles = SharedProfiles()
        for link in topology.links:
            up = self._add(link.up, link.most_from(link.u))
            down = self._add(link.down, link.most_from(link.v)) if link.duplex == "full" else up
            shared: tuple[int, ...] = ()
            if link.cell is not None:
                if link.cell not in cells:
                    cells[link.cell] = self._add(0.0)
                shared = (cells[link.cell],)
                stated.setdefault(link.cell, []).extend(b for b in (link.cell_bandwidth,) if b is not None)
                self.capacities[shared[0]] = max(self.capacities[shared[0]], link.up)
            for pair, channel in (((link.u, link.v), up), ((link.v, link.u), down)):
                self.index[pair] = (channel, *shared)
                self.carried_bytes[pair] = 0.0
            there = presence(link, topology, options, streams)
            if link.varies or there is not None:
                self._soon.append((0.0, len(self._timed)))
                profiles = shared_profiles.of(link.profile_from(link.u)), shared_profiles.of(link.profile_from(link.v))
                self._timed.append(_Timed(link, (up, down), there, profiles))
            else:
                self._steady.append(_Timed(link, (up, down), None, (BandwidthProfile(), BandwidthProfile())))
        for cell, bandwidths in stated.items():
            if bandwidths:
                self.capacities[cells[cell]] = min(bandwidths)

    def outages(self) -> dict[tuple[str, str], Iterator[Interval]]:
        """Link -> the times from and to which it is down by an outage or a failure (s), in order, perhaps without end."""
        return {(t.link.u, t.link.v): t.presence.intervals() for t in self._timed if t.presence is not None}

    def _add(self, capacity: float, most: float = math.inf) -> int:
        self.capacities.append(capacity)
        self.most.append(most)
        return len(self.capacities) - 1

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
            links = [self.topology.link(u, v) for u, v in pairs]
            hops = tuple(self.index[pair] for pair in pairs)
            latency, arriving = math.fsum(k.latency for k in links), math.prod(1.0 - k.loss for k in links)
            found = Path(src, dst, nodes, pairs, hops, tuple(c for hop in hops for c in hop), tuple(k.latency for k in links),
                         tuple(k.jitter for k in links), latency, math.sqrt(math.fsum(k.jitter**2 for k in links)),
                         1.0 / arriving, self._ceiling(1.0 - arriving, latency))  # fmt: skip
            self._paths[key] = found
        return found

    def _ceiling(self, loss: float, latency: float) -> float:
        """The rate of one TCP connection under loss (bit/s; Mathis et al. 1997: MSS / RTT * sqrt(3 / (2 p)))."""
        if self._options.loss != "mathis" or loss <= 0.0 or latency <= 0.0:
            return math.inf
        return 8.0 * self._options.transport.segment / (2.0 * latency) * math.sqrt(1.5 / loss)

    def latency(self, path: Path, hop: int | None = None) -> float:
        """The latency of the next message over a path, or over one hop of it (s): normal around the stated, not below 0.

        Each pair of nodes draws from a stream of its own, so that its n-th message meets the same jitter in every run.
        """
        mean, deviation = (path.latency, path.jitter) if hop is None else (path.latencies[hop], path.jitters[hop])
        if not deviation:
            return mean
        name = (path.src, path.dst) if hop is None else (path.src, path.dst, path.route[hop])
        if name not in self._draws:
            self._draws[name] = self._streams.numpy("jitter", *name)
        return max(0.0, mean + deviation * float(self._draws[name].standard_normal()))

    def follow(self, source: Bandwidths) -> None:
        """Take the bandwidth of the channels that ``source`` names from there; outages and disconnected nodes stay as they are."""
        self._sources.append(source)
        self._link_of = {c: timed for timed in (*self._timed, *self._steady) for c in timed.channels}

    def changes(self, now: float) -> dict[int, float]:
        """The channels whose bandwidth may have changed since this was last asked, with that of ``now`` (bit/s)."""
        changed: dict[int, float] = {}
        while self._soon and self._soon[0][0] <= now + _near(now):
            i = heapq.heappop(self._soon)[1]
            timed = self._timed[i]
            changed |= self._now(timed, now)
            following = timed.next_change(now)
            if following < math.inf:
                heapq.heappush(self._soon, (following, i))
        for source in self._sources:
            for pair, bandwidth in source.changes(now).items():
                channel = self.index[pair][0]
                self._given[channel], self.most[channel] = bandwidth, math.inf
                changed |= self._now(self._link_of[channel], now)
        return changed

    def _now(self, timed: _Timed, now: float) -> dict[int, float]:
        dead = self._disconnected[timed.link.u] or self._disconnected[timed.link.v]
        if dead or timed.out(now):
            return dict.fromkeys(timed.channels, 0.0)
        return {c: self._given.get(c, own) for c, own in zip(timed.channels, timed.at(now), strict=True)}

    def disconnect(self, node: str, now: float) -> dict[int, float]:
        """All links of a node are down, once more; the channels of its links, as in ``changes``.

        Raises:
            InputError: there is no such node.
        """
        self.topology.role(node)
        self._disconnected[node] += 1
        return self._of(node, now)

    def reconnect(self, node: str, now: float) -> dict[int, float]:
        """Undo one :meth:`disconnect`, if there is one to undo."""
        self.topology.role(node)
        if self._disconnected[node] > 0:
            self._disconnected[node] -= 1
        return self._of(node, now)

    def _of(self, node: str, now: float) -> dict[int, float]:
        """The channels of the links of a node, with the bandwidth of ``now`` (bit/s)."""
        found: dict[int, float] = {}
        for timed in self._links_at[node]:
            found |= self._now(timed, now)
        return found

    @cached_property
    def _links_at(self) -> defaultdict[str, list[_Timed]]:
        """Node -> its links."""
        found: defaultdict[str, list[_Timed]] = defaultdict(list)
        for timed in itertools.chain(self._timed, self._steady):
            found[timed.link.u].append(timed)
            found[timed.link.v].append(timed)
        return found

    def next_change(self, now: float) -> float:
        """When a bandwidth changes next (s; infinite if never)."""
        own = self._soon[0][0] if self._soon else math.inf
        return min([own, *(source.next_change(now) for source in self._sources)])


def _near(now: float) -> float:
    """Times so near (s) are one, so that a change is seen at the instant it is woken for."""
    return 1e-9 * max(1.0, now * 1e-6)
