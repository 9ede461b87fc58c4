"""Topologies from files: the shipped ones, the rules for what a file leaves out, and hostile files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.topology import LinkOptions, Topology, TopologyFile

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
    """Every network of the Topology Zoo at hand builds, without a word about roles in it; speeds such as "< 10 Gbps" are
    only taken for that of core by one who says so."""
    if "&lt;" in path.read_text("utf-8") or "[< " in path.read_text("utf-8"):
        with pytest.raises(InputFaults, match="unclear_speed: core"):
            build(path, clients=20, edges=3)
    topology = build(path, clients=20, edges=3, unclear_speed="core")
    assert len(topology.names("edge")) == 3
    for client in topology.names("client"):
        assert topology.route(client, topology.cloud)[0] == client


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
    "loss": (net(links=[{**LINKS[0], "loss": 0.999}, LINKS[1]]), "loss must be .* at most 0.99.*1 / "),
    "latency": (net(links=[{**LINKS[0], "latency": 1e6}, LINKS[1]]), "latency must be .* at most 100000 s"),
    "jitter": (net(links=[{**LINKS[0], "jitter": -1.0}, LINKS[1]]), "jitter must be"),
    "speed": (net(links=[{**LINKS[0], "up": 0.5}, LINKS[1]]), "bandwidth up must be .* 1 to 1e.15 bit/s"),
    "cell": (net(links=[{**LINKS[0], "cell": "a", "cell_bandwidth": 1e30}, LINKS[1]]), "cell_bandwidth must be"),
    "profile": (net(links=[{**LINKS[0], "profile": [[0, 1], [0, 2]]}, LINKS[1]]), "times of a profile must increase"),
    "a profile below": (net(links=[{**LINKS[0], "profile_down": [[0, 1e16]]}, LINKS[1]]), "bandwidths of a profile"),
    "endless": (net(links=[{**LINKS[0], "profile": [[0, 5]], "period": 1e-9}, LINKS[1]]), "period must be at least"),
    "latitude": (net(nodes=[*net()["nodes"], {"name": "pole", "lat": 91, "lon": 0}]), "lat must be .* 90 degrees"),
    "arrow": (net(nodes=[*net()["nodes"], {"name": "a>b"}]), "must not have a '>'"),
    "control": (net(nodes=[*net()["nodes"], {"name": "a\tb"}]), "printable"),
    "surrogate": (json.dumps(net(nodes=[*net()["nodes"], {"name": "\ud800"}])), "printable"),
    "long": (net(nodes=[*net()["nodes"], {"name": "a" * 256}]), "at most 255 characters"),
    "twice": ('{"nodes": [], "links": [{"u": "a", "v": "b", "up": 5, "up": 6}]}', "the key 'up' twice"),
    "empty": ("", "is empty"),
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
        build(write(tmp_path, "x", "net.txt"))


def test_entity_bombs_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><graphml>&b;</graphml>'
    for encoding in ("utf-8", "utf-16", "iso-8859-1"):
        text = f'<?xml version="1.0" encoding="{encoding}"?>{bomb}'.encode(encoding)
        for name in ("bomb.graphml", "bomb.xml"):
            with pytest.raises(InputFaults, match="DOCTYPE"):
                build(write(tmp_path, text, name))


def test_what_core_says_holds_for_links_of_which_the_file_does_not(tmp_path: Path) -> None:
    core = LinkOptions(up=7e6, down=3e6, latency=0.5, jitter=0.1, loss=0.2, profile=((1.0, 1e6),))
    links = [{"u": "client0", "v": "edge0"}, {"u": "edge0", "v": "cloud", "up": 2e6, "loss": 0.0, "latency": 0.0}]
    topology = build(write(tmp_path, net(links=links)), core=core)
    link = topology.link("client0", "edge0")
    assert (link.up, link.down, link.latency, link.jitter, link.loss) == (7e6, 3e6, 0.5, 0.1, 0.2)
    assert (link.profile, link.profile_down) == (((1.0, 1e6),), ())
    link = topology.link("edge0", "cloud")
    assert (link.up, link.down, link.latency, link.jitter, link.loss, link.profile) == (2e6, 2e6, 0.0, 0.1, 0.0, ())


def test_a_file_may_give_a_profile_of_each_direction(tmp_path: Path) -> None:
    link = {
        "u": "client0",
        "v": "edge0",
        "up": 1e6,
        "profile": [[0, "2 Mbit/s"]],
        "profile_down": [["1 s", 3e6]],
        "period_down": 9,
    }
    found = build(write(tmp_path, net(links=[LINKS[0], link]))).link("client0", "edge0")
    assert found.profile_from("client0") == (((0.0, 2e6),), None)
    assert found.profile_from("edge0") == (((1.0, 3e6),), 9.0)
    assert (found.most_from("client0"), found.most_from("edge0")) == (2e6, 3e6)


@pytest.mark.parametrize("bad", [{"capacity_unit": "furlongs"}, {"capacity_unit": "Mb"}, {"delay_unit": "Mbit/s"}])
def test_units_of_a_scenario_are_units(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is not a unit of"):
        TopologyFile.model_validate({"file": "a.graphml", **bad})
