"""What a scenario may say about wireless access."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field, SerializeAsAny

from ..base.choices import member_of
from ..base.errors import Fault, InputError, InputFaults
from ..base.listing import listed
from ..base.registry import Items, Options
from ..base.streams import Streams
from ..base.units import MOST_TIME, Decibels, Distance, Power, Seconds, bounded
from ..topology import Topology
from ..topology.limits import PositiveBandwidth
from .allocation import Allocator, Equal
from .layout import Layout, farthest, place
from .mobility import Metres, Mobility, Static
from .power import Even, PowerControl
from .propagation import LogDistance, PathLoss
from .subcarriers import Subcarriers

Positive = Annotated[
    float, *bounded("power", 1e-15, 1e10, "from below the noise of a narrow channel to a power station")
]
Count = Annotated[int, Ge(1), Le(10_000)]
Width = Annotated[float, *bounded("frequency", 1.0, 1e15, "narrower ones carry nothing in the time of a run")]

Noise = Annotated[float, *bounded("noise density", 1e-30, 1e-9, "thermal noise has some 4e-21")]
Coherence = Annotated[
    float,
    *bounded(
        "time", 1e-4, MOST_TIME, "a slot of 5G has some 1e-4; each block is an event while messages are under way"
    ),
]


class HandoverOptions(Options):
    """When a client changes its station: 3GPP's event A3, and what becomes of messages under way."""

    margin: Annotated[Decibels, Ge(0.0)] = 3.0
    """Another station must be received better by this much (hysteresis), on average over fading."""
    time_to_trigger: Seconds = 1.0
    """And for so long without a break."""
    under_way: Literal["finish", "abort"] = "finish"
    """Messages under way over the old link end there while the client is already with the new station (dual
    connectivity), or are aborted."""


class NodeRadio(Options):
    """What differs for one client or station."""

    at: Items[tuple[Metres, Metres]] | None = None
    """Where it stands, or begins: ``[x, y]`` in m."""
    power: Positive | None = None
    """Transmit power."""
    subchannels: Count | None = None
    """Subchannels of a station, in each direction."""
    bandwidth: Width | None = None
    """Bandwidth of one of its subchannels."""


class Assigned(Options):
    """The subchannels of one client at one station's uplink, stated by hand or by an optimiser."""

    subchannels: Items[tuple[Annotated[int, Ge(0)], ...]]
    """Their numbers, from 0."""
    powers: Items[tuple[Power, ...]] | None = None
    """Transmit power on each, in the same order; by default, the client's own split evenly."""


