"""Generated topologies: shape, rules of attachment, seeds."""

from __future__ import annotations

from typing import Any

import networkx as nx
import pytest
from pydantic import TypeAdapter, ValidationError

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.registry import choice
from elsa_sim.base.streams import Streams
from elsa_sim.topology import Topology, TopologySource

ACCESS = {"up": "20 Mbit/s", "down": "50 Mbit/s", "latency": "10 ms"}
BACKHAUL = {"up": "200 Mbit/s", "latency": "5 ms"}
ROUTED = {
    "clients": 7,
    "edges": 3,
    "access": ACCESS,
    "backhaul": BACKHAUL,
    "core": {"up": "1 Gbit/s", "latency": "1 ms"},
}
KINDS: dict[str, dict[str, Any]] = {
    "tree": {"clients": 7, "edges": 3, "access": ACCESS, "backhaul": BACKHAUL},
    "star": {"clients": 7, "access": ACCESS},
    "ring": {**ROUTED, "routers": 6},
    "grid": {**ROUTED, "rows": 2, "columns": 3},
    "waxman": {**ROUTED, "routers": 12},
    "barabasi_albert": {**ROUTED, "routers": 12},
    "fat_tree": {**ROUTED, "k": 4},
}


def build(options: dict[str, Any], seed: int = 1) -> Topology:
    source: TopologySource = TypeAdapter(choice(TopologySource)).validate_python(options)
    return source.build(Context(Streams(seed)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_client_reaches_the_cloud(kind: str) -> None:
    topology = build({"kind": kind, **KINDS[kind]})
    assert topology.names("client") == tuple(f"client{i}" for i in range(7))
    assert topology.cloud == "cloud"
    assert topology.names("edge") == (() if kind == "star" else ("edge0", "edge1", "edge2"))
    assert nx.is_connected(topology.graph)
    for i, client in enumerate(topology.names("client")):
        route = topology.route(client, "cloud")
        assert route[1] == ("cloud" if kind == "star" else f"edge{i % 3}")
        assert topology.bandwidth(*route[:2]) == 20e6
        assert topology.bandwidth(route[1], route[0]) == 50e6


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_topology(kind: str) -> None:
    assert build({"kind": kind, **KINDS[kind]}) == build({"kind": kind, **KINDS[kind]})


@pytest.mark.parametrize("kind", ["waxman", "barabasi_albert"])
def test_another_seed_another_graph(kind: str) -> None:
    assert build({"kind": kind, **KINDS[kind]}, 1) != build({"kind": kind, **KINDS[kind]}, 2)


def test_tree_latency_and_default_down() -> None:
    topology = build({"kind": "tree", **KINDS["tree"]})
    assert topology.latency("client4", "cloud") == pytest.approx(0.015)
    assert topology.bandwidth("cloud", "edge1") == 200e6


def test_fat_tree_counts() -> None:
    """k = 4: 4 core, 8 aggregation and 8 edge switches, 32 links between them; servers hang off edge switches."""
    topology = build({"kind": "fat_tree", **KINDS["fat_tree"]})
    assert len(topology.names("router")) == 20
    assert sum(a.startswith("router") and b.startswith("router") for a, b in topology.graph.edges) == 32
    for edge in topology.names("edge"):
        (router,) = (n for n in topology.graph[edge] if n.startswith("router"))
        assert (int(router[6:]) - 4) % 4 >= 2


def test_single_clients_may_differ() -> None:
    options = {"kind": "tree", **KINDS["tree"], "overrides": {"client3": {"up": "2 Mbit/s"}}}
    topology = build(options)
    assert topology.bandwidth("client3", "edge0") == 2e6
    assert topology.bandwidth("edge0", "client3") == 50e6
    assert topology.bandwidth("client2", "edge2") == 20e6


def test_faults_of_overrides_are_all_listed() -> None:
    options = {"kind": "tree", **KINDS["tree"], "overrides": {"clent3": {"up": 1.0}, "client1": {"up": -1.0, "x": 2}}}
    with pytest.raises(InputFaults) as caught:
        build(options)
    assert [f.path for f in caught.value.faults] == ["overrides.clent3", "overrides.client1.up", "overrides.client1.x"]
    assert "did you mean 'client" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"clients": 0},
        {"access": {"up": 0}},
        {"access": {"up": "-1 Mbit/s"}},
        {"access": {"up": "fast"}},
        {"access": {"up": 1e6, "latency": float("nan")}},
        {"access": {"up": 1e6, "profile": [[2, 1e6], [1, 0]]}},
        {"access": {"up": 1e6, "profile": [[0, 0]], "period": 3}},
        {"edge": 3},
    ],
)
def test_bad_options_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        build({"kind": "tree", **KINDS["tree"], **change})


def test_barabasi_albert_needs_more_routers_than_links() -> None:
    with pytest.raises(InputFaults, match="below the number of routers"):
        build({"kind": "barabasi_albert", **KINDS["barabasi_albert"], "links": 12})
