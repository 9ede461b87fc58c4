"""Topologies from files: the shipped ones, the rules for what a file leaves out, and hostile files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.topology import Topology, TopologyFile

HERE = Path(__file__).parents[2] / "topologies"
ZOO = Path(__file__).parents[3] / "shared" / "data" / "topology_zoo"


def build(path: Path, **options: Any) -> Topology:
    return TopologyFile(file=path.name, **options).build(Context(Streams(0), path.parent))


def write(folder: Path, data: object, name: str = "net.json") -> Path:
    path = folder / name
    path.write_bytes(
        data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()
    )
    return path


def test_campus() -> None:
    topology = build(HERE / "campus.json")
    assert len(topology.names("client")) == 12
    assert topology.names("edge") == ("edge0", "edge1", "edge2")
    assert topology.route("client0", "cloud") == ("client0", "edge0", "gateway", "cloud")
    assert topology.latency("client0", "cloud") == pytest.approx(0.0145)
    assert topology.bandwidth("client0", "edge0") == 20e6
    assert topology.bandwidth("edge0", "client0") == 50e6


def test_village() -> None:
    topology = build(HERE / "village.csv")
    assert topology.names("client") == ("client0", "client1", "client2", "client3")
    assert topology.bandwidth("client2", "edge0") == 1e6


def test_backbone_by_rule() -> None:
    """Most links: Paris (4) is the cloud; edge servers are the best connected nodes that are no neighbours."""
    topology = build(HERE / "backbone.graphml", clients=5, edges=2)
    assert topology.cloud == "Paris"
    assert len(topology.names("edge")) == 2
    assert topology.role("client4") == "client"
    # Amsterdam-Paris: 430 km along the great circle at 2/3 c
    assert topology.link("Amsterdam", "Paris").latency == pytest.approx(430e3 / 2e8, rel=0.01)
    assert topology.bandwidth("Amsterdam", "Paris") == 2.5e9
    assert topology.bandwidth("Marseille", "Madrid") == 1e9  # no LinkSpeedRaw: that of core


@pytest.mark.parametrize("path", sorted(ZOO.glob("*.graphml")), ids=lambda p: p.stem)
def test_topology_zoo(path: Path) -> None:
    """Every network of the Topology Zoo at hand builds, without a word about roles or bandwidth in it."""
    topology = build(path, clients=20, edges=3)
    assert len(topology.names("edge")) == 3
    for client in topology.names("client"):
        assert topology.route(client, topology.cloud)[0] == client


def test_graphml_merges_parallel_edges(tmp_path: Path) -> None:
    text = """<graphml><key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="s"/>
    <graph edgedefault="directed">
    <node id="a"/><node id="b"/><node id="c"/><edge source="a" target="b"><data key="s">5</data></edge>
    <edge source="a" target="b"><data key="s">7</data></edge><edge source="b" target="a"><data key="s">9</data></edge>
    <edge source="b" target="c"/></graph></graphml>"""
    topology = build(write(tmp_path, text, "a.graphml"), clients=1, edges=1)
    assert topology.bandwidth("a", "b") == 12.0
    assert len(topology.links) == 3


def net(**changes: Any) -> dict[str, Any]:
    nodes = [
        {"name": "cloud", "role": "cloud"},
        {"name": "edge0", "role": "edge"},
        {"name": "client0", "role": "client"},
    ]
    links = [{"u": "edge0", "v": "cloud", "up": 1e6}, {"u": "client0", "v": "edge0", "bandwidth": "1 Mbit/s"}]
    return {"nodes": nodes, "links": links} | changes


def test_json_round_trip_of_networkx_names(tmp_path: Path) -> None:
    link = {"source": 2, "target": 1, "bandwidth": 5.0, "latency": "2 ms", "profile": [[1, 0], [2, 5]]}
    data = {"nodes": [{"id": 1, "role": "cloud"}, {"id": 2, "role": "client"}], "edges": [link]}
    topology = build(write(tmp_path, data))
    assert topology.link("2", "1").profile == ((1.0, 0.0), (2.0, 5.0))
    assert topology.latency("2", "1") == 0.002


LINKS = net()["links"]
FAULTS: dict[str, tuple[object, str]] = {
    "no cloud": (net(nodes=[{"name": "client0", "role": "client"}], links=[]), "no route|no client|cloud"),
    "two clouds": (net(nodes=[*net()["nodes"], {"name": "sky", "role": "cloud"}]), "exactly one node"),
    "same name": (net(nodes=[*net()["nodes"], {"name": "edge0", "role": "edge"}]), "two nodes are named 'edge0'"),
    "unknown node": (net(links=[*LINKS, {"u": "edge0", "v": "nowhere"}]), "unknown node 'nowhere'"),
    "self loop": (net(links=[*LINKS, {"u": "edge0", "v": "edge0"}]), "to itself"),
    "parallel": (net(links=[*LINKS, {"u": "cloud", "v": "edge0"}]), "given twice"),
    "negative": (net(links=[{"u": "edge0", "v": "cloud", "up": -5}, LINKS[1]]), "bandwidth up must be"),
    "zero": (net(links=[{"u": "edge0", "v": "cloud", "up": 0}, LINKS[1]]), "bandwidth up must be"),
    "NaN": (json.dumps(net()).replace("1000000.0", "NaN"), "not a finite bandwidth"),
    "disconnected": (net(links=LINKS[:1]), "no route to the cloud 'cloud' from 'client0'"),
    "role": (net(nodes=[{"name": "a", "role": "boss"}]), "role must be one of"),
    "unknown key": (net(links=[{**LINKS[0], "speed": 3}, LINKS[1]]), "unknown keys speed"),
    "list": ([1, 2], "expected an object"),
    "types": ({"nodes": 3, "links": "x"}, "nodes: expected a list"),
    "JSON": ("{", "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "bytes": (b"\xff\xfe\x00", "not UTF-8"),
    "directed": (net(directed=True), "directed"),
    "loss": (net(links=[{**LINKS[0], "loss": 1.0}, LINKS[1]]), "loss must be"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str, tmp_path: Path) -> None:
    data, message = FAULTS[name]
    with pytest.raises(InputFaults, match=message) as caught:
        build(write(tmp_path, data))
    assert all(f.path == "file" for f in caught.value.faults)


def test_no_such_file_and_unknown_ending(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match="no such file"):
        build(tmp_path / "missing.json")
    with pytest.raises(InputFaults, match="known endings"):
        build(write(tmp_path, "x", "net.gml"))


def test_entity_bombs_are_refused(tmp_path: Path) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><graphml>&b;</graphml>'
    with pytest.raises(InputFaults, match="DOCTYPE"):
        build(write(tmp_path, bomb, "bomb.graphml"))


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_files_never_end_in_a_traceback(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bytes cut out of and put into a good file: it builds, or it is refused with its faults."""
    source = HERE / data.draw(st.sampled_from(["backbone.graphml", "campus.json", "village.csv"]))
    text = source.read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        junk = st.one_of(
            st.binary(max_size=4), st.sampled_from([b'"', b"<", b"{", b"null", b"1e999", b"-", b",", b"NaN"])
        )
        text = text[:at] + data.draw(junk) + text[at + data.draw(st.integers(0, 20)) :]
    path = write(tmp_path_factory.mktemp("net"), text, source.name)
    try:
        build(path, clients=2)
    except InputFaults:
        return
