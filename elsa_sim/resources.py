"""What clients and servers have, as plain numbers: what a split policy decides by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from .codecs.base import Passage, chain_flops, gradient_chain, resolved, wire
from .devices import DeviceOptions
from .learning.footprint import Outline
from .learning.splits.base import ClientResources, Machine, Resources
from .learning.work import TensorSpec
from .topology import Topology

if TYPE_CHECKING:
    from .scenario import Scenario


def resources(
    scenario: Scenario,
    outline: Outline,
    topology: Topology,
    devices: Mapping[str, DeviceOptions],
    server_of: Mapping[str, str],
) -> Resources:
    """The resources of a scenario whose clients are served by ``server_of``.

    Rates are those of the narrowest link on the way, each shared fairly by all clients whose way crosses it in that
    direction; without sharing in the network model, all of it. Slowdowns are the constant ones.
    """
    routes = {client: topology.route(client, server) for client, server in server_of.items()}
    uses = Counter(hop for route in routes.values() for hop in pairwise(route))
    shares = scenario.network.model.shares

    def rate(hops: list[tuple[str, str]], back: bool) -> float:
        found = []
        for u, v in hops:
            bandwidth = topology.bandwidth(v, u) if back else topology.bandwidth(u, v)
            found.append(bandwidth / (uses[u, v] if shares else 1))
        return min(found)

    clients = []
    for name, server in server_of.items():
        hops, machine = list(pairwise(routes[name])), _machine(devices[name])
        latency = topology.latency(name, server)
        clients.append(ClientResources(name, machine, server, rate(hops, False), rate(hops, True), latency))
    crossing, codec = _crossing(scenario, outline)
    return Resources(
        outline,
        scenario.task.batch_size,
        scenario.task.max_length,
        clients,
        {server: _machine(devices[server]) for server in dict.fromkeys(server_of.values())},
        crossing,
        codec,
        scenario.protocol.head,
    )


def _machine(device: DeviceOptions) -> Machine:
    return Machine(device.speed / device.slowdown, device.memory, device.launch, device.slots)


def _crossing(scenario: Scenario, outline: Outline) -> tuple[tuple[float, float], tuple[float, float]]:
    """Mean bytes of a message up and of one down, and FLOPs of the codecs per step on client and server.

    With the head on the server, activations go up and gradients come down; else both do both.
    """
    activation = tuple(scenario.codec.activation)
    chains = {"activation": activation, "gradient": gradient_chain(activation, scenario.codec.gradient)}
    both = scenario.protocol.head == "client"
    tokens = scenario.task.batch_size * scenario.task.max_length
    states = TensorSpec((tokens, outline.shape.hidden))
    size, client, server = {True: 0.0, False: 0.0}, 0.0, 0.0
    for message, given in chains.items():
        for up in (True, False) if both else (message == "activation",):
            passage = Passage(message, up, round=2, index=1)
            chain = resolved(given, passage, None)
            size[up] += (sum(buffer.nbytes for buffer in wire(chain, states)[1]) + scenario.network.header) / (1 + both)
            encode, decode = chain_flops(chain, states, passage)
            client, server = client + (encode if up else decode), server + (decode if up else encode)
    return (size[True], size[False]), (client, server)
