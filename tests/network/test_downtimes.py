"""Links that fail and are repaired by chance: closed forms with fixed times, statistics and seeds with exponential ones."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import simpy
from small_networks import MODELS, net, send

from elsa_sim.base.intervals import Interval
from elsa_sim.base.streams import Streams
from elsa_sim.network import Network, NetworkOptions
from elsa_sim.topology import Link, Node, Topology

ONE = net(Link("a", "b", 8e6, 8e6))


TREE = Topology(
    (Node("cloud", "cloud"), Node("edge0", "edge"), Node("client0", "client"), Node("client1", "client")),
    (Link("client0", "edge0", 8e6, 8e6), Link("client1", "edge0", 8e6, 8e6), Link("edge0", "cloud", 8e6, 8e6)),
)


def downs(
    topology: Topology, *failures: dict[str, Any], seed: int = 0, until: float = 1e5
) -> dict[Any, list[Interval]]:
    """Link -> its downtimes."""
    options = NetworkOptions.model_validate({"failures": failures})
    network = Network(simpy.Environment(), topology, options, Streams(seed))
    return {
        link: list(itertools.takewhile(lambda interval: interval[0] < until, times))
        for link, times in network.channels.outages().items()
    }


@pytest.mark.parametrize("model", MODELS)
def test_fixed_times(model: str) -> None:
    """Up for 1 s, down for 0.5 s, and so on: 3 s of sending take 4 s, and nothing is sent twice."""
    failure = {"link": ["b", "a"], "mtbf": 1, "mttr": 0.5, "times": "fixed"}
    network, (delivery,) = send(ONE, [(0, "a", "b", 3e6)], model=model, failures=[failure])
    assert delivery.t_end_s == pytest.approx(4.0)
    assert delivery.wasted_bytes == 0.0
    assert network.carried_bytes["a", "b"] == pytest.approx(3e6)


def test_stalls_time_out_as_in_an_outage() -> None:
    """2 s of sending do not fit into 1.5 s: every attempt fails 0.5 s after the link has."""
    failure = {"link": ["a", "b"], "mtbf": 1.5, "mttr": 1, "times": "fixed"}
    options = {"stall_timeout": 0.5, "retries": 2, "backoff": 0.5, "backoff_factor": 1}
    _, (delivery,) = send(ONE, [(0, "a", "b", 2e6)], failures=[failure], **options)
    assert (delivery.status, delivery.attempts) == ("aborted", 3)
    assert delivery.t_end_s == pytest.approx(7.0)
    assert delivery.wasted_bytes == pytest.approx(3 * 1.5e6)


def test_beside_an_outage() -> None:
    """Down from 1 to 1.5 by failure, from 1.25 to 1.75 by outage: 1.25 s of sending end at 2."""
    failure = {"link": ["a", "b"], "mtbf": 1, "mttr": 0.5, "times": "fixed"}
    outage = {"node": "a", "start": 1.25, "duration": 0.5}
    _, (delivery,) = send(ONE, [(0, "a", "b", 1.25e6)], failures=[failure], outages=[outage])
    assert delivery.t_end_s == pytest.approx(2.0)


def test_mean_times_are_those_stated() -> None:
    (intervals,) = downs(ONE, {"links": "all", "mtbf": 30, "mttr": 10}).values()
    down = [end - start for start, end in intervals]
    up = [b[0] - a[1] for a, b in itertools.pairwise(intervals)]
    assert len(down) > 2000
    assert sum(down) / len(down) == pytest.approx(10, rel=0.1)
    assert sum(up) / len(up) == pytest.approx(30, rel=0.1)


def test_seeds_and_who_fails_with_whom() -> None:
    """Links fail each by itself, those of one node together; the seed decides, whatever else fails."""
    each = {"links": "all", "mtbf": 30, "mttr": 10}
    by_link = downs(TREE, each)
    assert len(by_link) == 3
    assert len({tuple(times) for times in by_link.values()}) == 3
    assert downs(TREE, each) == by_link
    assert downs(TREE, each, seed=1) != by_link
    together = downs(TREE, {"node": "edge0", "mtbf": 30, "mttr": 10})
    assert len(together) == 3
    assert len({tuple(times) for times in together.values()}) == 1
    assert set(downs(TREE, {**each, "links": "access"})) == {("client0", "edge0"), ("client1", "edge0")}
    core = downs(TREE, {**each, "links": "core"})
    assert set(core) == {("edge0", "cloud")}
    assert core["edge0", "cloud"] == by_link["edge0", "cloud"]
    both = downs(TREE, each, {"link": ["client0", "edge0"], "mtbf": 30, "mttr": 10})
    assert both["client1", "edge0"] == by_link["client1", "edge0"]
    assert both["client0", "edge0"] != by_link["client0", "edge0"]
