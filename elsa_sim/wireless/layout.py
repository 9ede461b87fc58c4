"""Who is wireless, and where everybody stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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
    notes: tuple[str, ...] = ()
    """What to know of them before a run."""


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


def farthest(positions: Mapping[str, Point], clients: Sequence[str], stations: Sequence[str], area: Point | None,
             to_all: bool) -> float:  # fmt: skip
    """How far clients are from a station that may serve them (m): the nearest one, or the farthest of all if ``to_all``.

    With an ``area`` clients come to its corners, too; that there is no farther place within it is not said.
    """
    corners = [] if area is None else [(x, y) for x in (0.0, area[0]) for y in (0.0, area[1])]
    points = np.array([*(positions[c] for c in clients), *corners], dtype=np.float64).reshape(-1, 1, 2)
    towers = np.array([positions[s] for s in stations], dtype=np.float64).reshape(1, -1, 2)
    apart = np.hypot(*np.moveaxis(points - towers, -1, 0))
    return float((apart if to_all else apart.min(axis=1, initial=math.inf)).max(initial=0.0))


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
