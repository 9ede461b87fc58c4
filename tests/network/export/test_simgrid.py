"""The files for SimGrid say what the scene says: links, routes, flows. `make referee` plays them."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from xml.etree import ElementTree as ET

from small_networks import net

from elsa_sim.network.export import Format, Message, Scene
from elsa_sim.topology import Link
from elsa_sim.transports import Fluid, Tcp

TOPOLOGY = net(
    Link("a", "b", 8e6, 4e6, 0.01),
    Link("b", "c <&", 2e6, 1e6, 0.02, "half"),
    Link("b", "d", 1e7, 2e7, 1e-7),
)
MESSAGES = (
    Message("f0", ("a", "b", "c <&"), 3000, 0.1),
    Message('f,"1', ("c <&", "b", "d"), 0, 2.0),
    Message("f2", ("a", "b", "c <&"), 5, 3.0),
)
SCENE = Scene(TOPOLOGY, MESSAGES, Fluid())
FILES = Format.members["simgrid"]().files(SCENE)
ROOT = ET.fromstring(FILES["platform.xml"])
LINKS = {link.attrib["id"]: link.attrib for link in ROOT.iter("link")}


def test_the_platform_is_of_version_4_1_and_shares_max_min() -> None:
    assert FILES["platform.xml"].startswith('<?xml version="1.0"?>\n<!DOCTYPE platform SYSTEM')
    assert (ROOT.tag, ROOT.attrib) == ("platform", {"version": "4.1"})
    settings = {prop.attrib["id"]: prop.attrib["value"] for prop in ROOT.iter("prop")}
    assert settings == {
        "network/model": "CM02", "network/bandwidth-factor": "1.0", "network/latency-factor": "1.0", "network/TCP-gamma": "0",
        "network/weight-S": "0", "network/crosstraffic": "0",
    }  # fmt: skip


def test_every_node_is_a_host() -> None:
    assert [host.attrib["id"] for host in ROOT.iter("host")] == ["a", "b", "c <&", "d"]


def test_every_direction_is_a_link_and_a_half_duplex_link_is_one() -> None:
    said = {name: (float(link["bandwidth"].removesuffix("Bps")) * 8, float(link["latency"].removesuffix("s")))
            for name, link in LINKS.items()}  # fmt: skip
    assert said == {
        "a>b": (8e6, 0.01), "b>a": (4e6, 0.01), "b>>c <&": (2e6, 0.02), "b>d": (1e7, 1e-7), "d>b": (2e7, 1e-7),
    }  # fmt: skip
    assert len(list(ROOT.iter("link"))) == len(said)
    assert {link["sharing_policy"] for link in LINKS.values()} == {"SHARED"}


def test_every_route_crosses_its_links_in_order() -> None:
    routes = {
        (route.attrib["src"], route.attrib["dst"]): [link.attrib["id"] for link in route]
        for route in ROOT.iter("route")
    }
    assert routes == {("a", "c <&"): ["a>b", "b>>c <&"], ("c <&", "d"): ["b>>c <&", "b>d"]}
    assert {route.attrib["symmetrical"] for route in ROOT.iter("route")} == {"NO"}


def test_every_flow_is_a_row() -> None:
    rows = list(csv.DictReader(io.StringIO(FILES["flows.csv"])))
    found = [(row["id"], row["src"], row["dst"], int(row["bytes"]), float(row["start_s"])) for row in rows]
    assert found == [(m.id, m.route[0], m.route[-1], m.nbytes, m.start_s) for m in MESSAGES]


def test_the_player_compiles() -> None:
    compile(FILES["play.py"], "play.py", "exec")


def test_windows_other_sharing_and_second_routes_are_faults() -> None:
    def faults(scene: Scene) -> list[tuple[str, str]]:
        return [(fault.path, fault.message) for fault in Format.members["simgrid"]().faults(scene)]

    assert faults(SCENE) == []
    ((place, message),) = faults(replace(SCENE, transport=Tcp()))
    assert (place, "windows" in message) == ("transport", True)
    ((place, message),) = faults(replace(SCENE, max_min=False))
    assert (place, "max-min" in message) == ("model", True)
    around = net(*TOPOLOGY.links, Link("a", "d", 1e6, 1e6), Link("d", "c <&", 1e6, 1e6))
    other = Message("f3", ("a", "d", "c <&"), 5, 3.0)
    ((place, message),) = faults(replace(SCENE, topology=around, messages=(*MESSAGES, other)))
    assert (place, "another" in message) == ("flows[3].route", True)
