"""A network as data: nodes with roles, links with bandwidth and latency, and routes over them."""

from __future__ import annotations

import heapq
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import networkx as nx

from ..base.errors import Fault, InputError
from .options import Duplex, LinkOptions

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
    its first entry ``up`` and ``down`` hold, and with a ``period`` (s) it begins again. ``jitter`` is the standard
    deviation of the latency (s), ``loss`` the probability that a packet is lost.
    """

    u: str
    v: str
    up: float
    down: float
    latency: float = 0.0
    duplex: Duplex = "full"
    profile: tuple[tuple[float, float], ...] = ()
    period: float | None = None
    cell: str | None = None
    jitter: float = 0.0
    loss: float = 0.0
    cell_bandwidth: float | None = None

    @classmethod
    def of(cls, u: str, v: str, options: LinkOptions, latency: float | None = None) -> Link:
        """The link ``u``-``v`` with these options; ``latency`` (s) overrides theirs."""
        down = options.up if options.down is None else options.down
        return cls(u, v, options.up, down, options.latency if latency is None else latency, options.duplex,
                   options.timed(), options.period, options.cell, options.jitter, options.loss,
                   options.cell_bandwidth)  # fmt: skip


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """The sort key in which ``client2`` comes before ``client10``."""
    return tuple((0, int(p), "") if p.isdecimal() and p.isascii() and len(p) < 4000 else (1, 0, p)
                 for p in re.split(r"(\d+)", name) if p)  # fmt: skip


@dataclass(frozen=True)
class Topology:
    """Nodes, links, and the routes of lowest latency between them."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

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
    def _nearest(self) -> dict[tuple[str, tuple[str, ...]], str]:
        """By where a node is attached, and the candidates."""
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

    def nearest(self, name: str, candidates: tuple[str, ...]) -> str:
        """The one of ``candidates`` with the least latency from ``name`` (itself, if it is one), the first among equals."""
        if name in candidates:
            return name
        start = self._gateway(name)  # what hangs off one node has the same nearest
        if (start, candidates) not in self._nearest:
            self._nearest[start, candidates] = min(candidates, key=lambda each: self.latency(start, each))
        return self._nearest[start, candidates]

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


def listed(names: Iterable[str], most: int = 5) -> str:
    """Quoted names for a message, at most ``most`` of them."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(repr(n) for n in found[:most]) + more


def faults_of(nodes: Sequence[Node], links: Sequence[Link], key: str = "", roles: bool = True) -> list[Fault]:
    """Every fault of a network, at the key ``key`` of its section; ``roles`` adds the rules about cloud and clients."""
    said: list[str] = []
    known: dict[str, Node] = {}
    for node in nodes:
        if node.name in known:
            said.append(f"two nodes are named {node.name!r}; names are unique")
        known[node.name] = node
    pairs: set[frozenset[str]] = set()
    for link in links:
        name = f"link {link.u!r}-{link.v!r}"
        missing = [end for end in (link.u, link.v) if end not in known]
        if missing:
            said.append(f"{name} names the unknown node {listed(missing)}")
        elif link.u == link.v:
            said.append(f"{name} joins a node to itself")
        elif frozenset((link.u, link.v)) in pairs:
            said.append(f"{name} is given twice; there is at most one link between two nodes, give it the sum")
        pairs.add(frozenset((link.u, link.v)))
        for what, value in (("up", link.up), ("down", link.down)):
            if not (math.isfinite(value) and value > 0):
                said.append(f"{name}: bandwidth {what} must be a finite number above 0 bit/s, got {value:g} "
                            "(an outage is a profile entry of 0)")  # fmt: skip
        if not (math.isfinite(link.latency) and link.latency >= 0):
            said.append(f"{name}: latency must be a finite number of at least 0 s, got {link.latency:g}")
    if roles:
        said += _role_faults(known, pairs)
    return [Fault(key, message) for message in said]


def _role_faults(known: dict[str, Node], pairs: set[frozenset[str]]) -> list[str]:
    said: list[str] = []
    clouds = [n.name for n in known.values() if n.role == "cloud"]
    if len(clouds) != 1:
        have = f"{len(clouds)}: {listed(clouds)}" if clouds else "none"
        said.append(f"exactly one node must have the role 'cloud'; there is {have}")
    if not any(n.role == "client" for n in known.values()):
        said.append("there is no client; give nodes the role 'client', or a number of clients to attach")
    near: dict[str, list[str]] = {name: [] for name in known}
    for u, v in (tuple(p) for p in pairs if len(p) == 2 and all(n in known for n in p)):
        near[u].append(v)
        near[v].append(u)
    reached, todo = set(clouds[:1]), clouds[:1]
    while todo:
        new = [n for n in near[todo.pop()] if n not in reached]
        reached.update(new)
        todo += new
    if clouds:
        cut = [n.name for n in known.values() if n.role in ("client", "edge") and n.name not in reached]
        if cut:
            said.append(f"no route to the cloud {clouds[0]!r} from {listed(sorted(cut, key=natural))}; add a link")
    return said
