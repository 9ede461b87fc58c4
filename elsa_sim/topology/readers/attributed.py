"""Graphs whose nodes and edges have attributes of any name, as GraphML and GML have them, made into a network.

Tested in tests/topology/readers/test_graphml.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .raw import Asked, RawLink, Read, link_of, node_of, number_of
from .speeds import stated

#: Attributes that say where a node is; the first that is there counts.
_PLACES = {"lat": ("Latitude", "latitude", "lat"), "lon": ("Longitude", "longitude", "lon"), "x": ("x",), "y": ("y",)}


@dataclass(frozen=True)
class Vertex:
    """A node of the file."""

    key: str
    attributes: dict[str, str]


@dataclass(frozen=True)
class Edge:
    """An edge of the file, between the keys of two nodes."""

    source: str
    target: str
    attributes: dict[str, str]
    directed: bool


def network(vertices: Sequence[Vertex], edges: Sequence[Edge], asked: Asked, said: list[str]) -> Read:
    """Nodes by their ``label`` (or key), with ``role`` and place; edges as :mod:`.speeds` reads their attributes."""
    twice = [key for key, count in Counter(vertex.key for vertex in vertices).items() if count > 1]
    said += [f"two nodes have the id {key[:60]!r}" for key in twice]
    labels = Counter(vertex.attributes.get("label", "") for vertex in vertices)
    names: dict[str, str] = {}
    nodes = []
    for vertex in vertices:
        label = vertex.attributes.get("label", "")
        name = vertex.key if not label else label if labels[label] == 1 else f"{label}_{vertex.key}"
        names[vertex.key] = name
        given: dict[str, object] = {"name": name, "role": vertex.attributes.get("role", "router")}
        for place, keys in _PLACES.items():
            text = next((vertex.attributes[key] for key in keys if key in vertex.attributes), None)
            if text is not None:
                number = number_of(text)
                given[place] = text if number is None else number
        nodes.append(node_of(given, f"node {name!r}", said))
    links: list[RawLink] = []
    for edge in edges:
        u, v = names.get(edge.source, edge.source), names.get(edge.target, edge.target)
        where = f"edge {u!r}-{v!r}"
        found, unclear = stated(edge.attributes, asked, where, said)
        link = link_of({"u": u, "v": v} | found, where, said)
        if link is None:
            continue
        directed = edge.directed and not {"up", "down"} <= set(found)
        if directed and "down" in found:
            said.append(
                f"{where}: it is directed and states down without up; state both, or the bandwidth of its direction"
            )
        links.append(replace(link, directed=directed, unclear=unclear))
    return Read([node for node in nodes if node], links, said, parallel=True)
