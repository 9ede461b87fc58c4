"""Generated topologies: trees, and networkx graphs of routers with servers and clients attached by a rule.

The rule for graphs of routers: the cloud hangs off the router with most links (the lowest number among equals);
edge server j of E hangs off the (j * R // E)-th of the R routers that may take one, both over ``backhaul`` links;
client i hangs off edge server i mod E over an ``access`` link.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import networkx as nx
import numpy as np
from annotated_types import Ge, Le, MultipleOf
from pydantic import Field

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.units import Distance
from .model import Node, Topology
from .options import LinkOptions
from .source import Count, LinkMaker, TopologySource, checked

Probability = Annotated[float, Ge(0.0), Le(1.0)]


class _Generated(TopologySource):
    clients: Count
    """Number of clients: client0, client1, ..."""
    access: LinkOptions
    """Link of a client; ``up`` is from the client."""
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options that differ for the access link of single clients: ``{client3: {up: 2 Mbit/s}}``."""

    def _names(self) -> list[str]:
        return [f"client{i}" for i in range(self.clients)]


class Tree(_Generated):
    """Client i behind edge server i mod E, every edge server behind the one cloud."""

    kind: Literal["tree"] = "tree"
    edges: Count
    """Number of edge servers: edge0, edge1, ..."""
    backhaul: LinkOptions
    """Link of an edge server to the cloud; ``up`` is towards the cloud."""

    def build(self, context: Context) -> Topology:
        edges, clients = [f"edge{i}" for i in range(self.edges)], self._names()
        making = LinkMaker(context, [])
        links = making.access(clients, edges, self.access, self.overrides)
        backhaul = making.ready(self.backhaul, "backhaul")
        links += [making.link(edge, "cloud", backhaul, "backhaul") for edge in edges]
        nodes = [Node("cloud", "cloud"), *(Node(e, "edge") for e in edges), *(Node(c, "client") for c in clients)]
        return checked(nodes, links, faults=making.all_faults())


class Star(_Generated):
    """Every client directly behind the cloud; there is no edge server."""

    kind: Literal["star"] = "star"

    def build(self, context: Context) -> Topology:
        clients = self._names()
        making = LinkMaker(context, [])
        links = making.access(clients, ["cloud"], self.access, self.overrides)
        nodes = [Node("cloud", "cloud"), *(Node(c, "client") for c in clients)]
        return checked(nodes, links, faults=making.all_faults())


