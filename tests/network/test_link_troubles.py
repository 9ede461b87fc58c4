"""What an edge network does to messages: outages, retries, loss, jitter, cells; closed forms, and laws for every model."""

from __future__ import annotations

from typing import Any

import pytest
import simpy
from small_networks import MODELS, ONE, TWO, net, play, send

from elsa_sim.network import Network, NetworkOptions
from elsa_sim.topology import Link


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("where", [{"link": ["b", "a"]}, {"node": "b"}])
def test_an_outage_stalls_and_ends(model: str, where: dict[str, Any]) -> None:
    """1 s of sending at time 0, with the link down from 0.5 to 2.5: 3 s. Nothing is sent twice."""
    outage = {**where, "start": 0.5, "duration": 2.0}
    network, (delivery,) = send(ONE, [(0, "a", "b", 1e6)], model=model, outages=[outage])
    assert delivery.t_end_s == pytest.approx(3.0)
    assert (delivery.sent_bytes, delivery.wasted_bytes, delivery.attempts) == (1e6, 0.0, 1)
    assert network.carried_bytes["a", "b"] == pytest.approx(1e6)


@pytest.mark.parametrize("model", MODELS)
def test_a_stalled_message_is_aborted_and_sent_again(model: str) -> None:
    """Half sent at 0.5, down until 2.5, given up at 1.5, retried at 1.75 (still down) and given up, again at 3.25."""
    options = {"stall_timeout": 1.0, "backoff": 0.25, "backoff_factor": 2.0, "retries": 2}
    outage = {"link": ["a", "b"], "start": 0.5, "duration": 2.5}
    network, (delivery,) = send(ONE, [(0, "a", "b", 1e6)], model=model, outages=[outage], **options)
    assert delivery.status == "ok"
    assert delivery.t_end_s == pytest.approx(0.5 + 1.0 + 0.25 + 1.0 + 0.5 + 1.0)
    assert delivery.attempts == 3
    assert delivery.wasted_bytes == pytest.approx(5e5)
    assert delivery.sent_bytes == pytest.approx(1.5e6)
    assert network.carried_bytes["a", "b"] == pytest.approx(1.5e6)
    assert network.tally.retries == 2


@pytest.mark.parametrize("model", MODELS)
def test_retries_come_to_an_end(model: str) -> None:
    link = Link("a", "b", 8e6, 8e6, profile=((0.5, 0.0),))
    options = {"stall_timeout": 1.0, "backoff": 1.0, "backoff_factor": 3.0, "backoff_limit": 2.0, "retries": 2}
    network, (delivery,) = send(net(link), [(0, "a", "b", 1e6)], model=model, **options)
    assert delivery.status == "aborted"
    assert "stalled for 1 s" in delivery.reason
    assert delivery.t_end_s == pytest.approx(0.5 + 1 + 1 + 1 + 2 + 1)
    assert delivery.wasted_bytes == delivery.sent_bytes == pytest.approx(5e5)
    assert network.tally.aborted == 1


def test_waiting_behind_others_is_no_stall() -> None:
    """A message that queues for 10 s behind another one crosses no link that is down."""
    _, done = send(ONE, [(0, "a", "b", 1e7), (0, "a", "b", 1e6)], model="fifo", stall_timeout=1.0)
    assert [d.status for d in done] == ["ok", "ok"]
    assert done[1].t_end_s == pytest.approx(11.0)


@pytest.mark.parametrize("model", MODELS)
def test_an_attempt_takes_too_long(model: str) -> None:
    """2 s of sending with 1.5 s to do it in never arrive; what was sent is wasted each time."""
    network, (delivery,) = send(ONE, [(0, "a", "b", 2e6)], model=model, attempt_timeout=1.5, retries=1, backoff=1.0)
    assert delivery.status == "aborted"
    assert delivery.t_end_s == pytest.approx(4.0)
    assert delivery.wasted_bytes == pytest.approx(3e6)
    assert network.carried_bytes["a", "b"] == pytest.approx(3e6)


@pytest.mark.parametrize("model", MODELS)
def test_more_bandwidth_never_hurts_one_flow_and_messages_never_beat_the_bound(model: str) -> None:
    """No model delivers earlier than latency plus size over the narrowest link, and none after its sum over hops."""
    slow, fast = net(Link("a", "b", 4e6, 4e6, 0.1), Link("b", "c", 8e6, 8e6, 0.2)), TWO
    (late,), (early,) = play(slow, [(0, "a", "c", 1e6)], model)[1], play(fast, [(0, "a", "c", 1e6)], model)[1]
    assert early.t_end_s < late.t_end_s
    assert 0.3 + 2.0 - 1e-9 <= late.t_end_s <= 0.3 + 3.0 + 1e-9


@pytest.mark.parametrize("model", MODELS)
def test_first_come_first_ends(model: str) -> None:
    """Equal messages over one route end in the order in which they were sent."""
    _, done = play(TWO, [(0.01 * i, "a", "c", 1e5) for i in range(10)], model)
    ends = [d.t_end_s for d in done]
    assert ends == sorted(ends)
    assert ideal_at_most(ends)