class WirelessOptions(Options):
    """Wireless access: clients whose link to a base station has the rate that distance, fading and subchannels give it.

    Bandwidths of the topology's access links do not count for these clients; latency, jitter and loss do.
    """

    clients: Items[tuple[str, ...]] = ()
    """Names of the wireless clients; all by default."""
    stations: Items[tuple[str, ...]] = ()
    """Names of the nodes with a base station; by default the edge servers, or the cloud if there are none."""
    association: Literal["strongest", "all"] = "strongest"
    """A client has a link to the station it receives best, or links to all stations at once, each with subchannels of its
    own."""
    area: Items[tuple[Annotated[Distance, Ge(1e-3)], Annotated[Distance, Ge(1e-3)]]] = (1000.0, 1000.0)
    """Width and height of the area that clients are in."""
    place: Literal["area", "topology"] = "area"
    """Where nodes stand: stations on a regular grid over the area and clients uniformly at random in it, or as the
    topology says, as far as it does (x and y in m, or Latitude and Longitude)."""
    nodes: dict[str, NodeRadio] = Field(default_factory=dict)
    """What differs for single nodes: ``{edge0: {at: [0, 0], subchannels: 30}, client3: {power: 10 dBm}}``."""
    mobility: Annotated[SerializeAsAny[Mobility], member_of(Mobility)] = Static()
    """How clients move."""
    interval: Annotated[Seconds, Ge(1e-3)] = 1.0
    """Positions, mean gains and associations are brought up to date so often."""
    path_loss: Annotated[SerializeAsAny[PathLoss], member_of(PathLoss)] = LogDistance()
    """Mean loss over distance."""
    shadowing: Annotated[Decibels, Ge(0.0), Le(60.0)] | None = None
    """Standard deviation of log-normal shadowing, per pair of client and station; by default, what the path loss says: none, or
    that of the standard it is from."""
    shadowing_distance: Annotated[Distance, Ge(1e-3)] | None = None
    """Distance over which shadowing decorrelates to 1/e as a client moves; by default, what the path loss says: the standard's,
    or that it never changes."""
    fading: Literal["none", "flat", "selective"] = "none"
    """Rayleigh block fading: none, one gain per pair, or one per subchannel of a pair."""
    coherence: Coherence = 0.1
    """Length of a block: fading is constant within; clients of a cell with more clients than subchannels take turns by
    blocks."""
    subchannels: Count = 20
    """Subchannels of every station, in each direction (up and down do not disturb each other)."""
    bandwidth: Width = 1e6
    """Bandwidth of a subchannel."""
    power: Positive = 0.2
    """Transmit power of a client (0.2 W is 23 dBm) at most."""
    total_power: Positive | None = None
    """Transmit power of all clients of a station together at most; by default, as much as each of them has."""
    power_control: Annotated[SerializeAsAny[PowerControl], member_of(PowerControl)] = Even()
    """How clients split their power over their subchannels."""
    station_power: Positive = 1.0
    """Transmit power of a station (1 W is 30 dBm), split evenly over all its subchannels."""
    downlink: PositiveBandwidth | None = None
    """Rate to every client; without it, it comes from the subchannels as the uplink does."""
    antenna_gain: Decibels = 0.0
    """Gains of both antennas together."""
    noise: Noise = 10.0**-20.4
    """Density of thermal noise (-174 dBm/Hz)."""
    noise_figure: Annotated[Decibels, Ge(0.0)] = 7.0
    """What the receiver adds to the noise, and other cells by their interference."""
    efficiency_cap: Annotated[float, Ge(1e-3), Le(1e3)] | None = None
    """Highest spectral efficiency in bit/s/Hz, such as 7.4 of 256-QAM."""
    allocator: Annotated[SerializeAsAny[Allocator], member_of(Allocator)] = Equal()
    """Who gets which subchannel."""
    assigned: dict[str, dict[str, Assigned]] = Field(default_factory=dict)
    """Uplink subchannels that no allocator is asked for: ``{edge0: {client3: {subchannels: [0, 4], powers: [50 mW, 50 mW]}}}``.
    All others of such a station are free."""
    reallocate: Literal["block", "round"] = "block"
    """When subchannels and powers that depend on the gains are chosen anew: in every block of fading, or when a round of
    training has ended."""
    reallocation_time: Seconds = 0.0
    """How long that takes: until then the last choice holds. A choice is by the fading of the block that it begins in."""
    handover: HandoverOptions = HandoverOptions()
    """When a client changes its station."""

    def noise_density(self) -> float:
        """N0 with the noise figure (W/Hz)."""
        return float(self.noise * 10.0 ** (self.noise_figure / 10.0))

    def subcarriers(self, station: str) -> Subcarriers:
        """The uplink subchannels of a station."""
        own = self.nodes.get(station, NodeRadio())
        return Subcarriers(
            station, "up", own.subchannels or self.subchannels, own.bandwidth or self.bandwidth, total=self.total_power
        )

    @staticmethod
    def assign(subcarriers: Subcarriers, given: Mapping[str, Assigned], limits: Mapping[str, float]) -> None:
        """Assign subchannels as stated, if any are.

        Raises:
            InputError: what cannot be.
        """
        if given:
            powers = {client: each.powers for client, each in given.items() if each.powers is not None}
            subcarriers.assign({client: each.subchannels for client, each in given.items()}, powers, limits)

    def layout(self, topology: Topology, streams: Streams) -> Layout:
        """Who is wireless and where, and the network with a link from every wireless client to every station.

        Raises:
            InputFaults: unknown nodes, access links that are no such thing, positions that are missing; all of them.
        """
        clients = self.clients or topology.names("client")
        stations = self.stations or topology.names("edge") or topology.names("cloud")
        faults = list(self._faults(topology, clients, stations))
        if self.reallocate == "block" and self.reallocation_time >= self.coherence:
            message = f"{self.reallocation_time:g} s is no less than a block (coherence: {self.coherence:g} s)"
            faults.append(Fault("reallocation_time", f"{message}; valid: less, or reallocate: round"))
        if faults:
            raise InputFaults(faults)
        at = {name: node.at for name, node in self.nodes.items() if node.at is not None}
        positions = place(topology, clients, stations, self.area, at, self.place == "topology", streams)
        if self.mobility.moves:
            outside = [
                c for c in clients if not all(0.0 <= p <= side for p, side in zip(positions[c], self.area, strict=True))
            ]
            if outside:
                size = f"{self.area[0]:g} x {self.area[1]:g} m"
                message = f"clients that move begin in the area of {size}; outside: {listed(outside, quoted=True)}"
                raise InputFaults([Fault("area", message)])
        links, wireless = [], set(clients)
        for link in topology.links:
            client = link.u if link.u in wireless else link.v
            if client not in wireless:
                links.append(link)
                continue
            up, down = (link.up, link.down) if client == link.u else (link.down, link.up)
            plain = replace(link, u=client, up=up, down=down, duplex="full")
            links += [replace(plain, v=station) for station in stations]
        roamed = self.area if self.mobility.moves else None
        far = farthest(positions, clients, stations, roamed, self.association == "all")
        extended = Topology(topology.nodes, tuple(links))
        return Layout(topology, extended, tuple(clients), tuple(stations), positions, self.path_loss.notes(far))

    def _faults(self, topology: Topology, clients: tuple[str, ...], stations: tuple[str, ...]) -> Iterator[Fault]:
        for key, names, valid in (("clients", clients, topology.names("client")), ("stations", stations, topology.names()),
                                  ("nodes", tuple(self.nodes), (*clients, *stations))):  # fmt: skip
            for name in names:
                if name not in valid:
                    near = difflib.get_close_matches(name, valid, 1)
                    what = {"clients": "client", "stations": "node"}.get(key, "wireless client or station")
                    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {listed(valid, quoted=True)}"
                    yield Fault(f"nodes.{name}" if key == "nodes" else key, f"there is no {what} {name!r}{hint}")
            if key != "nodes" and len(set(names)) < len(names):
                yield Fault(key, "a name is given twice")
        for name in stations:
            if name in clients:
                yield Fault("stations", f"{name!r} is a wireless client; a station is another node")
        for name, node in self.nodes.items():
            if name in clients and (node.subchannels or node.bandwidth):
                yield Fault(f"nodes.{name}", "subchannels and their bandwidth are those of a station, not of a client")
        wireless = set(clients)
        near_of: dict[str, list[str]] = {}
        for link in topology.links:
            for client, far in ((link.u, link.v), (link.v, link.u)):
                if client in wireless:
                    near_of.setdefault(client, []).append(far)
                    if link.varies or link.cell:
                        has = "a profile or trace" if link.varies else "a cell"
                        yield Fault(
                            "", f"the access link of {client!r} has {has}; the radio sets its bandwidth: leave it out"
                        )
        for client, near in near_of.items():
            if len(near) != 1 or near[0] not in stations:
                yield Fault(
                    "", f"{client!r} must have one link, to a station; it has links to {listed(near, quoted=True)}"
                )
        known = {name: (self.nodes[name].power if name in self.nodes else None) or self.power for name in clients}
        for name, given in self.assigned.items():
            if name not in stations:
                yield Fault(
                    f"assigned.{name}", f"there is no station {name!r}; there are {listed(stations, quoted=True)}"
                )
                continue
            try:
                self.assign(self.subcarriers(name), given, known)
            except InputError as error:
                yield Fault(f"assigned.{name}", str(error))
        yield from (Fault(f"mobility.{f.path}", f.message) for f in self.mobility.faults(clients))
