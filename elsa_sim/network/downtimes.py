"""When links are down: scripted outages, and failures by chance."""

from __future__ import annotations

from collections.abc import Iterator

from ..base.intervals import Interval, Presence, alternation
from ..base.streams import Streams
from ..topology import Link, Topology
from .options import Failure, NetworkOptions


def presence(link: Link, topology: Topology, options: NetworkOptions, streams: Streams) -> Presence | None:
    """When a link is there; ``None`` if nothing ever takes it down.

    What happens by chance has a stream of its own per link, or per node whose links fail together.
    """
    ends = {link.u, link.v}
    found: list[Iterator[Interval]] = []
    scripted = [(o.start, o.start + o.duration) for o in options.outages if o.node in ends or set(o.link or ()) == ends]
    if scripted:
        found.append(iter(sorted(scripted)))
    for i, failure in enumerate(options.failures):
        if failure.node in ends:
            random = streams.numpy("link-failure", i, str(failure.node))
        elif set(failure.link or ()) == ends or _among(link, topology, failure):
            random = streams.numpy("link-failure", i, *sorted(ends))
        else:
            continue
        found.append(alternation(random, failure.mtbf, failure.mttr, fixed=failure.times == "fixed"))
    return Presence(found) if found else None


def _among(link: Link, topology: Topology, failure: Failure) -> bool:
    access = "client" in (topology.role(link.u), topology.role(link.v))
    return failure.links == "all" or failure.links == ("access" if access else "core")
