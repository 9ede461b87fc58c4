"""What the network was understood to be, in words and units; and words that other sections need.

Tested in tests/run/test_understood.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import networkx as nx
from pydantic.fields import FieldInfo

from ..base.registry import Options
from ..base.units import Quantity, format_bandwidth, format_bytes, format_seconds, quantity_of, unit_for
from ..topology import Link, Topology
from .checks import Plan

Row = tuple[str, str]
#: A link, its end on the side of the clients, and the other one.
Way = tuple[Link, str, str]


def of_network(plan: Plan) -> Iterator[Row]:
    """Links and how they vary, share, frame and fail."""
    topology, network = plan.topology, plan.scenario.network
    hops = nx.single_source_shortest_path_length(topology.graph, topology.cloud)
    groups: dict[str, list[Way]] = {"links of clients": [], "other links": []}
    for link in topology.links:
        own = [end for end in (link.u, link.v) if topology.role(end) == "client"]
        low = own[0] if own else max(link.u, link.v, key=lambda end: hops.get(end, 0))
        groups["links of clients" if own else "other links"].append((link, low, link.v if low == link.u else link.u))
    for name, ways in groups.items():
        if ways:
            yield name, _of_links(ways, topology)
    if plan.layout is not None and plan.scenario.wireless is not None:
        air = plan.scenario.wireless
        yield (
            "on the air",
            f"{len(plan.layout.clients)} clients, of whose links the latency counts; {air.subchannels} subchannels of "
            f"{hertz(air.bandwidth)} each way; {stated(air, {'subchannels', 'bandwidth', 'nodes'})}",
        )
        if air.path_loss.understood:
            yield "path loss", air.path_loss.understood
    yield "link model", network.model.kind
    carrying = network.transport
    framing = f"{format_bytes(carrying.framing)} of headers per {format_bytes(carrying.segment)} of payload"
    yield "transport", f"{carrying.kind}; {framing}{'; ' + carrying.understood if carrying.understood else ''}"
    downs = [
        f"{each.node or '-'.join(each.link or ())} from {format_seconds(each.start)} for {format_seconds(each.duration)}"
        for each in network.outages[:3]
    ]
    downs += [f"{len(network.outages) - 3} more outages"] * (len(network.outages) > 3)
    downs += [f"{len(network.failures)} processes of failure and repair"] * bool(network.failures)
    if downs:
        yield "links that fail", ", ".join(downs)


def _of_links(ways: Sequence[Way], topology: Topology) -> str:
    """How many, and the ranges of what they have; ``up`` is from a client, else towards the cloud (in hops)."""
    links = [link for link, _, _ in ways]
    text = f"{len(links)}: up {spread([topology.bandwidth(low, high) for _, low, high in ways], format_bandwidth)}"
    text += f", down {spread([topology.bandwidth(high, low) for _, low, high in ways], format_bandwidth)}"
    text += f", latency {spread([x.latency for x in links], format_seconds)}"
    if half := sum(x.duplex == "half" for x in links):
        text += f"; {half} half duplex, of bandwidth up together"
    text += _varying([link.profile_from(low) for link, low, _ in ways if link.profile_down is None], "both ways")
    text += _varying([link.profile_from(low) for link, low, _ in ways if link.profile_down is not None], "up")
    text += _varying([link.profile_from(high) for link, _, high in ways if link.profile_down is not None], "down")
    if any(x.jitter for x in links):
        text += f"; jitter {spread([x.jitter for x in links], format_seconds)}"
    if any(x.loss for x in links):
        text += f"; loss {spread([x.loss for x in links], lambda p: f'{100 * p:.3g} %')}"
    cells = {x.cell for x in links if x.cell}
    return text + (f"; {len(cells)} shared cells" if cells else "")


def _varying(profiles: Sequence[tuple[Sequence[tuple[float, float]], float | None]], way: str) -> str:
    """What the profiles or traces of one direction range over, how long they are, and whether they begin again."""
    there = [(profile, period) for profile, period in profiles if profile]
    if not there:
        return ""
    rates = spread([bandwidth for profile, _ in there for _, bandwidth in profile], format_bandwidth)
    lengths = spread([profile[-1][0] if period is None else period for profile, period in there], format_seconds)
    again = sum(period is not None for _, period in there)
    text = f"; {len(there)} vary {way} from {rates} over {lengths} (profile or trace)"
    return f"{text}, {'all' if again == len(there) else again} again and again" if again else f"{text}, then hold"


def spread(values: Sequence[float], told: Callable[[float], str]) -> str:
    """From the least to the most of these values, each told in words."""
    low, high = told(min(values)), told(max(values))
    return low if low == high else f"{low} to {high}"


def stated(options: Options, known: set[str]) -> str:
    """The options that were given and are not those of default, in short."""
    said = []
    for name in type(options).model_fields:
        value = getattr(options, name)
        if name in known or name not in options.stated:
            continue
        inner = stated(value, {"kind"}) if isinstance(value, Options) else ""
        told = " ".join(filter(None, (getattr(value, "kind", ""), f"({inner})" if inner else ""))) or "(as by default)"
        values = value if isinstance(value, tuple) else (value,)
        text = ", ".join(with_unit(each, _quantity(type(options).model_fields[name])) for each in values)
        said.append(f"{name} {told if isinstance(value, Options) else text}")
    return ", ".join(said)


def with_unit(value: Any, quantity: str | None) -> str:
    """A value of an option as it is told: ``200 mW``; what has no unit as it is."""
    if quantity is None or not isinstance(value, float):
        return str(value)
    unit, one = unit_for(abs(value), quantity)
    return f"{value / one:.4g} {unit}"


def _quantity(field: FieldInfo) -> str | None:
    """The quantity of a field: of its values, where it holds several, or may hold none."""
    own = next((each.name for each in field.metadata if isinstance(each, Quantity)), None)
    return own or next(filter(None, map(quantity_of, get_args(field.annotation))), None)


def hertz(value: float) -> str:
    """A bandwidth in Hz."""
    return format_bandwidth(value).replace("bit/s", "Hz")
