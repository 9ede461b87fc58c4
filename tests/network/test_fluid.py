"""The fluid that shares everything anew: what a link model is told of the flows, and a model to which latency matters."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import simpy
from pydantic import PrivateAttr
from small_networks import net, play

from elsa_sim.links import Fifo, Flows, Ideal, LinkModel, MaxMin, Rates, RttFair
from elsa_sim.network import Network, NetworkOptions
from elsa_sim.network.fluid import Flow, ResolveAll
from elsa_sim.network.incremental import IncrementalMaxMin
from elsa_sim.topology import Link

#: Two senders at different distances from one bottleneck of 8 Mbit/s.
FORK = net(Link("a", "x", 1e9, 1e9, 0.05), Link("b", "x", 1e9, 1e9, 0.1), Link("x", "c", 8e6, 8e6))


def ends(flows: list[tuple[float, str, str, float]], model: LinkModel) -> list[float]:
    network, done = play(FORK, flows, model)
    assert network.check() == []
    return [d.t_end_s for d in done]


def test_the_longer_the_round_trip_the_smaller_the_share() -> None:
    """Round trips of 0.2 and 0.3 s with the queue: shares of 3/5 and 2/5, while both are there.

    a sends alone from 0.05 to 0.1 s (0.4 of its 8 Mbit), at 4.8 Mbit/s until all 8 are through, and b's 3.2 Mbit/s become 8
    then; the bottleneck is never idle, so b ends 2 s after a began.
    """
    first = 0.1 + 7.6 / 4.8
    assert ends([(0, "a", "c", 1e6), (0, "b", "c", 1e6)], RttFair(queue=0.2)) == pytest.approx([first, 2.05], rel=1e-9)
    assert ends([(0, "a", "c", 1e6), (0, "b", "c", 1e6)], MaxMin()) == pytest.approx([2.0, 2.05], rel=1e-9)


def test_equal_round_trips_share_alike() -> None:
    assert ends([(0, "a", "c", 1e6)] * 2, RttFair(queue=0.2)) == pytest.approx([2.05] * 2, rel=1e-9)


class Listening(Ideal):
    """Notes what it is told."""

    kind: Literal["listening"] = "listening"  # type: ignore[assignment]
    _told: list[Flows] = PrivateAttr(default_factory=list)

    def allocate(self, flows: Flows, capacities: Rates) -> Rates:
        self._told.append(flows)
        return super().allocate(flows, capacities)


class Hops(Listening):
    """The same, hop by hop."""

    kind: Literal["hops"] = "hops"  # type: ignore[assignment]
    store_and_forward = True


class Own(LinkModel):
    """Max-min in one's own words."""

    kind: Literal["own"] = "own"
    max_min = True

    def allocate(self, flows: Flows, capacities: Rates) -> Rates:
        raise AssertionError("the engine computes it")


for _each in (Listening, Hops, Own):
    del LinkModel.members[_each.model_fields["kind"].default]  # for this file only


@pytest.mark.parametrize(
    ("model", "expected"), [(Listening, [[0.3], [0.3]]), (Hops, [[0.1], [0.2]])], ids=["at once", "hop by hop"]
)
def test_latencies_are_those_of_the_route_that_is_crossed(model: Any, expected: list[list[float]]) -> None:
    """Without the jitter that a message meets; hop by hop, that of the hop. Routes are those of the flows."""
    way = net(Link("a", "b", 8e6, 8e6, 0.1, jitter=0.05), Link("b", "c", 8e6, 8e6, 0.2, jitter=0.05))
    chosen = model()
    network, _ = play(way, [(0, "a", "c", 1e6)], chosen)
    told = [each for each in chosen._told if each.routes]
    seen = [each.latencies.tolist() for each in told]
    assert seen[:1] + seen[-1:] == [pytest.approx(each) for each in expected]
    index = network.channels.index
    hops = [index["a", "b"], index["b", "c"]]
    assert told[0].routes == ([sum(hops, ())] if model is Listening else [hops[0]])


@pytest.mark.parametrize(
    ("model", "resolve", "fluid"),
    [
        (MaxMin(), "touched", IncrementalMaxMin),
        (MaxMin(), "all", ResolveAll),
        (Own(), "touched", IncrementalMaxMin),
        (RttFair(), "touched", ResolveAll),
        (Fifo(), "touched", ResolveAll),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_who_declares_max_min_gets_the_incremental_engine(model: LinkModel, resolve: Any, fluid: type) -> None:
    network = Network(simpy.Environment(), FORK, NetworkOptions(model=model, resolve=resolve, transport="fluid"))
    assert type(network._drain.fluid) is fluid
    if isinstance(model, Own) and resolve == "touched":
        assert play(FORK, [(0, "a", "c", 1e6)] * 2, model)[1][0].t_end_s == pytest.approx(2.05)


def test_a_cap_is_a_channel_of_ones_own() -> None:
    """Three flows over 9 bit/s, one of them capped at 1: the others get 4 each, and after it has left 4.5."""
    fluid = ResolveAll([9.0], MaxMin())
    flows = [Flow((0,), 100.0, i, i, cap) for i, cap in enumerate((np.inf, 1.0, np.inf))]
    for flow in flows:
        fluid.enter(flow, 0.0)
    assert fluid.settle(0.0) == []
    assert [f.rate for f in flows] == [4.0, 1.0, 4.0]
    assert fluid.next_time() == 25.0
    fluid.leave(flows[1], 10.0)
    assert flows[1].left == 90.0
    fluid.settle(10.0)
    assert [f.rate for f in flows] == [4.5, 1.0, 4.5]
    assert fluid.left(flows[0], 12.0) == 100.0 - 40.0 - 9.0
    assert fluid.drained == 90.0
