"""Bandwidths that come from a source outside: asked when they change by themselves, or when told to ask anew."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from small_networks import MODELS, net

from elsa_sim.network import Network, NetworkOptions
from elsa_sim.topology import Link


class Trace:
    """From each time on, a bandwidth of the channel a -> b."""

    def __init__(self, *steps: tuple[float, float]) -> None:
        self.steps = list(steps)
        self.asked: list[float] = []

    def changes(self, now: float) -> Mapping[tuple[str, str], float]:
        self.asked.append(now)
        return {("a", "b"): [b for t, b in self.steps if t <= now + 1e-12][-1]}

    def next_change(self, now: float) -> float:
        return min((t for t, _ in self.steps if t > now + 1e-12), default=math.inf)


def arrival(trace: Trace, model: str, nbytes: float, start: float = 0.0, **options: Any) -> tuple[Network, float]:
    env = simpy.Environment()
    network = Network(
        env,
        net(Link("a", "b", 1.0, 1.0)),
        NetworkOptions.model_validate({"model": model, "transport": "fluid", **options}),
    )
    network.follow(trace)

    def sending() -> Any:
        yield env.timeout(start)
        yield network.transfer("a", "b", nbytes)

    env.run(env.process(sending()))
    assert network.check() == []
    return network, float(env.now)


@pytest.mark.parametrize("model", MODELS)
@given(
    rates=st.lists(st.sampled_from([0.0, 1e6, 3e6, 8e6]), min_size=1, max_size=8),
    start=st.floats(0.0, 5.0),
    megabits=st.floats(0.1, 30.0),
)
def test_a_transfer_is_the_integral_of_its_rate(model: str, rates: list[float], start: float, megabits: float) -> None:
    """A step a second, and 1 Mbit/s in the end: the integral from start to arrival is the message, to 1e-9."""
    steps = [(float(t), rate) for t, rate in enumerate([*rates, 1e6])]
    _, end = arrival(Trace(*steps), model, megabits * 1e6 / 8.0, start)
    times = [t for t, _ in steps]
    inside = [start, *(t for t in times if start < t < end), end]
    bits = math.fsum(
        (b - a) * steps[bisect.bisect_right(times, (a + b) / 2.0) - 1][1] for a, b in itertools.pairwise(inside)
    )
    assert bits == pytest.approx(megabits * 1e6, rel=1e-9, abs=1e-2)


def test_a_source_is_asked_while_flows_are_under_way_only() -> None:
    trace = Trace(*((0.1 * i, 8e6) for i in range(1000)))
    arrival(trace, "max-min", 1e6, start=50.05)
    assert [t for t in trace.asked if t > 0.0] == pytest.approx([50.05, *(50.1 + 0.1 * i for i in range(10))])


@pytest.mark.parametrize("model", MODELS)
def test_refresh_before_the_time_foretold(model: str) -> None:
    """1 of 2 s at 8 Mbit/s, then half the rate out of the blue, with the change foretold for 9 s still to come: 3 s.
    Refreshing many times leaves one waking, not many."""
    trace = Trace((0.0, 8e6), (9.0, 1e6))
    env = simpy.Environment()
    network = Network(
        env, net(Link("a", "b", 1.0, 1.0)), NetworkOptions.model_validate({"model": model, "transport": "fluid"})
    )
    network.follow(trace)
    transfer = network.transfer("a", "b", 2e6)

    def later() -> Any:
        yield env.timeout(1.0)
        trace.steps[0] = (0.0, 4e6)
        for _ in range(50):
            network.refresh()

    env.process(later())
    assert env.run(transfer).t_end_s == pytest.approx(3.0)
    trace.steps += [(9.0 + i, 1e6) for i in range(1, 20)]
    asked = len(trace.asked)
    env.run(network.transfer("a", "b", 3e6))  # 24 Mbit from 3 s on at 4 Mbit/s: ends at 9 s
    network.transfer("a", "b", 1e6)
    env.run()
    assert len(trace.asked) - asked <= 12


@pytest.mark.parametrize("model", MODELS)
def test_outages_beat_a_source(model: str) -> None:
    outage = {"node": "b", "start": 0.5, "duration": 2.0}
    network, end = arrival(Trace((0.0, 8e6), (1.0, 8e6)), model, 1e6, outages=[outage])
    assert end == pytest.approx(3.0)
    assert network.carried_bytes["b", "a"] == 0.0


def test_a_source_down_for_long_is_a_stall() -> None:
    network, end = arrival(Trace((0.0, 8e6), (0.5, 0.0)), "max-min", 1e6, stall_timeout=1.0, retries=0)
    assert end == pytest.approx(1.5)
    assert network.tally.aborted == 1


def test_a_change_foretold_ever_earlier_is_asked_for_once() -> None:
    """50 refreshes, each of which foretells an earlier change: what was armed for the later ones does not ask again."""
    trace = Trace((0.0, 8e6), (9.0, 8e6))
    env = simpy.Environment()
    network = Network(env, net(Link("a", "b", 1.0, 1.0)), NetworkOptions(transport="fluid"))
    network.follow(trace)
    transfer = network.transfer("a", "b", 20e6)

    def later() -> Any:
        yield env.timeout(1.0)
        for i in range(50):
            trace.steps[1] = (9.0 - 0.1 * i, 8e6)
            network.refresh()
        trace.asked.clear()

    env.process(later())
    assert env.run(transfer).t_end_s == pytest.approx(20.0)
    assert trace.asked == pytest.approx([4.1])


def test_a_source_is_followed_from_now_on() -> None:
    """A message under way meets the new bandwidth at once: 1 Mbit at 1 Mbit/s, then 7 at 7."""
    env = simpy.Environment()
    network = Network(env, net(Link("a", "b", 1e6, 1e6)), NetworkOptions(transport="fluid"))
    message = network.transfer("a", "b", 1e6)
    env.run(until=1.0)
    network.follow(Trace((0.0, 7e6)))
    assert env.run(message).t_end_s == pytest.approx(2.0)


@pytest.mark.parametrize("stated", [1e3, 1e6, 1e9])
def test_windows_know_nothing_of_the_bandwidth_that_a_source_overrules(stated: float) -> None:
    """0.1 Mbit/s for 0.3 s, then 1 Gbit/s: what the link states does not say how much goes without an acknowledgement."""
    env = simpy.Environment()
    network = Network(
        env, net(Link("a", "b", stated, stated, 0.05)), NetworkOptions.model_validate({"transport": "tcp"})
    )
    network.follow(Trace((0.0, 1e5), (0.3, 1e9)))
    message = network.transfer("a", "b", 1e6)
    assert env.run(message).t_end_s == pytest.approx(0.8, rel=0.01)
