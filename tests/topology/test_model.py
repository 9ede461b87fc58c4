"""Routes, names, and the faults of a network."""

from __future__ import annotations

import itertools
import time

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_sim.base.errors import InputError
from elsa_sim.topology import Link, Node, Topology, faults_of, natural


def mesh(n: int, edges: list[tuple[int, int, int]]) -> Topology:
    """Nodes n0..., links with latencies in ms."""
    pairs = {(min(a, b), max(a, b)): ms for a, b, ms in edges if a != b}
    links = tuple(Link(f"n{a}", f"n{b}", 1e6, 1e6, ms / 1000) for (a, b), ms in pairs.items())
    return Topology(tuple(Node(f"n{i}") for i in range(n)), links)


MESHES = st.integers(2, 7).flatmap(
    lambda n: st.builds(
        mesh,
        st.just(n),
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.integers(0, 3)), max_size=12),
    )
)


@given(topology=MESHES)
def test_routes_are_the_best_of_all_simple_paths(topology: Topology) -> None:
    """Lowest latency, then fewest hops; the way back is the same; unreachable pairs are an error."""
    for src, dst in itertools.permutations(topology.names(), 2):
        paths = list(nx.all_simple_paths(topology.graph, src, dst))
        if not paths:
            with pytest.raises(InputError, match="no route"):
                topology.route(src, dst)
            continue
        best = min(
            (round(sum(topology.link(a, b).latency for a, b in itertools.pairwise(p)), 9), len(p)) for p in paths
        )
        route = topology.route(src, dst)
        assert list(route) in paths
        assert (round(topology.latency(src, dst), 9), len(route)) == best
        assert topology.route(dst, src) == tuple(reversed(route))


@given(topology=MESHES, order=st.randoms(use_true_random=False))
def test_routes_do_not_depend_on_the_order_of_links(topology: Topology, order: object) -> None:
    links = list(topology.links)
    order.shuffle(links)  # type: ignore[attr-defined]
    other = Topology(topology.nodes, tuple(links))
    for src, dst in itertools.permutations(topology.names(), 2):
        if nx.has_path(topology.graph, src, dst):
            assert topology.route(src, dst) == other.route(src, dst)


@given(topology=MESHES)
def test_the_nearest_is_that_of_least_latency_then_fewest_hops_then_first_by_name(topology: Topology) -> None:
    for name in topology.names():
        there = tuple(other for other in topology.names() if nx.has_path(topology.graph, name, other))
        for count in range(1, len(there) + 1):
            candidates = there[-count:]
            order = [(round(1000 * topology.latency(name, each)), len(topology.route(name, each)), natural(each))
                     for each in candidates]  # fmt: skip
            expected = name if name in candidates else candidates[order.index(min(order))]
            assert topology.nearest(name, candidates) == topology.nearest(name, candidates[::-1]) == expected


def test_without_latencies_the_nearest_is_the_one_that_there_is_a_link_to() -> None:
    """Two edge servers under a cloud, a client under each: everything is 0 s away."""
    nodes = [
        Node("cloud", "cloud"),
        *(Node(f"e{i}", "edge") for i in (0, 1)),
        *(Node(f"c{i}", "client") for i in (0, 1)),
    ]
    links = [
        link for i in (0, 1) for link in (Link(f"e{i}", "cloud", 1e6, 1e6, 0.0), Link(f"c{i}", f"e{i}", 1e6, 1e6, 0.0))
    ]
    topology = Topology(tuple(nodes), tuple(links))
    assert [topology.nearest(f"c{i}", ("e0", "e1")) for i in (0, 1)] == ["e0", "e1"]
    apart = topology.distances(["c0", "c1"], ["e0", "e1"])
    assert apart.argmin(1).tolist() == [0, 1]
    assert apart.max() < 1e-12


def test_ties_are_broken_by_name() -> None:
    square = mesh(4, [(0, 1, 1), (1, 3, 1), (0, 2, 1), (2, 3, 1)])
    assert square.route("n0", "n3") == ("n0", "n1", "n3")


def test_route_to_itself_and_unknown_nodes() -> None:
    two = mesh(2, [(0, 1, 5)])
    assert two.route("n0", "n0") == ("n0",)
    assert two.latency("n0", "n0") == 0.0
    assert two.route("n0", "n1") == ("n0", "n1")
    with pytest.raises(InputError, match="no node 'x'"):
        two.route("n0", "x")


def test_names_in_natural_order() -> None:
    assert sorted(["client10", "client2", "Client1", "7", "client2b"], key=natural) == [
        "7", "Client1", "client2", "client2b", "client10"]  # fmt: skip
    topology = Topology((Node("client10", "client"), Node("client2", "client"), Node("hub", "cloud")), ())
    assert topology.names("client") == ("client2", "client10")
    assert topology.names() == ("client2", "client10", "hub")
    assert topology.cloud == "hub"


def test_ten_thousand_clients_route_quickly() -> None:
    """All clients to the cloud and back need one shortest-path tree each way, not one per client."""
    n, e = 10_000, 200
    nodes = [Node("cloud", "cloud"), *(Node(f"edge{i}", "edge") for i in range(e))]
    nodes += [Node(f"client{i}", "client") for i in range(n)]
    links = [Link(f"edge{i}", "cloud", 1e6, 1e6, 0.001) for i in range(e)]
    links += [Link(f"client{i}", f"edge{i % e}", 1e6, 1e6, 0.001) for i in range(n)]
    assert not faults_of(nodes, links)
    topology = Topology(tuple(nodes), tuple(links))
    begin = time.process_time()
    for i in range(n):
        assert topology.route(f"client{i}", "cloud") == (f"client{i}", f"edge{i % e}", "cloud")
        assert topology.route("cloud", f"client{i}") == ("cloud", f"edge{i % e}", f"client{i}")
    assert time.process_time() - begin < 5.0


def test_every_fault_is_named() -> None:
    nodes = [
        Node("cloud", "cloud"),
        Node("sky", "cloud"),
        Node("a", "client"),
        Node("a", "client"),
        Node("b", "client"),
    ]
    links = [Link("a", "cloud", 1.0, 1.0), Link("cloud", "a", 1.0, 1.0), Link("a", "a", 1.0, 1.0),
             Link("a", "zoo", 1.0, 1.0), Link("sky", "cloud", 0.0, float("nan"), -1.0)]  # fmt: skip
    text = "\n".join(f.message for f in faults_of(nodes, links))
    for part in ("two nodes are named 'a'", "exactly one node must have the role 'cloud'", "given twice", "to itself",
                 "unknown node 'zoo'", "bandwidth up must be", "bandwidth down must be", "latency must be",
                 "no route to the cloud 'cloud' from 'b'"):  # fmt: skip
        assert part in text, part


def test_no_cloud_and_no_client() -> None:
    text = "\n".join(f.message for f in faults_of([Node("a")], []))
    assert "there is none" in text
    assert "no client" in text
