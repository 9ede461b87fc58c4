"""GraphML: defaults of keys, directions, encodings, parallel edges, and attributes that nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_files import build, edge, graphml, refused


def test_defaults_of_keys_hold_where_an_element_says_nothing(tmp_path: Path) -> None:
    keys = """<key id="e_bandwidth" for="edge" attr.name="bandwidth" attr.type="double"><default>10000000</default></key>
    <key id="e_latency" for="all" attr.name="latency" attr.type="double"><default> 0.02 </default></key>
    <key id="role" for="node" attr.name="role" attr.type="string"><default>client</default></key>"""
    text = graphml(edge("a", "c"), edge("b", "c", bandwidth=4e7), keys=keys)
    text = text.replace('<node id="a"><data key="role">client</data></node>', '<node id="a"/>')
    empty = text.replace('<edge source="a" target="c" >', '<edge source="a" target="c"><data key="e_bandwidth"></data>')
    assert empty != text
    assert build(tmp_path, empty).bandwidth("a", "c") == 1e7
    topology = build(tmp_path, text)
    assert topology.names("client") == ("a", "b")
    assert [topology.bandwidth(name, "c") for name in "ab"] == [1e7, 4e7]
    assert [topology.latency(name, "c") for name in "ab"] == [0.02, 0.02]


def test_opposite_directed_edges_are_the_two_directions_of_a_link(tmp_path: Path) -> None:
    both = [edge("c", "a", bandwidth=5e7, latency=0.01), edge("a", "c", bandwidth=5e6, latency=0.01)]
    for order in (both, both[::-1]):
        topology = build(tmp_path, graphml(*order, directed=True, names="ca"))
        (link,) = topology.links
        assert (topology.bandwidth("a", "c"), topology.bandwidth("c", "a"), link.latency) == (5e6, 5e7, 0.01)


def test_parallel_edges_of_a_direction_add_up(tmp_path: Path) -> None:
    edges = [
        edge("a", "c", LinkSpeedRaw=5),
        edge("c", "a", LinkSpeedRaw=9),
        edge("a", "c", LinkSpeedRaw=7, latency="3 ms"),
        edge("c", "a", LinkSpeedRaw=1, latency="3 ms"),
    ]
    topology = build(tmp_path, graphml(*edges, directed=True, names="ca"))
    assert (topology.bandwidth("a", "c"), topology.bandwidth("c", "a"), topology.latency("a", "c")) == (
        12.0,
        10.0,
        0.003,
    )


def test_undirected_edges_add_up_whichever_way_they_are_written(tmp_path: Path) -> None:
    """``up`` is from the source of the edge."""
    edges = [edge("a", "c", up=5, down=50), edge("c", "a", up=100, down=1000)]
    topology = build(tmp_path, graphml(*edges, names="ca"))
    assert (topology.bandwidth("a", "c"), topology.bandwidth("c", "a")) == (1005.0, 150.0)


def test_an_edge_may_say_itself_whether_it_is_directed(tmp_path: Path) -> None:
    mixed = [edge("a", "c", 'directed="false"', bandwidth=5), edge("a", "c", bandwidth=2), edge("c", "a", bandwidth=1)]
    topology = build(tmp_path, graphml(*mixed, directed=True, names="ca"))
    assert (topology.bandwidth("a", "c"), topology.bandwidth("c", "a")) == (7.0, 6.0)
    refused(tmp_path, graphml(edge("a", "c", 'directed="true"', bandwidth=5), names="ca"), "no edge from 'c' to 'a'")


def test_a_direction_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    refused(tmp_path, graphml(edge("a", "c", bandwidth=5), directed=True, names="ca"), "no edge from 'c' to 'a'")
    refused(tmp_path, graphml(edge("a", "c"), directed=True, names="ca"), "no edge from 'c' to 'a'")
    topology = build(tmp_path, graphml(edge("a", "c", up=5, down=6), directed=True, names="ca"))
    assert (topology.bandwidth("a", "c"), topology.bandwidth("c", "a")) == (5.0, 6.0)
    refused(
        tmp_path,
        graphml(edge("a", "c", down=6), edge("c", "a", bandwidth=1), directed=True, names="ca"),
        "down without up",
    )


def test_all_that_is_wrong_with_an_edge_is_said_at_once(tmp_path: Path) -> None:
    text = graphml(edge("a", "c", LinkLabel="10Mb", weight=1), directed=True, names="ca")
    said = refused(tmp_path, text, "unknown attributes weight")
    assert len(said) == 3
    assert "10Mb" in said[1]
    assert "no edge from 'c' to 'a'" in said[2]


def test_directions_that_one_link_cannot_have(tmp_path: Path) -> None:
    differ = [edge("a", "c", bandwidth=5, latency=0.01, loss=0.1), edge("c", "a", bandwidth=5, latency=0.03)]
    said = refused(tmp_path, graphml(*differ, directed=True, names="ca"), "latencies 0.01 s and 0.03 s")
    assert any("differ in loss" in message for message in said)
    one = [edge("a", "c", bandwidth=5, latency=0.01), edge("c", "a", bandwidth=5)]
    refused(tmp_path, graphml(*one, directed=True, names="ca"), "latencies 0.01 s and none")
    silent = [edge("a", "c", bandwidth=5), edge("c", "a")]
    refused(tmp_path, graphml(*silent, directed=True, names="ca"), "states no bandwidth")


def test_edges_of_yed_without_arrows_have_no_direction(tmp_path: Path) -> None:
    keys = '<key id="g" for="edge" yfiles.type="edgegraphics"/>'
    shape = (
        '<data key="g"><y:PolyLineEdge xmlns:y="http://www.yworks.com/xml/graphml">'
        '<y:Arrows source="none" target="{}"/></y:PolyLineEdge></data></edge>'
    )
    plain = edge("a", "c", LinkLabel="2 x 10 Mbps").replace("</edge>", shape.format("none"))
    topology = build(tmp_path, graphml(plain, directed=True, names="ca", keys=keys))
    assert topology.bandwidth("c", "a") == 2e7
    refused(
        tmp_path,
        graphml(plain.replace('target="none"/', 'target="standard"/'), directed=True, names="ca", keys=keys),
        "no edge from",
    )


@pytest.mark.parametrize(
    "encoding", ["ISO-8859-1", "UTF-16", "UTF-16LE", "windows-1252", "UTF-8", "utf-8-sig", "koi8-r"]
)
def test_the_declared_encoding_counts(tmp_path: Path, encoding: str) -> None:
    name = "Ц" if encoding == "koi8-r" else "Zür"
    text = graphml(edge("c", "a", bandwidth=5), names="ca").replace('"a"', f'"{name}"')
    declared = "UTF-8" if encoding == "utf-8-sig" else encoding
    data = f'\n<?xml version="1.0" encoding="{declared}"?>{text}'
    mark = "\ufeff" if encoding == "UTF-16LE" else ""
    topology = build(tmp_path, (mark + data.lstrip()).encode(encoding))
    assert topology.names("client") == (name,)


def test_encodings_that_are_not_what_is_declared(tmp_path: Path) -> None:
    text = graphml(edge("c", "a", bandwidth=5), names="ca")
    for declared in ("UTF-16", "shift-jis", "klingon"):
        refused(tmp_path, f'<?xml version="1.0" encoding="{declared}"?>{text}'.encode(), "not XML")
    refused(tmp_path, text.replace('"a"', '"Zür"').encode("iso-8859-1"), "not XML")


def test_unknown_attributes_of_edges_are_faults_that_name_what_is_known(tmp_path: Path) -> None:
    text = graphml(edge("a", "c", weight=3, bandwidth=5), names="ca")
    (said,) = refused(tmp_path, text, "unknown attributes weight")
    assert "LinkSpeedRaw" in said
    assert "'ignore'" in said
    assert build(tmp_path, text, ignore=("weight",)).bandwidth("a", "c") == 5.0


def test_capacities_and_delays_have_a_unit(tmp_path: Path) -> None:
    text = graphml(edge("a", "c", capacity="10 Mbps", delay="3ms"), edge("b", "c", capacity="1 MB/s"))
    topology = build(tmp_path, text)
    assert (topology.bandwidth("a", "c"), topology.latency("a", "c"), topology.bandwidth("b", "c")) == (1e7, 0.003, 8e6)
    bare = graphml(edge("a", "c", capacity=10, delay=3), names="ca")
    said = refused(tmp_path, bare, "capacity '10' has no unit")
    assert any("delay '3' has no unit" in message and "delay_unit: ms" in message for message in said)
    topology = build(tmp_path, bare, capacity_unit="kbit/s", delay_unit="us")
    assert (topology.bandwidth("a", "c"), topology.latency("a", "c")) == (1e4, pytest.approx(3e-6))
    refused(
        tmp_path,
        graphml(edge("a", "c", bandwidth=5, delay="3 ms", latency=1), names="ca"),
        "both a delay and a latency",
    )


def test_what_is_unclear_takes_the_bandwidth_of_core_only_if_asked_to(tmp_path: Path) -> None:
    edges = [edge("a", "c", LinkSpeedRaw=1e7), edge("a", "c"), edge("b", "c", LinkLabel="34-155 Mbps")]
    text = graphml(*edges)
    said = refused(tmp_path, text, "unclear_speed: core")
    assert [message[: message.index(":", 13)] for message in said] == [
        "net.graphml: edge 'a'-'c'",
        "net.graphml: edge 'b'-'c'",
    ]
    topology = build(tmp_path, text, unclear_speed="core", core={"up": 3e6, "down": 4e6})
    assert (topology.bandwidth("a", "c"), topology.bandwidth("c", "a")) == (1.3e7, 1.4e7)
    assert (topology.bandwidth("b", "c"), topology.bandwidth("c", "b")) == (3e6, 4e6)


def test_edges_that_say_nothing_are_one_link_of_core(tmp_path: Path) -> None:
    topology = build(
        tmp_path, graphml(edge("a", "c"), edge("a", "c"), edge("b", "c", LinkLabel="OC-192c")), core={"up": 3e6}
    )
    assert [topology.bandwidth(name, "c") for name in "ab"] == [3e6, 3e6]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<graph ", "<graph/><graph ", "expected one graph, found 2"),
        ("</graph>", '<node id="n"><graph edgedefault="directed"/></node></graph>', "nested graph"),
        ("</graph>", "<hyperedge/></graph>", "hyperedge"),
        ('edgedefault="undirected"', 'edgedefault="sideways"', "edgedefault must be"),
        ('key="e_bandwidth"', 'key="e_what"', "no key 'e_what'"),
        ('<node id="a"', '<node id="c"', "two nodes have the id 'c'"),
        ('<node id="a"', "<node", "expected an object with a name"),
        ("</graphml>", "", "not XML"),
        ("<graphml ", "<html ", "not XML"),
        ('target="c"', 'target="d"', "unknown node 'd'"),
    ],
)
def test_faults(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = graphml(edge("a", "c", bandwidth=5), names="ca")
    assert old in text
    refused(tmp_path, text.replace(old, new, 1), message)


def test_other_xml_is_told_from_graphml(tmp_path: Path) -> None:
    refused(tmp_path, "<html/>", "root element is 'html'; known: graphml, network")
    refused(tmp_path, "<a>" * 1000 + "</a>" * 1000, "nested more than")
