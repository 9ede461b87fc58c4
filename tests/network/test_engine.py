"""The engine: closed forms, a second opinion on random networks, conservation, aborts, and robustness to rounding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from typing import Any, Literal

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from second_opinion import Message, simulate
from small_networks import MODELS, net, play

from elsa_sim.base.errors import InputError
from elsa_sim.links import Ideal, LinkModel
from elsa_sim.network import Delivery, Network, NetworkOptions
from elsa_sim.topology import Link, Topology


def test_one_flow_alone() -> None:
    """start + L + 8 bytes / min(bandwidth)."""
    network, (delivery,) = play(
        net(Link("a", "b", 8e6, 8e6, 0.01), Link("b", "c", 4e6, 4e6, 0.02)), [(1.0, "a", "c", 1e6)]
    )
    assert delivery == Delivery("a", "c", 1e6, ("a", "b", "c"), 1.0, pytest.approx(3.03), "ok", "", 1e6, 0.0, 1, 0.03,
                                pytest.approx(2.0), pytest.approx(2.0))  # fmt: skip
    assert network.carried_bytes == {("a", "b"): 1e6, ("b", "a"): 0.0, ("b", "c"): 1e6, ("c", "b"): 0.0}
    assert network.in_flight == ()
    assert network.check() == []


def test_to_itself_and_empty_messages() -> None:
    _, done = play(net(Link("a", "b", 8e6, 8e6, 0.5)), [(1, "a", "a", 1e9), (1, "a", "b", 0)])
    assert [d.t_end_s for d in done] == [1.0, 1.5]


def test_outage_without_end_leaves_the_transfer_in_flight() -> None:
    network, done = play(net(Link("a", "b", 8e6, 8e6, profile=((0.5, 0.0),))), [(0.0, "a", "b", 1e6)])
    assert done == []
    (left,) = network.in_flight
    assert network.sent_bytes(left) == pytest.approx(5e5)
    assert network.carried_bytes["a", "b"] == pytest.approx(5e5)
    assert network.check() == []


def test_fifo_stores_and_forwards() -> None:
    """Two messages over two hops: each hop serialises, then the latency, then the next hop's queue."""
    two = net(Link("a", "b", 8e6, 8e6, 0.1), Link("b", "c", 4e6, 4e6, 0.2))
    _, done = play(two, [(0, "a", "c", 1e6), (0, "a", "c", 1e6)], "fifo")
    assert [d.t_end_s for d in done] == pytest.approx([1 + 0.1 + 2 + 0.2, 1 + 0.1 + 2 + 2 + 0.2])


def test_ideal_knows_no_contention() -> None:
    _, done = play(net(Link("a", "b", 8e6, 8e6)), [(0, "a", "b", 1e6)] * 5, "ideal")
    assert [d.t_end_s for d in done] == pytest.approx([1.0] * 5)


def test_abort_ends_now_and_frees_the_link() -> None:
    env = simpy.Environment()
    network = Network(env, net(Link("a", "b", 8e6, 8e6)), NetworkOptions(transport="fluid"))
    first, second = network.transfer("a", "b", 1e6), network.transfer("a", "b", 1e6)
    env.run(until=1.0)
    network.abort(first, "no longer wanted")
    network.abort(first, "again")
    env.run()
    assert first.value.status == "aborted"
    assert first.value.reason == "no longer wanted"
    assert first.value.sent_bytes == pytest.approx(5e5)
    assert first.value.t_end_s == 1.0
    assert second.value.t_end_s == pytest.approx(1.5)
    assert network.carried_bytes["a", "b"] == pytest.approx(1.5e6)
    assert network.check() == []


def test_abort_during_the_latency() -> None:
    env = simpy.Environment()
    network = Network(env, net(Link("a", "b", 8e6, 8e6, 1.0)), NetworkOptions(transport="fluid"))
    message = network.transfer("a", "b", 1e6)
    env.run(until=0.5)
    network.abort(message, "gone")
    env.run()
    assert (message.value.t_end_s, message.value.sent_bytes) == (0.5, 0.0)


