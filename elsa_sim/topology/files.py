"""Topologies from files: JSON node-link, GraphML and GML (the Topology Zoo's included), SNDlib and CSV edge lists.

What a file leaves out is filled in by rule, and what it says unclearly is a fault:

- *roles*: if no node has the role ``cloud``, the node with most links is the cloud (the first by name among equals); if
  none is an ``edge``, the ``edges`` next ones with most links that are not neighbours of each other become edge servers
  (neighbours only when no other is left). All others are routers, and pass traffic on.
- *clients*: ``clients: N`` attaches client0, client1, ... over ``access`` links, client i to edge server i mod E.
- *bandwidth*: as :mod:`.readers.speeds` says; that of ``core`` for a link of which the file says nothing.
- *latency*: ``latency`` of the link; else, where both ends have Latitude and Longitude, their great-circle distance at
  two thirds of the speed of light; else that of ``core``.
- *parallel and opposite edges* of one pair of nodes are one link (:mod:`.merging`). In JSON and CSV they are faults.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import PurePath
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import Field, model_validator

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.listing import listed
from ..base.registry import Items
from ..populations import distributions
from .merging import merged
from .model import Link, Node, Topology, natural
from .options import LinkOptions
from .readers import READERS, Asked, RawLink, Read
from .reading import read_bytes
from .source import Count, LinkMaker, TopologySource, checked
from .spellings import UNIT_OF, unit_fault

EARTH_RADIUS_M = 6_371_000.0
FIBRE_SPEED = 2.0 / 3.0 * 299_792_458.0


class TopologyFile(TopologySource):
    """A JSON node-link, GraphML, GML, SNDlib or CSV edge-list file, told apart by its ending (and XML by its root)."""

    kind: Literal["file"] = "file"
    file: str
    """Path of the file: ``.json``, ``.graphml``, ``.gml``, ``.xml`` (GraphML or SNDlib) or ``.csv``."""
    clients: Annotated[int, Ge(0), Le(1_000_000)] = 0
    """Clients to attach to the edge servers, in addition to those of the file."""
    edges: Count = 2
    """Edge servers to choose if the file names none."""
    access: LinkOptions = LinkOptions(up=20e6, down=50e6, latency=0.01)
    """Link of an attached client; ``up`` is from the client."""
    core: LinkOptions = LinkOptions(up=1e9, down=1e9, latency=0.001)
    """What a link of the file has where the file does not say."""
    capacity_unit: str | None = None
    """Unit of capacities that the file gives as bare numbers: ``Mbit/s``, ``kB/s``."""
    delay_unit: str | None = None
    """Unit of an edge's ``delay`` that is a bare number: ``ms``, ``s``."""
    unclear_speed: Literal["refuse", "core"] = "refuse"
    """What an edge gets of which the bandwidth is unclear (``< 10 Gbps``): a fault, or that of ``core``."""
    ignore: Items[tuple[str, ...]] = ()
    """Attributes of edges, in GraphML and GML, that do not count."""
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options that differ for the access link of single attached clients."""

    @model_validator(mode="after")
    def _units(self) -> TopologyFile:
        for option, quantity in (("capacity_unit", "bandwidth"), ("delay_unit", "time")):
            unit = getattr(self, option)
            fault = None if unit is None else unit_fault(unit, quantity)
            if fault:
                raise ValueError(f"{option}: {fault}")
        for key, _ in distributions(self.core):
            raise ValueError(f"core.{key} stands in for what a file leaves out, and is no distribution")
        return self

    def build(self, context: Context) -> Topology:
        read = self._read(context)
        nodes, raw = read.nodes, read.links
        making = LinkMaker(context, [])
        core, _ = making.ready(self.core, "core")
        if read.parallel:
            raw, said = merged(raw, core, self.unclear_speed == "core")
            read.said += said
        if read.said:
            raise InputFaults([Fault("file", f"{PurePath(self.file).name}: {message}") for message in read.said])
        at = {node.name: node for node in nodes}
        links = [_link(one, at, core) for one in raw]
        nodes = _assign_roles(nodes, raw, self.edges)
        clients = [f"client{i}" for i in range(self.clients)]
        parents = sorted((n.name for n in nodes if n.role == "edge"), key=natural)
        parents = parents or [n.name for n in nodes if n.role == "cloud"]
        if clients and parents:
            more = making.access(clients, parents, self.access, self.overrides)
            nodes, links = [*nodes, *(Node(c, "client") for c in clients)], [*links, *more]
        elif self.overrides:
            making.faults.append(Fault("overrides", "there is no attached client to override; set clients"))
        return checked(nodes, links, "file", making.all_faults(), _filled_in(read.nodes, nodes, raw, at))

    def _read(self, context: Context) -> Read:
        reader = READERS.get(PurePath(self.file).suffix.lower())
        if reader is None:
            raise InputFaults([Fault("file", f"{self.file!r} has none of the known endings: {', '.join(READERS)}")])
        capacity = None if self.capacity_unit is None else UNIT_OF["bandwidth"](self.capacity_unit)
        delay = None if self.delay_unit is None else UNIT_OF["time"](self.delay_unit)
        return reader(read_bytes(context, self.file, "file"), Asked(capacity, delay, frozenset(self.ignore)))


def _link(raw: RawLink, at: dict[str, Node], core: LinkOptions) -> Link:
    """The link of a file; what the file leaves out is that of ``core``."""
    up = core.up if raw.up is None else raw.up
    down = raw.down if raw.down is not None else core.down if raw.up is None else raw.up
    latency = raw.latency
    if latency is None and raw.u in at and raw.v in at:
        latency = _great_circle_latency(at[raw.u], at[raw.v])
    timed = (raw.profile, raw.period, raw.profile_down, raw.period_down)
    if not (raw.profile or raw.profile_down) and raw.up is None:
        timed = core.profiles()
    profile, period, profile_down, period_down = timed
    return Link(
        raw.u, raw.v, up, up if down is None else down,
        core.latency if latency is None else latency, raw.duplex or core.duplex, profile, period,
        core.cell if raw.cell is None else raw.cell, core.jitter if raw.jitter is None else raw.jitter,
        core.loss if raw.loss is None else raw.loss,
        core.cell_bandwidth if raw.cell is None and raw.cell_bandwidth is None else raw.cell_bandwidth,
        profile_down, period_down,
    )  # fmt: skip


def _filled_in(before: list[Node], after: list[Node], links: list[RawLink], at: dict[str, Node]) -> Iterator[str]:
    """What the file leaves out, and where it comes from."""
    was = {node.name: node.role for node in before}
    given = [f"{node.name} {node.role}" for node in after if node.role != was.get(node.name, node.role)]
    if given:
        yield f"roles that the file leaves out: {listed(given)}"
    if unstated := sum(link.up is None for link in links):
        yield f"{unstated} of the file's {len(links)} links have the bandwidth of core"
    silent = [link for link in links if link.latency is None]
    placed = sum(
        link.u in at and link.v in at and _great_circle_latency(at[link.u], at[link.v]) is not None for link in silent
    )
    if placed:
        yield f"{placed} of the file's {len(links)} links have the latency of the distance between their ends"
    if len(silent) > placed:
        yield f"{len(silent) - placed} of the file's {len(links)} links have the latency of core"


def _great_circle_latency(a: Node, b: Node) -> float | None:
    """Propagation along the great circle at two thirds of the speed of light (s); haversine formula."""
    if a.lat is None or a.lon is None or b.lat is None or b.lon is None:
        return None
    p, q = math.radians(a.lat), math.radians(b.lat)
    h = math.sin((q - p) / 2) ** 2 + math.cos(p) * math.cos(q) * math.sin(math.radians(b.lon - a.lon) / 2) ** 2
    return 2.0 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h))) / FIBRE_SPEED


def _assign_roles(nodes: list[Node], links: list[RawLink], edges: int) -> list[Node]:
    near: dict[str, set[str]] = {node.name: set() for node in nodes}
    for link in links:
        if link.u in near and link.v in near and link.u != link.v:
            near[link.u].add(link.v)
            near[link.v].add(link.u)
    free = sorted((n.name for n in nodes if n.role == "router"), key=lambda n: (-len(near[n]), natural(n)))
    chosen: dict[str, Literal["cloud", "edge"]] = {}
    cloud = next((n.name for n in nodes if n.role == "cloud"), None)
    if cloud is None and free:
        cloud = free.pop(0)
        chosen[cloud] = "cloud"
    if cloud is not None and not any(n.role == "edge" for n in nodes):
        reached, todo = {cloud}, [cloud]
        while todo:
            new = near[todo.pop()] - reached
            reached |= new
            todo += new
        free = [name for name in free if name in reached]
        spread: list[str] = []
        for name in free:
            if not near[name] & set(spread):
                spread.append(name)
        chosen |= dict.fromkeys([*spread, *(n for n in free if n not in spread)][:edges], "edge")
    return [Node(n.name, chosen.get(n.name, n.role), n.x, n.y, n.lat, n.lon) for n in nodes]
