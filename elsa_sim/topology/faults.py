"""What is wrong with a network: names, links that lead nowhere, quantities out of range, roles.

Tested in tests/topology/test_model.py and tests/topology/test_files.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..base.errors import Fault
from ..base.listing import listed
from .limits import MOST_LATENCY, bandwidth_fault, loss_fault, name_fault, profile_fault, time_fault
from .model import Link, Node, natural


def faults_of(nodes: Sequence[Node], links: Sequence[Link], key: str = "", roles: bool = True) -> list[Fault]:
    """Every fault of a network, at the key ``key`` of its section; ``roles`` adds the rules about cloud and clients."""
    said: list[str] = []
    known: dict[str, Node] = {}
    checked: dict[tuple[int, float | None], str | None] = {}
    for node in nodes:
        strange = name_fault(node.name)
        if strange:
            said.append(strange)
        if node.name in known:
            said.append(f"two nodes are named {node.name!r}; names are unique")
        known[node.name] = node
    pairs: set[frozenset[str]] = set()
    for link in links:
        name = f"link {link.u!r}-{link.v!r}"
        missing = [end for end in (link.u, link.v) if end not in known]
        if missing:
            said.append(f"{name} names the unknown node {listed(missing, quoted=True)}")
        elif link.u == link.v:
            said.append(f"{name} joins a node to itself")
        elif frozenset((link.u, link.v)) in pairs:
            said.append(f"{name} is given twice; there is at most one link between two nodes, give it the sum")
        pairs.add(frozenset((link.u, link.v)))
        said += [f"{name}: {what}" for what in _quantity_faults(link, checked)]
    if roles:
        said += _role_faults(known, pairs)
    return [Fault(key, message) for message in said]


def _quantity_faults(link: Link, checked: dict[tuple[int, float | None], str | None]) -> Iterator[str]:
    """What is out of range; ``checked`` are the profiles that were looked at, which many links may share."""
    for what, fault in (
        ("bandwidth up", bandwidth_fault(link.up)),
        ("bandwidth down", bandwidth_fault(link.down)),
        ("cell_bandwidth", None if link.cell_bandwidth is None else bandwidth_fault(link.cell_bandwidth)),
        ("latency", time_fault(link.latency, MOST_LATENCY)),
        ("jitter", time_fault(link.jitter, MOST_LATENCY)),
        ("loss", loss_fault(link.loss)),
    ):
        if fault:
            yield f"{what} {fault}"
    for profile, period in ((link.profile, link.period), (link.profile_down or (), link.period_down)):
        key = id(profile), period
        if key not in checked:
            checked[key] = profile_fault(profile, period)
        fault = checked[key]
        if fault:
            yield fault


def _role_faults(known: dict[str, Node], pairs: set[frozenset[str]]) -> list[str]:
    said: list[str] = []
    clouds = [n.name for n in known.values() if n.role == "cloud"]
    if len(clouds) != 1:
        have = f"{len(clouds)}: {listed(clouds, quoted=True)}" if clouds else "none"
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
            cut.sort(key=natural)
            said.append(f"no route to the cloud {clouds[0]!r} from {listed(cut, quoted=True)}; add a link")
    return said