@pytest.mark.parametrize("nbytes", [-1.0, math.nan, math.inf])
def test_bad_sizes(nbytes: float) -> None:
    with pytest.raises(InputError, match="finite size"):
        Network(simpy.Environment(), net(Link("a", "b", 1.0, 1.0))).transfer("a", "b", nbytes)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("start", [0.0, 1e3, 1e7])
def test_rounding_never_stops_the_clock(model: str, start: float) -> None:
    """Sizes and times whose quotients have no exact float: everything ends, close to where it should."""
    flows = [(start + i / 3, "a", "c", 0.1 + i * 1e5 / 7) for i in range(20)]
    network, done = play(net(Link("a", "b", 3e8 / 7, 1e6, 1 / 3), Link("b", "c", 1e9 / 3, 1e6, 1 / 7)), flows, model)
    assert len(done) == 20
    assert network.check() == []
    assert network.carried_bytes["a", "b"] == pytest.approx(sum(f[3] for f in flows))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Topology, list[tuple[float, str, str, float]]]:
    """A random tree with chords, with outages, and flows between any nodes, some at the same instants."""
    n = draw(st.integers(2, 6))
    pairs = {(draw(st.integers(0, i - 1)), i) for i in range(1, n)}
    pairs |= {
        (a, b) for a, b in draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=3)) if a < b
    }
    speed = st.sampled_from([1e6, 2e6, 3e6, 1e7 / 3])
    when = st.sampled_from([0.0, 0.5, 1.0, 1.25, 7 / 3])
    links = []
    for a, b in sorted(pairs):
        times = sorted(draw(st.sets(st.sampled_from([0.4, 0.9, 1.5, 2.2, 3.1]), max_size=2)))
        profile = tuple((t, draw(st.one_of(st.just(0.0), speed))) for t in times)
        if profile:
            profile = (*profile, (4.0, draw(speed)))  # it comes back
        links.append(Link(f"n{a}", f"n{b}", draw(speed), draw(speed), draw(st.sampled_from([0.0, 0.01, 0.25])),
                          draw(st.sampled_from(["full", "full", "half"])), profile))  # fmt: skip
    node = st.integers(0, n - 1).map(lambda i: f"n{i}")
    size = st.one_of(st.sampled_from([0.0, 1.0, 1e5, 2e5]), st.floats(1.0, 5e5))
    return net(*links), draw(st.lists(st.tuples(when, node, node, size), min_size=1, max_size=14))


@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_engine_agrees_with_the_second_opinion(case: tuple[Topology, list[tuple[float, str, str, float]]]) -> None:
    """Every completion of random flows over random networks with outages, within 1e-6; bytes are conserved."""
    topology, flows = case
    network, done = play(topology, flows)
    index = network.channels.index
    capacity = Network(
        simpy.Environment(), topology
    ).channels.capacities  # as stated; the engine's own are those of now
    changes = [
        (t, index[pair][0], b) for k in topology.links for t, b in k.profile for pair in ((k.u, k.v), (k.v, k.u))
    ]
    messages, empty = [], {}
    for i, (start, src, dst, nbytes) in enumerate(flows):
        route = topology.route(src, dst)
        channels = tuple(index[pair][0] for pair in itertools.pairwise(route))
        begin = start + (topology.latency(src, dst) if channels else 0.0)
        messages.append(Message(channels, begin, nbytes * 8.0))
        if not channels or nbytes == 0:
            empty[i] = begin
    ends = simulate([m for i, m in enumerate(messages) if i not in empty], list(capacity), changes)
    rest = iter(ends)
    expected = [empty[i] if i in empty else next(rest) for i in range(len(flows))]
    assert len(done) == len(flows)
    for delivery, (start, *_), end in zip(done, flows, expected, strict=True):
        assert abs(delivery.t_end_s - end) <= 1e-6 * max(end - start, 1e-3)
    assert network.check() == []
    carried = dict.fromkeys(network.carried_bytes, 0.0)
    for delivery in done:
        for pair in itertools.pairwise(delivery.route):
            carried[pair] += delivery.nbytes
    assert network.carried_bytes == pytest.approx(carried)


