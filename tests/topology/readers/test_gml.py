"""GML: as networkx reads it, with parallel edges, and refused where it is broken."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest
from network_files import GML, build, refused

from elsa_sim.topology.readers.gml import read_gml
from elsa_sim.topology.readers.raw import Asked


def test_a_network(tmp_path: Path) -> None:
    topology = build(tmp_path, GML, "net.gml")
    assert topology.cloud == "Zürich & more"
    assert topology.names("client") == ("b_1", "b_2")
    assert [topology.bandwidth(name, topology.cloud) for name in ("b_1", "b_2")] == [1e7, 6e6]
    assert topology.latency("b_2", topology.cloud) == 0.02
    assert [(n.lat, n.lon) for n in topology if n.role == "cloud"] == [(47.37, 8.54)]


def test_directed(tmp_path: Path) -> None:
    text = GML.replace("directed 0", "directed 1").replace("bandwidth 1000000", "bandwidth 1000000 latency 0.02")
    refused(tmp_path, text, "no edge from 'b_1'", name="net.gml")
    one = text.replace("edge [ source 0 target 1", "edge [ up 3 down 4 source 0 target 1")
    topology = build(tmp_path, one, "net.gml")
    assert (topology.bandwidth("b_2", topology.cloud), topology.bandwidth(topology.cloud, "b_2")) == (5e6, 1e6)


def test_what_networkx_writes_is_read(tmp_path: Path) -> None:
    graph = nx.MultiGraph()
    graph.add_node("c", role="cloud")
    for i in range(3):
        graph.add_node(f"k{i}", role="client")
        graph.add_edge(f"k{i}", "c", bandwidth=1e6 * (i + 1), latency=0.001 * i)
    graph.add_edge("c", "k0", bandwidth=5e6, latency=0.5)
    nx.write_gml(graph, tmp_path / "net.gml")
    topology = build(tmp_path, (tmp_path / "net.gml").read_bytes(), "net.gml")
    for i in range(3):
        expected = sum(d["bandwidth"] for d in graph["c"][f"k{i}"].values())
        assert topology.bandwidth(f"k{i}", "c") == expected
        assert topology.latency("c", f"k{i}") == min(d["latency"] for d in graph["c"][f"k{i}"].values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph [ node [ id 0 ]", "ends within a list"),
        ("graph ]", "unexpected"),
        ("graph", "'graph' has no value"),
        ('graph [ label "x ]', "quotation mark"),
        ("a 1", "expected one graph"),
        ("graph [ ] graph [ ]", "found 2"),
        ("graph [ directed 2 ]", "directed must be"),
        ("graph [ node [ id 0 id 1 ] ]", "states id twice"),
        ("graph [ " * 100, "unexpected"),
        (b"graph [ label \xff ]", "UTF-8"),
        ("graph [ node [ id 0 ] edge [ source 0 target 0 metric 4 ] ]", "unknown attributes metric"),
    ],
)
def test_faults(text: str | bytes, message: str) -> None:
    said = read_gml(text if isinstance(text, bytes) else text.encode(), Asked()).said
    assert any(message in each for each in said)