def ideal_at_most(ends: list[float]) -> bool:
    """No model is quicker than the one without contention."""
    alone = [d.t_end_s for d in play(TWO, [(0.01 * i, "a", "c", 1e5) for i in range(10)], "ideal")[1]]
    return all(end >= bound - 1e-9 for end, bound in zip(ends, alone, strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_a_node_that_is_disconnected_and_reconnected(model: str) -> None:
    """Half of 1 s sent, away from 0.5 to 2 (disconnected twice, reconnected twice), a profile beneath that goes on meanwhile."""
    env = simpy.Environment()
    network = Network(
        env, net(Link("a", "b", 8e6, 8e6, profile=((1.0, 4e6),))), NetworkOptions(model=model, transport="fluid")
    )
    message = network.transfer("a", "b", 1e6)
    off, on = network.disconnect, network.reconnect
    for time, do in ((0.5, off), (0.7, off), (1.5, on), (2.0, on)):
        env.run(until=time)
        do("b")
    env.run()
    assert message.value.t_end_s == pytest.approx(3.0)
    assert network.check() == []


def test_a_retried_message_among_others() -> None:
    """Two links of their own, one of them down for a while: the message sent again does not disturb the other."""
    apart = net(Link("a", "b", 8e6, 8e6), Link("c", "d", 8e6, 8e6))
    outage = {"link": ["a", "b"], "start": 0.5, "duration": 1.0}
    _, done = send(apart, [(0, "a", "b", 1e6), (0, "c", "d", 1e7)], outages=[outage], stall_timeout=0.5, backoff=0.75)
    assert [d.t_end_s for d in done] == pytest.approx([0.5 + 0.5 + 0.75 + 1.0, 10.0])
    assert [d.attempts for d in done] == [2, 1]


@pytest.mark.parametrize("model", ["max-min", "equal-share"])
def test_a_stall_counts_from_the_first_link_that_is_down(model: str) -> None:
    """a - b is down from 0.5 s, b - c from 1 s as well: a stall of 1 s ends at 1.5 s."""
    outages = [{"link": ["a", "b"], "start": 0.5, "duration": 9.0}, {"link": ["b", "c"], "start": 1.0, "duration": 9.0}]
    _, (delivery,) = send(TWO, [(0, "a", "c", 1e6)], model=model, outages=outages, stall_timeout=1.0, retries=0)
    assert (delivery.status, delivery.t_end_s) == ("aborted", pytest.approx(1.5))
    assert delivery.sending_s == pytest.approx(0.5 - 0.2)


def test_latency_adds_up_over_hops() -> None:
    """Stored and forwarded: 0.1 s after each hop; an attempt that begins anew begins with none."""
    _, (delivery,) = send(TWO, [(0, "a", "c", 1e6)], model="fifo")
    assert delivery.latency_s == pytest.approx(0.2)
    outage = {"link": ["b", "c"], "start": 1.5, "duration": 1.0}
    _, (delivery,) = send(TWO, [(0, "a", "c", 1e6)], model="fifo", outages=[outage], stall_timeout=0.5, backoff=1.0)
    assert delivery.attempts == 2
    assert delivery.latency_s == pytest.approx(0.2)


@pytest.mark.parametrize("model", MODELS)
def test_done_at_the_instant_of_a_disconnection_is_done(model: str) -> None:
    """Whatever rounding leaves of the last bit at 12,345.67 s and 1 Gbit/s."""
    for nbytes in (1e6 / 3, 1e7 / 7, 12345.0, 77777.7):
        flows = [(12345.67, "a", "b", nbytes)]
        fast = net(Link("a", "b", 1e9 / 7, 1e9 / 7, 0.1))
        end = send(fast, flows, model=model)[1][0].t_end_s
        env = simpy.Environment(12345.67)
        network = Network(env, fast, NetworkOptions(model=model, transport="fluid"))
        message = network.transfer("a", "b", nbytes)
        env.run(until=end)
        network.disconnect("b")
        env.run()
        assert message.triggered
        assert message.value.t_end_s == end


def test_what_is_under_way_counts() -> None:
    """Half of two messages and all of a third, over a lossy second hop as well; the invariants hold in between."""
    lossy = net(Link("a", "b", 8e6, 8e6, loss=0.5), Link("b", "c", 8e6, 8e6))
    env = simpy.Environment()
    network = Network(env, lossy, NetworkOptions(transport="fluid"))
    network.transfer("a", "b", 1e6)
    env.run(until=2.5)
    network.transfer("a", "c", 1e6)
    network.transfer("a", "b", 1e6)
    env.run(until=4.5)
    assert network.carried_bytes == {
        ("a", "b"): pytest.approx(4e6), ("b", "a"): 0.0, ("b", "c"): pytest.approx(1e6), ("c", "b"): 0.0
    }  # fmt: skip
    assert [network.sent_bytes(message) for message in network.in_flight] == pytest.approx([1e6, 1e6])
    assert network.check() == []


def test_who_has_sent_a_first_hop_has_sent_everything() -> None:
    """Stored and forwarded over two lossy links: 4 s for the first hop, half of 4 s for the second."""
    lossy = net(Link("a", "b", 8e6, 8e6, loss=0.5), Link("b", "c", 8e6, 8e6, loss=0.5))
    env = simpy.Environment()
    network = Network(env, lossy, NetworkOptions(model="fifo", transport="fluid"))
    message = network.transfer("a", "c", 1e6)
    env.run(until=6.0)
    assert network.sent_bytes(message) == pytest.approx(4e6)
    assert network.carried_bytes == {
        ("a", "b"): pytest.approx(4e6), ("b", "a"): 0.0, ("b", "c"): pytest.approx(2e6), ("c", "b"): 0.0
    }  # fmt: skip
    network.abort(message, "enough")
    assert message.value.sent_bytes == message.value.wasted_bytes == pytest.approx(4e6)
    assert network.carried_bytes["b", "c"] == pytest.approx(2e6)
    assert network.check() == []
