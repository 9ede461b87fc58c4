"""What is wrong with a network: names, links that lead nowhere, quantities out of range, roles.

Tested in tests/topology/test_model.py and tests/topology/test_files.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ..base.errors import Fault
from .model import Link, Node, natural


def listed(names: Iterable[str], most: int = 5) -> str:
    """Quoted names for a message, at most ``most`` of them."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(repr(n) for n in found[:most]) + more


def faults_of(nodes: Sequence[Node], links: Sequence[Link], key: str = "", roles: bool = True) -> list[Fault]:
    """Every fault of a network, at the key ``key`` of its section; ``roles`` adds the rules about cloud and clients."""
    said: list[str] = []
    known: dict[str, Node] = {}
    for node in nodes:
        if node.name in known:
            said.append(f"two nodes are named {node.name!r}; names are unique")
        known[node.name] = node
    pairs: set[frozenset[str]] = set()
    for link in links:
        name = f"link {link.u!r}-{link.v!r}"
        missing = [end for end in (link.u, link.v) if end not in known]
        if missing:
            said.append(f"{name} names the unknown node {listed(missing)}")
        elif link.u == link.v:
            said.append(f"{name} joins a node to itself")
        elif frozenset((link.u, link.v)) in pairs:
            said.append(f"{name} is given twice; there is at most one link between two nodes, give it the sum")
        pairs.add(frozenset((link.u, link.v)))
        for what, value in (("up", link.up), ("down", link.down)):
            if not (math.isfinite(value) and value > 0):
                said.append(f"{name}: bandwidth {what} must be a finite number above 0 bit/s, got {value:g} "
                            "(an outage is a profile entry of 0)")  # fmt: skip
        if not (math.isfinite(link.latency) and link.latency >= 0):
            said.append(f"{name}: latency must be a finite number of at least 0 s, got {link.latency:g}")
    if roles:
        said += _role_faults(known, pairs)
    return [Fault(key, message) for message in said]


def _role_faults(known: dict[str, Node], pairs: set[frozenset[str]]) -> list[str]:
    said: list[str] = []
    clouds = [n.name for n in known.values() if n.role == "cloud"]
    if len(clouds) != 1:
        have = f"{len(clouds)}: {listed(clouds)}" if clouds else "none"
        said.append(f"exactly one node must have the role 'cloud'; there is {have}")
    if not any(n.role == "client" for n in known.values()):
        said.append("there is no client; give nodes the role 'client', or a number of clients to attach")
    near: dict[str, list[str]] = {name: [] for name in known}
    for u, v in (tuple(p) for p in pairs if len(p) == 2 and all(n in known for n in p)):
        near[u].append(v)
        near[v].append(u)
    reached, todo = set(clouds[:1]), clouds[:1]
    while todo:
        new = [n for n in near[todo.pop()] if n not in reached]
        reached.update(new)
        todo += new
    if clouds:
        cut = [n.name for n in known.values() if n.role in ("client", "edge") and n.name not in reached]
        if cut:
            said.append(f"no route to the cloud {clouds[0]!r} from {listed(sorted(cut, key=natural))}; add a link")
    return said
