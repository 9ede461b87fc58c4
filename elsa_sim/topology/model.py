"""A network as data: nodes with roles, links with bandwidth and latency, and routes over them."""

from __future__ import annotations

import heapq
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import networkx as nx
import numpy as np
import numpy.typing as npt

from ..base.errors import InputError
from ..base.listing import listed
from .options import Duplex, LinkOptions, Profile

Role = Literal["cloud", "edge", "client", "router"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True)
class Node:
    """A node. Positions are in m (``x``, ``y``) or in degrees (``lat``, ``lon``) where they are known."""

    name: str
    role: Role = "router"
    x: float | None = None
    y: float | None = None
    lat: float | None = None
    lon: float | None = None


@dataclass(frozen=True)
class Link:
    """A link between two nodes; in generated topologies ``u`` is the side of the client.

    ``up`` is the bandwidth of u -> v and ``down`` that of v -> u (bit/s), ``latency`` the one-way delay of either
    direction (s). The directions of a full-duplex link are two channels; those of a half-duplex link share ``up``.
    All links that name one ``cell`` also share its air interface, both directions together: ``cell_bandwidth``, or the
    largest ``up`` among them where that is not given (bit/s).
    From each time ``t`` (s) of ``profile`` on, both directions have that bandwidth (bit/s; 0 is an outage); before
    its first entry ``up`` and ``down`` hold, and with a ``period`` (s) it begins again. Where there is a ``profile_down``,
    it is that of v -> u, with ``period_down``, and ``profile`` that of u -> v alone. ``jitter`` is the standard deviation of
    the latency (s), ``loss`` the probability that a packet is lost.
    """

    u: str
    v: str
    up: float
    down: float
    latency: float = 0.0
    duplex: Duplex = "full"
    profile: Profile = ()
    period: float | None = None
    cell: str | None = None
    jitter: float = 0.0
    loss: float = 0.0
    cell_bandwidth: float | None = None
    profile_down: Profile | None = None
    period_down: float | None = None

    @classmethod
    def of(cls, u: str, v: str, options: LinkOptions, latency: float | None = None) -> Link:
        """The link ``u``-``v`` with these options; ``latency`` (s) overrides theirs."""
        down = options.up if options.down is None else options.down
        profile, period, profile_down, period_down = options.profiles()
        return cls(u, v, options.up, down, options.latency if latency is None else latency, options.duplex,
                   profile, period, options.cell, options.jitter, options.loss, options.cell_bandwidth,
                   profile_down, period_down)  # fmt: skip

    def profile_from(self, end: str) -> tuple[Profile, float | None]:
        """The profile of the direction from ``end``, and its period (s)."""
        return (
            (self.profile, self.period)
            if end == self.u or self.profile_down is None
            else (self.profile_down, self.period_down)
        )

    def most_from(self, end: str) -> float:
        """The largest bandwidth that the direction from ``end`` ever has (bit/s)."""
        static = self.up if end == self.u or self.duplex == "half" else self.down
        return max([static, *(bandwidth for _, bandwidth in self.profile_from(end)[0])])

    @property
    def varies(self) -> bool:
        """Whether a profile changes its bandwidth."""
        return bool(self.profile or self.profile_down)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """The sort key in which ``client2`` comes before ``client10``."""
    return tuple((0, int(p), "") if p.isdecimal() and p.isascii() and len(p) < 4000 else (1, 0, p)
                 for p in re.split(r"(\d+)", name) if p)  # fmt: skip


