"""How long a client's share of a round is expected to take: what a server could know before it has heard from the client.

From static rates and latencies of the route, with nobody else on it, and from speeds and constant slowdowns. Codecs, framing,
stragglers and queues at servers are left out. Wireless clients count with their rates of the moment. Tested in
tests/protocols/test_selection.py.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from ..learning.execution.work import TensorSpec
from ..selection.base import Prospect
from ..world.client import SplitClient

if TYPE_CHECKING:
    from ..learning.backbone.options import Part
    from ..world.client import Client
    from ..world.world import World
    from .base import Protocol


def prospects(world: World, options: Protocol) -> Callable[[str], Prospect]:
    """Client -> what it is expected to take (s) under a protocol; asked for once where rates do not change."""
    known: dict[str, Prospect] = {}
    clients = {client.name: client for client in world.clients}

    def prospect(name: str) -> Prospect:
        wireless = world.radio is not None and name in world.radio
        if name not in known or wireless:
            known[name] = _expected(world, options, clients[name])
        return known[name]

    return prospect


def _expected(world: World, options: Protocol, client: Client) -> Prospect:
    model, pattern = world.model, options.pattern
    server = client.edge if options.needs_edge_servers else world.cloud
    own: tuple[Part, ...] = client.own if isinstance(client, SplitClient) else (model.whole,)
    size = 8.0 * sum(model.specs[name].nbytes for name in model.names(own))
    (up, down), latency = _rates(world, client.name, server), world.topology.latency(client.name, server)
    rows = client.batches.size
    lengths = client.batches.split.lengths[client.samples]
    width, tokens = int(lengths.max()), rows * float(lengths.mean())
    step = _seconds(world, client.name, own, rows, width)
    if isinstance(client, SplitClient):
        served = pattern.held(client.parts, "server")
        step += _seconds(world, server, served, rows, width)
        states = 8.0 * tokens * TensorSpec((model.hidden,), model.dtype).nbytes
        step += sum(latency + states / (up if crossing.up else down) for crossing in pattern.crossings)
    return Prospect(latency + size / down, options.local_steps * step, latency + size / up)


def _seconds(world: World, node: str, parts: tuple[Part, ...], rows: int, width: int) -> float:
    """A step of ``parts`` on the device of a node (s)."""
    flops = sum(world.model.formulas.flops(part, "learn", rows, width) for part in parts)
    return world.devices[node].duration(flops)


def _rates(world: World, client: str, server: str) -> tuple[float, float]:
    """The narrowest rate from a client to its server, and back (bit/s)."""
    topology, radio = world.topology, world.radio
    route = topology.route(client, server) if radio is None else radio.route(client, server)

    def rate(u: str, v: str) -> float:
        found = radio.rate(u, v) if radio is not None and (u in radio or v in radio) else topology.bandwidth(u, v)
        return max(found, 1e-9)  # a wireless client that waits for its turn has none

    hops = list(pairwise(route))
    return min(rate(u, v) for u, v in hops), min(rate(v, u) for u, v in hops)
