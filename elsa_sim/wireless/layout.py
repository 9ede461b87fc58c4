"""Who is wireless, and where everybody stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..base.errors import Fault, InputFaults
from ..base.listing import listed
from ..base.streams import Streams
from ..topology import Node, Topology
from .mobility import Point

EARTH_RADIUS_M = 6_371_000.0


@dataclass(frozen=True, eq=False)
class Layout:
    """The wireless part of a network.

    ``topology`` is as the scenario says, one access link per client; the wired parts of routes are found there.
    ``extended`` has a link from each client to each station, for the network to simulate.
    """

    topology: Topology
    extended: Topology
    clients: tuple[str, ...]
    stations: tuple[str, ...]
    positions: Mapping[str, Point]
    """Of clients and stations at time 0 (m)."""


def place(topology: Topology, clients: Sequence[str], stations: Sequence[str], area: Point, given: Mapping[str, Point],
          by_topology: bool, streams: Streams) -> dict[str, Point]:  # fmt: skip
    """Positions of clients and stations at time 0, in m.

    Raises:
        InputFaults: stations of which the topology does not say where they are.
    """
    known = _of_topology(topology.nodes) if by_topology else {}
    columns = math.ceil(math.sqrt(len(stations)))
    rows = math.ceil(len(stations) / columns)
    found: dict[str, Point] = {}
    lost = []
    for i, station in enumerate(stations):
        row, column = divmod(i, columns)
        cell = ((column + 0.5) / columns * area[0], (row + 0.5) / rows * area[1])
        if by_topology and station not in known and station not in given:
            lost.append(station)
        found[station] = given.get(station, known.get(station, cell))
    if lost:
        message = f"the topology has no coordinates of {listed(lost, quoted=True)}; give them as nodes.{lost[0]}.at, or place: area"
        raise InputFaults([Fault("place", message)])
    for client in clients:
        x, y = streams.numpy("place", client).random(2).tolist()
        found[client] = given.get(client, known.get(client, (x * area[0], y * area[1])))
    return found


def _of_topology(nodes: Sequence[Node]) -> dict[str, Point]:
    """Plane coordinates of the nodes that have any; degrees by the equirectangular projection from the south-west."""
    found = {n.name: (n.x, n.y) for n in nodes if n.x is not None and n.y is not None}
    globe = [(n.name, n.lat, n.lon) for n in nodes if n.lat is not None and n.lon is not None and n.name not in found]
    if globe:
        south, west = min(lat for _, lat, _ in globe), min(lon for _, _, lon in globe)
        middle = math.radians((south + max(lat for _, lat, _ in globe)) / 2.0)
        degree = math.radians(1.0) * EARTH_RADIUS_M
        found |= {name: ((lon - west) * degree * math.cos(middle), (lat - south) * degree) for name, lat, lon in globe}
    return found