@dataclass(frozen=True)
class Topology:
    """Nodes, links, and the routes of lowest latency between them."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    notes: tuple[str, ...] = ()
    """What was filled in where a file says nothing."""

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._roles

    def names(self, role: Role | None = None) -> tuple[str, ...]:
        """The names of the nodes of one role (of all nodes without one), in natural order."""
        return self._names[role]

    @property
    def cloud(self) -> str:
        """The name of the one cloud node."""
        (name,) = self.names("cloud")
        return name

    def role(self, name: str) -> Role:
        """The role of a node.

        Raises:
            InputError: there is no such node.
        """
        if name not in self._roles:
            raise InputError(f"there is no node {name!r}")
        return self._roles[name]

    @cached_property
    def _roles(self) -> dict[str, Role]:
        return {node.name: node.role for node in self.nodes}

    @cached_property
    def _names(self) -> dict[str | None, tuple[str, ...]]:
        ordered = sorted(self.nodes, key=lambda node: natural(node.name))
        names: dict[str | None, tuple[str, ...]] = {None: tuple(node.name for node in ordered)}
        return names | {role: tuple(n.name for n in ordered if n.role == role) for role in ROLES}

    @cached_property
    def _between(self) -> dict[tuple[str, str], Link]:
        return {pair: link for link in self.links for pair in ((link.u, link.v), (link.v, link.u))}

    @cached_property
    def _neighbours(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for link in self.links:
            found[link.u].append(link.v)
            found[link.v].append(link.u)
        return found

    @cached_property
    def graph(self) -> nx.Graph[str]:
        """The undirected networkx graph, with the fields of nodes and links as attributes."""
        graph: nx.Graph[str] = nx.Graph()
        for node in self.nodes:
            graph.add_node(node.name, role=node.role, x=node.x, y=node.y, lat=node.lat, lon=node.lon)
        for link in self.links:
            graph.add_edge(link.u, link.v, up=link.up, down=link.down, latency=link.latency, u=link.u)
        return graph

    def link(self, a: str, b: str) -> Link:
        """The link between two neighbours, in whichever direction it was written.

        Raises:
            InputError: there is no such link.
        """
        if (a, b) not in self._between:
            raise InputError(f"there is no link between {a!r} and {b!r}")
        return self._between[a, b]

    def bandwidth(self, a: str, b: str) -> float:
        """The static bandwidth of the channel a -> b (bit/s)."""
        link = self.link(a, b)
        return link.up if link.u == a else link.down

    @cached_property
    def _nearest(self) -> dict[tuple[str, ...], dict[str, str]]:
        """By the candidates, and where a node is attached."""
        return {}

    @cached_property
    def _routes(self) -> dict[tuple[str, str], tuple[str, ...]]:
        return {}

    @cached_property
    def _trees(self) -> dict[str, dict[str, str]]:
        return {}

    def route(self, src: str, dst: str) -> tuple[str, ...]:
        """The node names from ``src`` to ``dst``: lowest latency, then fewest hops, then the lowest names.

        The way back is the same route reversed.

        Raises:
            InputError: a node is unknown, or no route exists.
        """
        found = self._routes.get((src, dst))
        if found is None:
            found = self._routes[src, dst] = self._find(src, dst)
        return found

    def latency(self, src: str, dst: str) -> float:
        """The sum of the latencies along the route (s)."""
        route = self.route(src, dst)
        return math.fsum(self._between[a, b].latency for a, b in itertools.pairwise(route))

    def remoteness(self, src: str, dst: str) -> tuple[int, int, tuple[tuple[int, int, str], ...]]:
        """How far ``dst`` is, to be compared: latency in whole ps, then hops, then the name in natural order.

        Whoever looks for the nearest compares by this, so that ties have one order everywhere.
        """
        return round(self.latency(src, dst) * 1e12), len(self.route(src, dst)), natural(dst)

    def distances(self, sources: Sequence[str], targets: Sequence[str]) -> npt.NDArray[np.float64]:
        """Latency from each source to each target (s), with 1 fs for every hop, so that equal latencies are told apart."""
        apart = [[self.latency(s, t) + 1e-15 * len(self.route(s, t)) for t in targets] for s in sources]
        return np.array(apart, dtype=np.float64).reshape(len(sources), len(targets))

    def nearest(self, name: str, candidates: Sequence[str]) -> str:
        """The nearest of ``candidates`` (itself, if it is one): by :meth:`remoteness`.

        Raises:
            InputError: there is no candidate, or no route to one.
        """
        return self.nearest_of([name], candidates)[name]

    def nearest_of(self, names: Sequence[str], candidates: Sequence[str]) -> dict[str, str]:
        """Each of ``names`` -> the nearest of ``candidates``, as :meth:`nearest`.

        Raises:
            InputError: there is no candidate, or no route to one.
        """
        among, found = tuple(candidates), {}
        if not among:
            raise InputError(f"there is nothing that could be nearest to {listed(names, quoted=True)}")
        known, themselves = self._nearest.setdefault(among, {}), frozenset(among)
        for name in names:
            start = name if name in themselves else self._gateway(name)  # what hangs off one node has the same nearest
            if start not in known:
                known[start] = (
                    start if start in themselves else min(among, key=lambda each: self.remoteness(start, each))
                )
            found[name] = known[start]
        return found

    def _find(self, src: str, dst: str) -> tuple[str, ...]:
        rank = {"cloud": 0, "edge": 1, "router": 2, "client": 3}
        if (rank[self.role(src)], natural(src)) < (rank[self.role(dst)], natural(dst)):
            return tuple(reversed(self.route(dst, src)))  # trees are rooted at the rarer role
        if src == dst:
            return (src,)
        start, root = self._gateway(src), self._gateway(dst)
        if start == dst or root == src:  # one of the two hangs off the other
            return (src, dst)
        tree = self._trees.get(root)
        if tree is None:
            tree = self._trees[root] = self._tree(root)
        if start not in tree:
            raise InputError(f"there is no route from {src!r} to {dst!r}")
        path = [src, start] if start != src else [src]
        while path[-1] != root:
            path.append(tree[path[-1]])
        return (*path, dst) if root != dst else tuple(path)

    def _gateway(self, name: str) -> str:
        """The only neighbour of a leaf, any other node itself: 10,000 clients need no tree of their own."""
        near = self._neighbours[name]
        return near[0] if len(near) == 1 and len(self._neighbours[near[0]]) > 1 else name

    def _tree(self, root: str) -> dict[str, str]:
        """Node -> next hop towards ``root`` along the best route (Dijkstra; latencies in whole ps: ties tie)."""
        near, link = self._neighbours, self._between
        hop: dict[str, str] = {}
        heap: list[tuple[int, int, tuple[str, ...], str]] = [(0, 0, (), root)]
        while heap:
            cost, hops, path, node = heapq.heappop(heap)
            if node in hop:
                continue
            hop[node] = path[0] if path else node
            for other in near[node]:
                if other not in hop and (len(near[other]) > 1 or node == root):
                    step = round(link[node, other].latency * 1e12)
                    heapq.heappush(heap, (cost + step, hops + 1, (node, *path), other))
        return hop