POLICIES = st.fixed_dictionaries(
    {"stall_timeout": st.sampled_from([None, 0.3]), "attempt_timeout": st.sampled_from([None, 0.8]), "retries": st.integers(0, 2),
     "outages": st.sampled_from([(), ({"node": "n0", "start": 0.7, "duration": 1.0},)])})  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    case=cases(),
    model=st.sampled_from([*((m, "fluid") for m in MODELS), *((m, "tcp") for m in MODELS if m != "fifo")]),
    policy=POLICIES,
    aborted=st.lists(st.tuples(st.integers(0, 13), st.floats(0.1, 5.0)), max_size=5),
)
def test_every_transfer_ends_once_under_every_model(
    case: Any, model: tuple[str, str], policy: Any, aborted: list[tuple[int, float]]
) -> None:
    """With outages and aborts: each run ends, each transfer ends once, carried bytes are those of the deliveries."""
    topology, flows = case
    env = simpy.Environment()
    network = Network(
        env, topology, NetworkOptions.model_validate({"model": model[0], "transport": model[1], **policy})
    )
    messages = {}

    def send(i: int, start: float, src: str, dst: str, nbytes: float) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(start)
        messages[i] = network.transfer(src, dst, nbytes)
        yield messages[i]

    def give_up(i: int, time: float) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(time)
        if i in messages:
            network.abort(messages[i], "test")

    for i, flow in enumerate(flows):
        env.process(send(i, *flow))
    for i, time in aborted:
        env.process(give_up(i, time))
    env.run()
    assert len(messages) == len(flows)
    assert network.in_flight == ()
    assert network.check() == []
    done = [m.value for m in messages.values()]
    assert all(d.status == "aborted" or d.sent_bytes - d.wasted_bytes == pytest.approx(d.nbytes) for d in done)
    assert all(d.status == "ok" or d.sent_bytes == d.wasted_bytes for d in done)
    assert all(0.0 <= d.wasted_bytes <= (d.nbytes + 1e-3) * d.attempts for d in done)
    assert all(d.attempts <= policy["retries"] + 1 for d in done)
    first = [d.sent_bytes for d in done if len(d.route) > 1]
    leaving = sum(network.carried_bytes.values())
    assert leaving >= sum(first) * (1 - 1e-9)


def test_check_sees_lost_bytes_and_overload() -> None:
    """Break the accounts and the allocation on purpose: both invariants name what is wrong."""
    network, _ = play(net(Link("a", "b", 8e6, 8e6)), [(0, "a", "b", 1e6)])
    network._drain.fluid.drained *= 1.01
    assert network.check() == ["bytes are not conserved: links drained 1.01e+06 B, transfers account for 1e+06 B"]
    network._drain.fluid.drained /= 1.01
    network.tally.delivered += 1
    assert network.check() == ["of 1 transfers, 2 were delivered, 0 aborted, and 0 are under way"]

    class Greedy(Ideal):
        """Claims to share and does not."""

        kind: Literal["greedy"] = "greedy"  # type: ignore[assignment]
        shares = True

    del LinkModel.members["greedy"]  # the law suite would catch it
    env = simpy.Environment()
    network = Network(env, net(Link("a", "b", 8e6, 8e6)), NetworkOptions(model=Greedy(), transport="fluid"))
    network.transfer("a", "b", 1e6)
    network.transfer("a", "b", 1e6)
    env.run()
    assert "carries" in network.check()[0]


@pytest.mark.parametrize("model", ["max-min", "ideal"])
@pytest.mark.parametrize("start", [0.0, 0.3, 12345.678])
def test_done_at_the_instant_of_an_outage_is_done(model: str, start: float) -> None:
    """The last bit drains at the very moment at which the link goes down."""
    link = Link("a", "b", 2e6, 2e6, 0.25, profile=((start + 0.25 + 0.4, 0.0), (start + 4.0, 2e6)))
    _, (delivery,) = play(net(link), [(start, "a", "b", 1e5)], model)
    assert delivery.t_end_s == pytest.approx(start + 0.65)
