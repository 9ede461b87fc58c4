"""What clients and servers have, as plain numbers: what a split policy and an allocator of subchannels decide by.

Tested in tests/learning/splits/test_policies.py and tests/wireless/test_allocation.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import simpy

from ..base.errors import Fault, InputError
from ..base.streams import Streams
from ..codecs.base import MessageContext
from ..codecs.chain import chain_flops, coupled, resolved, wire_specs
from ..devices import DeviceOptions
from ..learning.backbone.flops import pass_flops, update_flops
from ..learning.backbone.memory import Outline
from ..learning.backbone.numbers import FLOAT
from ..learning.backbone.options import whole
from ..learning.splits.base import ClientResources, Cut, Machine, Resources
from ..learning.splits.latency import cost
from ..network import Network
from ..topology import Topology
from ..topology.limits import LEAST_BANDWIDTH
from ..wireless import Layout, Radio

if TYPE_CHECKING:
    from ..scenario.model import Scenario


def resources(
    scenario: Scenario,
    outline: Outline,
    topology: Topology,
    devices: Mapping[str, DeviceOptions],
    server_of: Mapping[str, str],
    radio: Radio | None = None,
) -> Resources:
    """The resources of a scenario whose clients are served by ``server_of``.

    Rates are those of the narrowest link on the way, each shared fairly by all clients whose way crosses it in that
    direction; without sharing in the network model, all of it. That of a wireless link is what ``radio`` gives it.
    Slowdowns are the constant ones.
    """
    ways = topology if radio is None else radio
    routes = {client: ways.route(client, server) for client, server in server_of.items()}
    uses = Counter(hop for route in routes.values() for hop in pairwise(route))
    shares = scenario.network.model.shares

    def rate(hops: list[tuple[str, str]], back: bool) -> float:
        found = []
        for u, v in hops:
            if radio is not None and u in radio:
                found.append(radio.rate(v, u) if back else radio.rate(u, v))
                continue
            bandwidth = topology.bandwidth(v, u) if back else topology.bandwidth(u, v)
            found.append(bandwidth / (uses[u, v] if shares else 1))
        return min(found)

    clients = []
    for name, server in server_of.items():
        hops, device = list(pairwise(routes[name])), machine(devices[name])
        latency = topology.latency(name, server)
        clients.append(ClientResources(name, device, server, rate(hops, False), rate(hops, True), latency))
    crossing, codec = _crossing(scenario, outline)
    return Resources(
        outline,
        scenario.task.batch_size,
        scenario.task.max_length,
        clients,
        {server: machine(devices[server]) for server in dict.fromkeys(server_of.values())},
        crossing,
        codec,
        scenario.protocol.pattern,
    )


def machine(device: DeviceOptions) -> Machine:
    """A device as a split policy sees it."""
    return Machine(device.effective_speed / device.slowdown, device.memory, device.launch, device.slots)


def radio_of(scenario: Scenario, layout: Layout, streams: Streams) -> Radio:
    """The radio of a scenario as it is at time 0, in an environment of its own."""
    assert scenario.wireless is not None
    env = simpy.Environment()
    return Radio(env, Network(env, layout.extended, scenario.network, streams), scenario.wireless, layout, streams)


def unheard(scenario: Scenario, layout: Layout, streams: Streams) -> list[Fault]:
    """Clients whose bits would take years at time 0; a rate of exactly 0 is that of who waits for its turn or its station."""
    try:
        radio = radio_of(scenario, layout, streams)
    except InputError as error:
        return [Fault("", str(error))]
    rates = {(c, s): radio.rate(c, s) for s in layout.stations for c in layout.clients}
    weak = [(client, station, rate) for (client, station), rate in rates.items() if 0.0 < rate < LEAST_BANDWIDTH]
    if not weak:
        return []
    client, station, rate = weak[0]
    more = f" (so do {len(weak) - 1} more)" if weak[1:] else ""
    what = f"{client} would send to {station} at {rate:.3g} bit/s{more}; at least {LEAST_BANDWIDTH:g} bit/s"
    return [Fault("", f"{what}: look at powers, noise, distances and path loss")]


class Needs(NamedTuple):
    """What clients send to a station (bit), and how long after they may begin (s), by client."""

    bits: Mapping[str, float]
    waits: Mapping[str, float]


def needs(
    scenario: Scenario, outline: Outline, devices: Mapping[str, DeviceOptions], there: Resources | None,
    cuts: Mapping[str, Cut] | None, clients: Sequence[str],
) -> dict[str | None, Needs]:  # fmt: skip
    """What the clients of a wireless scenario need, by station (``None``: any that is not named).

    Where the model is cut, it is what crosses in a local step, and a client's arithmetic in it goes before; else the
    adapters of a round, and the arithmetic of the round. The server that only averages adapters is sent those.
    """
    task, wire_bytes = scenario.task, scenario.network.transport.wire_bytes
    if cuts is None or there is None:
        model = whole(outline.shape.layers)
        flops = pass_flops(outline, model, "learn", task.batch_size, task.max_length)
        bits = 8.0 * wire_bytes(FLOAT * outline.trained([model]))
        work = (flops + update_flops(outline, [model])) * scenario.protocol.local_steps
        waits = {name: machine(devices[name]).seconds(work, scenario.protocol.local_steps) for name in clients}
        return {None: Needs(dict.fromkeys(clients, bits), waits)}
    pattern = there.pattern
    ups = len(pattern.crossed(up=True))
    parts = {name: pattern.divide(there.layers, cut.p, cut.q) for name, cut in cuts.items()}
    waits = {}
    for client in there.clients:
        if client.name not in cuts:
            continue
        cut = cuts[client.name]
        if ups > 1:  # between them lies all that the client computes in a step
            before = cost(there, client, cut.p, cut.q).client
        else:
            first = parts[client.name][0]
            before = client.machine.seconds(pass_flops(outline, first, "forward", task.batch_size, task.max_length))
        waits[client.name] = before + ups * client.latency
    found: dict[str | None, Needs] = {None: Needs(dict.fromkeys(waits, 8.0 * there.crossing[0]), waits)}
    aggregator = scenario.protocol.aggregator
    if aggregator is not None:
        own = {name: outline.trained(pattern.held(parts[name], "client")) for name in cuts}
        bits_of = {name: 8.0 * wire_bytes(FLOAT * count) for name, count in own.items()}
        found[aggregator] = Needs(bits_of, dict.fromkeys(own, 0.0))
    return found


def set_demands(radio: Radio, wanted: Mapping[str | None, Needs]) -> None:
    """Have the allocators of ``radio`` know what clients need."""
    for station, need in wanted.items():
        radio.set_needs(need.bits, need.waits, station)


def _crossing(scenario: Scenario, outline: Outline) -> tuple[tuple[float, float], tuple[float, float]]:
    """Bytes of the messages of a step up and down, with their framing, and FLOPs of their codecs on client and server."""
    chains = coupled(scenario.codec.chains)
    tokens = scenario.task.batch_size * scenario.task.max_length
    states = outline.states(tokens)
    size, client, server = {True: 0.0, False: 0.0}, 0.0, 0.0
    for crossing in scenario.protocol.pattern.crossings:
        context = MessageContext(crossing.kind, crossing.up, round=2, index=1)
        chain = resolved(chains.get(crossing.kind, ()), context, None)
        payload = sum(buffer.nbytes for buffer in wire_specs(chain, states)[1])
        size[crossing.up] += scenario.network.transport.wire_bytes(payload)
        encode, decode = chain_flops(chain, states, context)
        client, server = (
            client + (encode if crossing.up else decode),
            server + (decode if crossing.up else encode),
        )
    return (size[True], size[False]), (client, server)
