"""Availability: who is there, what goes down with a device, and where clients go meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import simpy

from elsa_sim.base.streams import Streams
from elsa_sim.devices import Crash, Device, DeviceOptions
from elsa_sim.network import Network, NetworkOptions
from elsa_sim.results.event_table import Recorder
from elsa_sim.topology import Link, Node, Topology
from elsa_sim.world.availability import Availability
from elsa_sim.world.event_log import EventLog

NODES = (Node("cloud", "cloud"), *(Node(f"edge{i}", "edge") for i in range(3)), Node("client", "client"))


def mesh(*latencies: float) -> Topology:
    """A client with a link of its own to each edge server."""
    links = [Link("client", f"edge{i}", 8000.0, 8000.0, latency) for i, latency in enumerate(latencies)]
    return Topology(NODES, (*links, *(Link(f"edge{i}", "cloud", 8000.0, 8000.0, 0.1) for i in range(3))))


class Air:
    """A radio that only knows which station serves the client."""

    def __init__(self, station: str) -> None:
        self.station = station
        self.layout = self
        self.stations = ("edge0", "edge1")
        self.silent: list[tuple[str, bool]] = []

    def __contains__(self, node: str) -> bool:
        return node == "client"

    def serving(self, client: str) -> str:
        return self.station

    def silence(self, node: str, silent: bool) -> None:
        self.silent.append((node, silent))

    def on_handover(self, told: Any) -> None:
        self.told = told


class Lab:
    def __init__(self, topology: Topology, radio: Any = None, outages: Any = (), **downtimes: Crash) -> None:
        self.env, self.recorder = simpy.Environment(), Recorder()
        self.network = Network(self.env, topology, NetworkOptions.model_validate({"outages": list(outages)}))
        self.devices = {
            node.name: Device(self.env, node.name, options_of(downtimes.get(node.name)), Streams(0)) for node in NODES
        }
        log = EventLog(self.env, self.recorder)
        self.log = log
        self.availability = Availability(log, topology, self.network, self.devices, radio)

    def home(self, at: float, edge: str = "edge0", *, failover: bool = True, given: bool = False) -> str:
        if at > self.env.now:
            self.env.run(until=at)
        return self.availability.home("client", edge, failover=failover, given=given)

    def faults(self, until: float) -> list[tuple[Any, ...]]:
        """(node, peer, what, from, to, status) of each fault."""
        self.env.run(until=until)
        for entry in list(self.log.in_flight):
            self.log.end(entry, status="in_flight")
        rows = self.recorder.close().to_pylist()
        return [
            (row["node"], row["peer"], row["detail"], row["t_start_s"], row["t_end_s"], row["status"]) for row in rows
        ]


def options_of(crash: Crash | None) -> DeviceOptions:
    return DeviceOptions(speed=1.0, memory=1.0, downtimes=() if crash is None else (crash,))


def test_a_client_goes_to_the_nearest_server_that_is_there_and_back() -> None:
    lab = Lab(mesh(0.1, 0.3, 0.2), edge0=Crash(at=2.0, duration=3.0), edge2=Crash(at=3.0, duration=5.0))
    homes = [lab.home(at) for at in (1.0, 2.5, 3.5, 6.0)]
    assert homes == ["edge0", "edge2", "edge1", "edge0"]


def test_without_failover_it_waits() -> None:
    lab = Lab(mesh(0.1, 0.3, 0.2), edge0=Crash(at=2.0))
    assert lab.home(2.5, failover=False) == "edge0"


def test_where_no_other_can_be_reached_it_stays() -> None:
    """In a tree the way to another server leads over the one that is away."""
    links = [Link("client", "edge0", 8000.0, 8000.0), *(Link(f"edge{i}", "cloud", 8000.0, 8000.0) for i in range(3))]
    lab = Lab(Topology(NODES, tuple(links)), edge0=Crash(at=2.0))
    assert lab.home(2.5) == "edge0"


def test_its_station_comes_first_unless_a_protocol_gave_it_another() -> None:
    lab = Lab(mesh(0.1, 0.3, 0.2), Air("edge1"))
    assert lab.home(1.0) == "edge1"
    assert lab.home(1.0, given=True) == "edge0"
    assert Lab(mesh(0.1, 0.3, 0.2), Air("cloud")).home(1.0) == "edge0"  # no edge server


def test_links_are_down_while_their_device_is_away() -> None:
    """A message of 2 s, begun at 0 s, rests while its receiver is away from 1 s to 4 s."""
    lab = Lab(mesh(0.0, 0.0, 0.0), edge1=Crash(at=1.0, duration=3.0))
    message = lab.network.transfer("client", "edge1", 2000)
    assert lab.env.run(message).t_end_s == pytest.approx(5.0)
    assert lab.faults(9.0) == [("edge1", "", "away", 1.0, 4.0, "ok")]


def test_who_is_gone_for_good_stays_in_the_table() -> None:
    lab = Lab(mesh(0.0, 0.0, 0.0), edge1=Crash(at=1.0))
    assert lab.faults(9.0) == [("edge1", "", "away", 1.0, 9.0, "in_flight")]


@pytest.mark.parametrize(("duration", "end"), [(3.0, (4.0, "ok")), (100.0, (9.0, "in_flight"))])
def test_outages_of_links_are_in_the_table(duration: float, end: tuple[float, str]) -> None:
    lab = Lab(mesh(0.0, 0.0, 0.0), outages=[{"link": ["client", "edge1"], "start": 1.0, "duration": duration}])
    assert lab.faults(9.0) == [("client", "edge1", "link down", 1.0, *end)]


def test_a_station_that_is_away_is_silent() -> None:
    air = Air("edge0")
    lab = Lab(mesh(0.1, 0.3, 0.2), air, edge1=Crash(at=1.0, duration=2.0), edge2=Crash(at=1.0, duration=2.0))
    lab.env.run(until=5.0)
    assert air.silent == [("edge1", True), ("edge1", False)]  # edge2 is no station


def test_handovers_are_in_the_table() -> None:
    from elsa_sim.wireless import Handover

    air = Air("edge0")
    lab = Lab(mesh(0.1, 0.3, 0.2), air)
    lab.env.run(until=5.0)
    air.told(Handover(t_s=5.0, client="client", old="edge0", new="edge1"))
    (row,) = lab.recorder.close().to_pylist()
    assert (row["kind"], row["node"], row["peer"], row["t_end_s"], row["detail"]) == (
        "handover", "client", "edge1", 5.0, "edge0 to edge1")  # fmt: skip
