"""Messages on connections: order, broken connections, and what a stalled message is accounted for."""

from __future__ import annotations

from typing import Any

import pytest
import simpy
from small_networks import net, send

from elsa_sim.base.streams import Streams
from elsa_sim.network import Delivery, Network, NetworkOptions
from elsa_sim.topology import Link

FAR = net(Link("a", "b", 1e9, 1e9, 0.05))
PACKET = 1514


def started(options: dict[str, Any], *sizes: int) -> tuple[simpy.Environment, Network, list[Any]]:
    env = simpy.Environment()
    network = Network(env, FAR, NetworkOptions.model_validate(options))
    return env, network, [network.transfer("a", "b", size) for size in sizes]


def test_messages_of_one_connection_arrive_in_order() -> None:
    """The small one waits for the large one before it; on a connection of its own, or the other way, it does not."""
    flows = [(0.0, "a", "b", 100 * PACKET), (0.001, "a", "b", PACKET), (0.001, "b", "a", PACKET)]
    _, (back, large, small) = send(FAR, flows, transport="tcp")
    assert back.src == "b"
    assert (large.nbytes, small.nbytes) == (100 * PACKET, PACKET)
    assert large.t_end_s == pytest.approx(0.05 + 3 * 0.1, rel=1e-2)
    assert small.t_end_s == pytest.approx(large.t_end_s, rel=1e-3)
    _, done = send(FAR, flows, transport={"kind": "tcp", "connections": "per_message"})
    assert [d.nbytes for d in done] == [PACKET, PACKET, 100 * PACKET]


def test_a_stalled_message_is_accounted_for() -> None:
    """Between two flights ten packets have arrived, nothing flows, and nobody's radio is on."""
    env, network, (message,) = started({"transport": "tcp"}, 30 * PACKET)
    env.run(until=0.1)
    assert network.sent_bytes(message) == pytest.approx(10 * PACKET)
    assert network.carried_bytes["a", "b"] == pytest.approx(10 * PACKET)
    assert network.check() == []
    env.run()
    assert network.check() == []
    assert message.value.sending_s == pytest.approx(30 * PACKET * 8e-9)
    assert message.value.t_end_s > 0.15


@pytest.mark.parametrize("when", [0.02, 0.1, 0.1501])
def test_who_is_given_up_breaks_the_connection(when: float) -> None:
    """Before its first byte, between two flights and in the second: what follows needs a new connection if any had gone."""
    env, network, (first, second) = started({"transport": "tcp"}, 30 * PACKET, PACKET)
    env.run(until=when)
    network.abort(first, "test")
    env.run()
    got: Delivery = second.value
    assert first.value.status == "aborted"
    assert first.value.wasted_bytes == pytest.approx({0.02: 0, 0.1: 10, 0.1501: 10 + 8.25}[when] * PACKET, abs=PACKET)
    begun = when > 0.05
    assert got.t_end_s == pytest.approx(when + 0.1 + 0.05 if begun else 0.05, rel=1e-3)
    assert network.check() == []


def test_a_message_that_waits_for_its_turn_can_be_given_up() -> None:
    env, network, (first, second, third) = started({"transport": "tcp"}, 25 * PACKET, PACKET, PACKET)
    env.run(until=0.1)
    network.abort(second, "test")
    env.run()
    assert second.value.wasted_bytes == 0.0
    assert first.value.t_end_s == pytest.approx(0.15, rel=1e-2)
    assert third.value.t_end_s == pytest.approx(first.value.t_end_s, rel=1e-3)


def test_a_retry_takes_a_handshake() -> None:
    """Given up after 0.2 s in the third flight; again after a backoff of 1 s and a round trip, with an initial window."""
    _, (delivery,) = send(
        FAR, [(0.0, "a", "b", 70 * PACKET)], transport="tcp", attempt_timeout=0.2, retries=1, backoff=1.0
    )
    assert delivery.status == "aborted"
    assert delivery.attempts == 2
    _, (delivery,) = send(FAR, [(0.0, "a", "b", 70 * PACKET)], transport="tcp", attempt_timeout=0.5, retries=1,
                          backoff=1.0, outages=[{"node": "b", "start": 0.1, "duration": 0.6}])  # fmt: skip
    assert delivery.attempts == 2
    assert delivery.t_end_s == pytest.approx(0.5 + 1.0 + 0.1 + 0.05 + 2 * 0.1, rel=1e-2)
    assert delivery.latency_s == pytest.approx(0.15)


def test_nobody_sends_on_a_connection_that_is_being_made() -> None:
    """A message on its way when the connection breaks, and those that join meanwhile, wait for one set-up each at most."""
    narrow = net(Link("a", "b", 1e6, 1e6, 0.05))
    env = simpy.Environment()
    network = Network(env, narrow, NetworkOptions.model_validate({"transport": "tcp"}))
    first = network.transfer("a", "b", 1_000_000)
    env.run(until=0.98)
    second = network.transfer("a", "b", 1000)
    env.run(until=1.0)
    network.abort(first, "test")
    env.run(until=1.02)
    third, fourth = network.transfer("a", "b", 100_000), network.transfer("a", "b", 100_000)
    env.run(until=1.5)
    assert second.value.t_end_s == pytest.approx(1.0 + 0.1 + 0.05 + 0.008)
    assert second.value.latency_s == pytest.approx(0.05 + 0.1)
    network.abort(third, "test")
    env.run()
    assert fourth.value.t_end_s == pytest.approx(1.5 + 0.1 + 0.05 + 0.8)
    assert fourth.value.latency_s == pytest.approx(0.05 + 0.1)
    assert network.check() == []


@pytest.mark.parametrize("seed", range(8))
def test_who_overtook_a_message_that_is_given_up_is_next(seed: int) -> None:
    """By jitter the second would arrive before the first, which is given up before its first byte: its turn has come."""
    shaky = net(Link("a", "b", 1e9, 1e9, 0.05, jitter=0.04))
    env = simpy.Environment()
    network = Network(env, shaky, NetworkOptions.model_validate({"transport": "tcp"}), Streams(seed))
    first, second, third = (network.transfer("a", "b", PACKET) for _ in range(3))
    env.run(until=first.latency_s * 0.999)
    network.abort(first, "test")
    env.run()
    now = first.value.t_end_s
    assert second.value.t_end_s == pytest.approx(max(now, second.latency_s), rel=1e-3)
    assert third.value.t_end_s == pytest.approx(max(now, second.latency_s, third.latency_s), rel=1e-3)


def test_an_outage_while_a_message_stalls() -> None:
    """The next flight enters a link that is down, and drains when it is back."""
    _, (delivery,) = send(FAR, [(0.0, "a", "b", 30 * PACKET)], transport="tcp",
                          outages=[{"node": "b", "start": 0.1, "duration": 2.0}])  # fmt: skip
    assert delivery.t_end_s == pytest.approx(2.1, rel=1e-3)


def test_lossy_links_send_more_in_the_same_flights() -> None:
    """Half of all packets are lost: everything is sent twice, windows count what arrives."""
    lossy = net(Link("a", "b", 1e9, 1e9, 0.05, loss=0.5))
    _, (delivery,) = send(lossy, [(0.0, "a", "b", 10 * PACKET)], transport="tcp")
    assert delivery.sent_bytes == pytest.approx(20 * PACKET)
    assert delivery.t_end_s == pytest.approx(0.05, rel=1e-2)