class _Routed(_Generated):
    edges: Count
    """Number of edge servers: edge0, edge1, ..."""
    backhaul: LinkOptions
    """Link of an edge server, and of the cloud, to its router; ``up`` is towards the router."""
    core: LinkOptions
    """Link between two routers."""

    def _attach(self, context: Context, graph: nx.Graph[int], takers: Sequence[int],
                at: dict[int, tuple[float, float]] | None = None,
                stretch: dict[tuple[int, int], float] | None = None) -> Topology:  # fmt: skip
        making = LinkMaker(context, [])
        core, backhaul = making.ready(self.core, "core"), making.ready(self.backhaul, "backhaul")
        place, factors = at or {}, stretch or {}
        routers = sorted(graph.nodes)
        nodes = [Node("cloud", "cloud"), *(Node(f"router{r}", "router", *place.get(r, (None, None))) for r in routers)]
        pairs = sorted((min(a, b), max(a, b)) for a, b in graph.edges)
        links = [making.link(f"router{a}", f"router{b}", core, f"core.{b}", factors.get((a, b))) for a, b in pairs]
        hub = max(routers, key=lambda r: (graph.degree[r], -r))
        links.append(making.link("cloud", f"router{hub}", backhaul, "backhaul"))
        edges = [f"edge{j}" for j in range(self.edges)]
        spots = [takers[j * len(takers) // self.edges] for j in range(self.edges)]
        links += [
            making.link(edge, f"router{spot}", backhaul, "backhaul") for edge, spot in zip(edges, spots, strict=True)
        ]
        clients = self._names()
        more = making.access(clients, edges, self.access, self.overrides)
        nodes += [*(Node(e, "edge") for e in edges), *(Node(c, "client") for c in clients)]
        return checked(nodes, [*links, *more], faults=making.all_faults())


class Ring(_Routed):
    """Routers in a ring, with edge servers spread over it."""

    kind: Literal["ring"] = "ring"
    routers: Annotated[int, Ge(3), Le(10_000)]
    """Number of routers."""

    def build(self, context: Context) -> Topology:
        return self._attach(context, nx.cycle_graph(self.routers), range(self.routers))


class Grid(_Routed):
    """Routers in a rectangular grid, numbered row by row, with edge servers spread over it."""

    kind: Literal["grid"] = "grid"
    rows: Annotated[int, Ge(1), Le(200)]
    """Number of rows."""
    columns: Annotated[int, Ge(1), Le(200)]
    """Number of columns."""

    def build(self, context: Context) -> Topology:
        grid = nx.grid_2d_graph(self.rows, self.columns)
        graph: nx.Graph[int] = nx.convert_node_labels_to_integers(grid, ordering="sorted")
        spots = {r: (float(r % self.columns), float(r // self.columns)) for r in range(self.rows * self.columns)}
        return self._attach(context, graph, range(self.rows * self.columns), spots)


class Waxman(_Routed):
    """Waxman's random graph: routers at random in a square, near ones linked more likely (Waxman 1988).

    Two routers at distance d are linked with probability beta * exp(-d / (alpha * L)), L the largest distance; islands
    are then joined by their shortest missing links. A link's latency is that of ``core`` times d / ``side``.
    """

    kind: Literal["waxman"] = "waxman"
    random: ClassVar[bool] = True
    routers: Annotated[int, Ge(2), Le(2_000)]
    """Number of routers."""
    alpha: Annotated[float, Ge(1e-3), Le(10.0)] = 0.2
    """Reach of links, as a share of the largest distance."""
    beta: Probability = 0.6
    """Density of links."""
    side: Annotated[Distance, Ge(1e-6)] = 100_000.0
    """Side of the square."""

    def build(self, context: Context) -> Topology:
        rng = context.streams.numpy("topology", "waxman")
        at = rng.random((self.routers, 2)) * self.side
        a, b = np.triu_indices(self.routers, 1)
        distance = ((at[a] - at[b]) ** 2).sum(axis=1) ** 0.5
        chance = rng.random(len(a))
        reach = self.alpha * max(float(distance.max()), 1e-9)
        order = distance.argsort(kind="stable")
        graph: nx.Graph[int] = nx.Graph()
        graph.add_nodes_from(range(self.routers))
        wanted = chance < self.beta * np.exp(-distance / reach)
        graph.add_edges_from((int(a[k]), int(b[k])) for k in order if wanted[k])
        island = nx.utils.UnionFind(range(self.routers))
        for u, v in graph.edges:
            island.union(u, v)
        for k in order:
            if island[int(a[k])] != island[int(b[k])]:
                island.union(int(a[k]), int(b[k]))
                graph.add_edge(int(a[k]), int(b[k]))
        pairs = ((k, (int(a[k]), int(b[k]))) for k in range(len(a)))
        stretch = {pair: float(distance[k]) / self.side for k, pair in pairs if graph.has_edge(*pair)}
        spots = {r: (float(at[r, 0]), float(at[r, 1])) for r in range(self.routers)}
        return self._attach(context, graph, range(self.routers), spots, stretch)


class BarabasiAlbert(_Routed):
    """A scale-free random graph grown by preferential attachment (Barabasi and Albert 1999)."""

    kind: Literal["barabasi_albert"] = "barabasi_albert"
    random: ClassVar[bool] = True
    routers: Annotated[int, Ge(2), Le(10_000)]
    """Number of routers."""
    links: Annotated[int, Ge(1), Le(100)] = 2
    """Links of each new router."""

    def build(self, context: Context) -> Topology:
        if self.links >= self.routers:
            message = f"must be below the number of routers, {self.routers}; got {self.links}"
            raise InputFaults([Fault("links", message)])
        rng = context.streams.numpy("topology", "barabasi_albert")
        graph: nx.Graph[int] = nx.barabasi_albert_graph(self.routers, self.links, seed=rng)
        return self._attach(context, graph, range(self.routers))


class FatTree(_Routed):
    """A k-ary fat tree of switches (Al-Fares et al. 2008).

    There are (k/2)^2 core switches and k pods of k/2 aggregation and k/2 edge switches, numbered core first, then pod
    by pod aggregation before edge; edge servers hang off edge switches only. Routes take the one path of lowest names
    among equal ones: no ECMP spreads the load.
    """

    kind: Literal["fat_tree"] = "fat_tree"
    k: Annotated[int, Ge(2), Le(64), MultipleOf(2)] = 4
    """Ports of a switch, even."""

    def build(self, context: Context) -> Topology:
        half = self.k // 2
        graph: nx.Graph[int] = nx.Graph()
        switches: list[int] = []
        for pod in range(self.k):
            first = half * half + pod * self.k
            for up, down in itertools.product(range(half), repeat=2):
                graph.add_edge(first + up, first + half + down)
                graph.add_edge(first + up, up * half + down)
            switches += range(first + half, first + self.k)
        return self._attach(context, graph, switches)
