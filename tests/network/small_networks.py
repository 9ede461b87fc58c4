"""Small networks, and messages played on them to the end."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy

from elsa_sim.base.streams import Streams
from elsa_sim.links import LinkModel
from elsa_sim.network import Delivery, Network, NetworkOptions
from elsa_sim.topology import Link, Node, Topology
from elsa_sim.transports import Transport

MODELS = sorted(LinkModel.members)


def net(*links: Link) -> Topology:
    names = dict.fromkeys(end for link in links for end in (link.u, link.v))
    return Topology(tuple(Node(n) for n in names), links)


ONE = net(Link("a", "b", 8e6, 8e6))
TWO = net(Link("a", "b", 8e6, 8e6, 0.1), Link("b", "c", 8e6, 8e6, 0.1))


def play(
    topology: Topology,
    flows: list[tuple[float, str, str, float]],
    model: str | LinkModel = "max-min",
    transport: str | Transport = "fluid",
) -> tuple[Network, list[Delivery]]:
    """Send (start, src, dst, bytes) and run to the end."""
    env = simpy.Environment()
    network = Network(env, topology, NetworkOptions(model=model, transport=transport))
    done: list[Delivery | None] = [None] * len(flows)

    def send(i: int, start: float, src: str, dst: str, nbytes: float) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(start)
        done[i] = yield network.transfer(src, dst, nbytes)

    for i, flow in enumerate(flows):
        env.process(send(i, *flow))
    env.run()
    return network, [d for d in done if d is not None]


def send(
    topology: Topology, flows: list[tuple[float, str, str, float]], seed: int = 0, **options: Any
) -> tuple[Network, list[Delivery]]:
    """Send (start, src, dst, bytes) under these options, and run to the end."""
    env = simpy.Environment()
    network = Network(env, topology, NetworkOptions.model_validate({"transport": "fluid", **options}), Streams(seed))
    done: list[Delivery] = []

    def one(start: float, src: str, dst: str, nbytes: float) -> Any:
        yield env.timeout(start)
        done.append((yield network.transfer(src, dst, nbytes)))

    for flow in flows:
        env.process(one(*flow))
    env.run()
    assert network.check() == []
    tally = network.tally
    assert tally.sent_bytes == pytest.approx(sum(d.sent_bytes for d in done))
    assert tally.wasted_bytes == pytest.approx(sum(d.wasted_bytes for d in done))
    assert tally.delivered + tally.aborted == len(flows)
    return network, done
