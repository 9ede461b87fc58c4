"""GraphML files, those of the Topology Zoo and of yEd included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from .attributed import Edge, Vertex, network
from .markup import inner, local, text_of
from .raw import Asked, Read

_YED_NODES = ("GenericNode", "ShapeNode", "SVGNode", "ImageNode")
_YED_EDGES = ("PolyLineEdge", "SplineEdge", "QuadCurveEdge", "BezierEdge", "ArcEdge")


@dataclass(frozen=True)
class _Key:
    name: str
    applies: str
    default: str | None
    drawing: bool


def read_graphml(root: Element, asked: Asked) -> Read:
    """Nodes and edges with their attributes and the defaults of their keys.

    Edges are directed if the graph's ``edgedefault`` or their own ``directed`` says so. yEd calls every graph directed: its
    edges without arrow heads are not. Nested graphs and hyperedges are faults.
    """
    said: list[str] = []
    graphs = inner(root, "graph")
    if len(graphs) != 1:
        return Read(said=[f"expected one graph, found {len(graphs)}"])
    (graph,) = graphs
    for strange in ("graph", "hyperedge"):
        if any(local(each) == strange and each is not graph for each in graph.iter()):
            said.append(
                f"a {'nested graph' if strange == 'graph' else strange} is not understood; make it nodes and edges"
            )
    keys = {key.get("id", ""): _key(key) for key in inner(root, "key")}
    vertices = [Vertex(node.get("id", ""), _attributes(node, keys, "node", said)) for node in inner(graph, "node")]
    default = graph.get("edgedefault", "undirected")
    if default not in ("directed", "undirected"):
        said.append(f"edgedefault must be directed or undirected, got {default[:40]!r}")
    edges = []
    for edge in inner(graph, "edge"):
        own = edge.get("directed")
        directed = own in ("true", "1") if own is not None else default == "directed" and not _without_arrows(edge)
        edges.append(
            Edge(edge.get("source", ""), edge.get("target", ""), _attributes(edge, keys, "edge", said), directed)
        )
    return network(vertices, edges, asked, said)


def _key(key: Element) -> _Key:
    name = key.get("yfiles.type") or key.get("attr.name") or key.get("id") or ""
    defaults = inner(key, "default")
    default = (defaults[0].text or "").strip() if defaults and not len(defaults[0]) else None
    return _Key(name, key.get("for", "all"), default, key.get("yfiles.type") is not None)


def _attributes(element: Element, keys: dict[str, _Key], kind: str, said: list[str]) -> dict[str, str]:
    defaults = [(key.name, key.default) for key in keys.values() if key.applies in (kind, "all")]
    found = {name: default for name, default in defaults if default}
    drawn: dict[str, str] = {}
    for data in inner(element, "data"):
        key = keys.get(data.get("key", ""))
        if key is None:
            said.append(f"{kind} {_of(element)}: there is no key {data.get('key')!r}")
        elif len(data):
            drawn |= dict(_drawing(data))
        elif not key.drawing:
            found[key.name] = (data.text or "").strip() or found.get(key.name, "")
    return {key: text for key, text in (found | drawn).items() if text}


def _of(element: Element) -> str:
    return repr(element.get("id") or f"{element.get('source')}-{element.get('target')}")


def _drawing(data: Element) -> Iterable[tuple[str, str]]:
    """Label and place from how yEd draws a node, label from how it draws an edge."""
    for kind in (*_YED_NODES, *_YED_EDGES):
        for shape in inner(data, kind):
            label = text_of(shape, "NodeLabel") or text_of(shape, "EdgeLabel")
            if label:
                yield "label", label
            for geometry in inner(shape, "Geometry"):
                yield from ((axis, geometry.get(axis, "")) for axis in "xy")


def _without_arrows(edge: Element) -> bool:
    arrows = [each for each in edge.iter() if local(each) == "Arrows"]
    return bool(arrows) and all(each.get(end) == "none" for each in arrows for end in ("source", "target"))
