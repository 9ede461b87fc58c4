"""Who is wireless and where: links to every station, places, and what is missing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.topology import Link, Node, Topology
from elsa_sim.wireless import WirelessOptions
from elsa_sim.wireless.layout import farthest

NODES = (
    Node("cloud", "cloud"),
    Node("edge0", "edge", 10.0, 20.0),
    Node("edge1", "edge", 400.0, 20.0),
    Node("client0", "client", 50.0, 60.0),
    Node("client1", "client"),
)


WIRED = (Link("edge0", "cloud", 1e9, 1e9), Link("edge1", "cloud", 1e9, 1e9))


AIR = (
    Link("client0", "edge0", 2e6, 5e6, 0.01, "half", jitter=0.002, loss=0.1),
    Link("edge1", "client1", 3e6, 4e6, 0.02),
)


TOPOLOGY = Topology(NODES, (*AIR, *WIRED))


def faults(topology: Topology = TOPOLOGY, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputFaults) as caught:
        WirelessOptions.model_validate(options).layout(topology, Streams(0))
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_every_client_has_a_link_to_every_station() -> None:
    """Up is from the client whichever way the link was written; latency, jitter and loss stay, half duplex does not."""
    layout = WirelessOptions().layout(TOPOLOGY, Streams(0))
    assert (layout.clients, layout.stations) == (("client0", "client1"), ("edge0", "edge1"))
    assert len(layout.extended.links) == 6
    for station in ("edge0", "edge1"):
        assert layout.extended.link("client0", station) == Link(
            "client0", station, 2e6, 5e6, 0.01, jitter=0.002, loss=0.1
        )
        assert layout.extended.link("client1", station) == Link("client1", station, 4e6, 3e6, 0.02)
    assert layout.topology is TOPOLOGY


def test_some_clients_by_wire() -> None:
    layout = WirelessOptions(clients=("client1",), stations=("edge1",)).layout(TOPOLOGY, Streams(0))
    assert len(layout.extended.links) == 4
    assert AIR[0] in layout.extended.links


def test_the_cloud_is_the_station_of_a_star() -> None:
    star = Topology((Node("cloud", "cloud"), Node("client0", "client")), (Link("client0", "cloud", 1e6, 1e6),))
    assert WirelessOptions().layout(star, Streams(0)).stations == ("cloud",)


def test_places() -> None:
    """Stations in the middle of the cells of a grid, clients anywhere; or as the topology says; or as stated."""
    by_area = WirelessOptions(area=(800.0, 200.0)).layout(TOPOLOGY, Streams(0)).positions
    assert (by_area["edge0"], by_area["edge1"]) == ((200.0, 100.0), (600.0, 100.0))
    assert 0.0 <= by_area["client0"][0] <= 800.0
    assert 0.0 <= by_area["client0"][1] <= 200.0
    stated = {"nodes": {"client0": {"at": (1.0, 2.0)}}, "area": (800.0, 200.0)}
    assert WirelessOptions.model_validate(stated).layout(TOPOLOGY, Streams(0)).positions == by_area | {
        "client0": (1.0, 2.0)
    }
    told = WirelessOptions(place="topology").layout(TOPOLOGY, Streams(0)).positions
    assert (told["edge0"], told["edge1"], told["client0"]) == ((10.0, 20.0), (400.0, 20.0), (50.0, 60.0))


def test_places_on_the_globe() -> None:
    """One minute of latitude is a nautical mile; of longitude, half of it at 60 degrees."""
    nodes = (Node("cloud", "cloud", lat=60.0, lon=0.0), Node("edge0", "edge", lat=60.0, lon=1 / 60),
             Node("edge1", "edge", lat=60.0 + 1 / 60, lon=0.0), Node("client0", "client"))  # fmt: skip
    globe = Topology(
        nodes, (Link("client0", "edge0", 1e6, 1e6), Link("edge0", "cloud", 1.0, 1.0), Link("edge1", "cloud", 1.0, 1.0))
    )
    found = WirelessOptions(place="topology").layout(globe, Streams(0)).positions
    assert found["edge0"] == pytest.approx((926.0, 0.0), abs=3.0)
    assert found["edge1"] == pytest.approx((0.0, 1853.0), abs=3.0)


def test_positions_that_are_missing_or_outside() -> None:
    lost = Topology((*NODES[:2], Node("edge1", "edge"), *NODES[3:]), (*AIR, *WIRED))
    assert faults(lost, place="topology") == [
        ("place", "the topology has no coordinates of 'edge1'; give them as nodes.edge1.at, or place: area")
    ]
    walking = {"mobility": "random_waypoint", "nodes": {"client1": {"at": (1.0, 2000.0)}}}
    assert faults(**walking) == [("area", "clients that move begin in the area of 1000 x 1000 m; outside: 'client1'")]


def test_how_far_clients_are_from_a_station_that_may_serve_them() -> None:
    at = {"a": (0.0, 30.0), "b": (100.0, 40.0), "s": (0.0, 0.0), "t": (100.0, 0.0)}
    assert farthest(at, ("a", "b"), ("s", "t"), None, False) == 40.0
    assert farthest(at, ("a", "b"), ("s", "t"), None, True) == pytest.approx(math.hypot(100.0, 40.0))
    assert farthest(at, ("a", "b"), ("s", "t"), (100.0, 70.0), False) == 70.0
    assert farthest(at, (), ("s",), None, False) == 0.0


def test_notes_are_those_of_the_path_loss() -> None:
    """Of where clients stand; if they move, of the corners that they may come to."""
    places = {"edge0": (0.0, 0.0), "edge1": (400.0, 0.0), "client0": (50.0, 60.0), "client1": (350.0, 60.0)}
    nodes = {name: {"at": place} for name, place in places.items()}
    office: dict[str, Any] = {"path_loss": "inh", "area": (400.0, 200.0), "nodes": nodes}
    assert WirelessOptions.model_validate(office).layout(TOPOLOGY, Streams(0)).notes == ()
    [note] = WirelessOptions.model_validate(office | {"mobility": "random_waypoint"}).layout(TOPOLOGY, Streams(0)).notes
    assert "200 m from a station" in note
    [note] = WirelessOptions.model_validate(office | {"association": "all"}).layout(TOPOLOGY, Streams(0)).notes
    assert "355.1 m from a station" in note
