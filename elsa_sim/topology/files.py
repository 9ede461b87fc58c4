"""Topologies from files: JSON node-link, GraphML (the Topology Zoo's included) and CSV edge lists.

What a file leaves out is filled in by rule:

- *roles*: if no node has the role ``cloud``, the node with most links is the cloud (the first by name among equals); if
  none is an ``edge``, the ``edges`` next ones with most links that are not neighbours of each other become edge servers
  (neighbours only when no other is left). All others are routers, and pass traffic on.
- *clients*: ``clients: N`` attaches client0, client1, ... over ``access`` links, client i to edge server i mod E.
- *bandwidth*: ``up``/``down`` or ``bandwidth`` of the link; else the Zoo's ``LinkSpeedRaw``, else a label such as
  ``10 Gbps``; else that of ``core``.
- *latency*: ``latency`` of the link; else, where both ends have Latitude and Longitude, their great-circle distance at
  two thirds of the speed of light; else that of ``core``.
- *parallel and opposite edges* of one pair of nodes in GraphML become one link, with the sum of the parallel
  bandwidths and the lowest latency. In JSON and CSV they are faults.
"""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import Field

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from .formats import RawLink, Reader, read_csv, read_graphml, read_json
from .model import Link, Node, Topology, natural
from .options import LinkOptions
from .source import Count, TopologySource, access_links, checked
from .traces import traced

EARTH_RADIUS_M = 6_371_000.0
FIBRE_SPEED = 2.0 / 3.0 * 299_792_458.0
MOST_BYTES = 64 * 2**20

_READERS: dict[str, Reader] = {".json": read_json, ".graphml": read_graphml, ".xml": read_graphml, ".csv": read_csv}


class TopologyFile(TopologySource):
    """A JSON node-link, GraphML or CSV edge-list file, told apart by its ending."""

    kind: Literal["file"] = "file"
    file: str
    """Path of the file: ``.json``, ``.graphml`` or ``.csv``."""
    clients: Annotated[int, Ge(0), Le(1_000_000)] = 0
    """Clients to attach to the edge servers, in addition to those of the file."""
    edges: Count = 2
    """Edge servers to choose if the file names none."""
    access: LinkOptions = LinkOptions(up=20e6, down=50e6, latency=0.01)
    """Link of an attached client; ``up`` is from the client."""
    core: LinkOptions = LinkOptions(up=1e9, down=1e9, latency=0.001)
    """What a link of the file has where the file does not say."""
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options that differ for the access link of single attached clients."""

    def build(self, context: Context) -> Topology:
        nodes, raw = self._read(context)
        at = {node.name: node for node in nodes}
        faults: list[Fault] = []
        core = traced(self.core, context, "core", faults)
        links = [_link(one, at, core) for one in raw]
        nodes = _assign_roles(nodes, raw, self.edges)
        clients = [f"client{i}" for i in range(self.clients)]
        parents = sorted((n.name for n in nodes if n.role == "edge"), key=natural)
        parents = parents or [n.name for n in nodes if n.role == "cloud"]
        if clients and parents:
            more = access_links(clients, parents, self.access, self.overrides, context, faults)
            nodes, links = [*nodes, *(Node(c, "client") for c in clients)], [*links, *more]
        elif self.overrides:
            faults.append(Fault("overrides", "there is no attached client to override; set clients"))
        return checked(nodes, links, "file", faults)

    def _read(self, context: Context) -> tuple[list[Node], list[RawLink]]:
        reader = _READERS.get(PurePath(self.file).suffix.lower())
        if reader is None:
            raise InputFaults([Fault("file", f"{self.file!r} has none of the known endings: {', '.join(_READERS)}")])
        data, path = context.read(self.file, "file", most=MOST_BYTES), PurePath(self.file)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            message = f"{path} is not UTF-8 text: byte {data[error.start]:#04x} at offset {error.start}"
            raise InputFaults([Fault("file", message)]) from error
        nodes, links, said = reader(text)
        if said:
            raise InputFaults([Fault("file", f"{path.name}: {message}") for message in said])
        return nodes, links


def _link(raw: RawLink, at: dict[str, Node], core: LinkOptions) -> Link:
    """The link of a file; what the file leaves out is that of ``core``."""
    up = core.up if raw.up is None else raw.up
    down = raw.down if raw.down is not None else core.down if raw.up is None else raw.up
    latency = raw.latency
    if latency is None and raw.u in at and raw.v in at:
        latency = _great_circle_latency(at[raw.u], at[raw.v])
    profile, period = (
        (raw.profile, raw.period) if raw.profile else (core.timed(), core.period) if raw.up is None else ((), None)
    )
    return Link(raw.u, raw.v, up, up if down is None else down, core.latency if latency is None else latency,
                raw.duplex or core.duplex, profile, period, raw.cell, raw.jitter, raw.loss, raw.cell_bandwidth)  # fmt: skip


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
