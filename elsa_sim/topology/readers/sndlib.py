"""XML files of SNDlib, the library of network design problems (Orlowski et al. 2010).

Demands and costs are not read: what is simulated is the network alone.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from ..model import Node
from .markup import inner, text_of
from .raw import Asked, RawLink, Read, node_of, number_of


def read_sndlib(root: Element, asked: Asked) -> Read:
    """Nodes with their geographical places, links with the capacity that is installed.

    The files give capacities without a unit, so ``capacity_unit`` has to; and they do not say whether links are directed, so
    opposite ones are a fault. A link that nothing is installed on, though something could be, has no clear bandwidth.
    """
    said: list[str] = []
    structure = inner(root, "networkStructure")
    listing = inner(root, "networkStructure", "nodes")
    if not structure or not listing:
        return Read(said=["expected a networkStructure with nodes and links"])
    geographical = listing[0].get("coordinatesType") == "geographical"
    nodes: list[Node] = []
    for element in inner(root, "networkStructure", "nodes", "node"):
        given: dict[str, object] = {"name": element.get("id", "")}
        if geographical:
            for key, axis in (("lon", "x"), ("lat", "y")):
                text = text_of(element, "coordinates", axis)
                if text:
                    number = number_of(text)
                    given[key] = text if number is None else number
        node = node_of(given, f"node {given['name']!r}", said)
        if node is not None:
            nodes.append(node)
    links = [_link(element, asked, said) for element in inner(root, "networkStructure", "links", "link")]
    ways = {(link.u, link.v) for link in links}
    said += [f"links join {u!r} to {v!r} and {v!r} to {u!r}; the file does not say whether they are two directions or two links"
             for u, v in sorted(ways) if u < v and (v, u) in ways]  # fmt: skip
    return Read(nodes, links, said, parallel=True)


def _link(element: Element, asked: Asked, said: list[str]) -> RawLink:
    u, v = text_of(element, "source"), text_of(element, "target")
    where = f"link {u!r}-{v!r}"
    capacity = text_of(element, "preInstalledModule", "capacity")
    if not capacity:
        could = bool(inner(element, "additionalModules", "addModule"))
        return RawLink(u, v, unclear="it has modules that could be installed, and none that is" if could else None)
    number = number_of(capacity)
    if number is None:
        said.append(f"{where}: the capacity must be a number, got {capacity[:60]!r}")
    elif asked.capacity_unit is None:
        message = "capacities of SNDlib have no unit; say capacity_unit: Mbit/s (or what it is) in the scenario"
        if message not in said:
            said.append(message)
    else:
        return RawLink(u, v, number * asked.capacity_unit, number * asked.capacity_unit)
    return RawLink(u, v)
