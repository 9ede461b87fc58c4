"""What an edge network does to messages: outages, retries, loss, jitter, cells; closed forms, and laws for every model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import simpy
from test_engine import net, play

from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.links import LinkModel
from elsa_sim.network import Delivery, Network, NetworkOptions
from elsa_sim.topology import Link, Topology

MODELS = sorted(LinkModel.members)
ONE = net(Link("a", "b", 8e6, 8e6))
TWO = net(Link("a", "b", 8e6, 8e6, 0.1), Link("b", "c", 8e6, 8e6, 0.1))


def send(
    topology: Topology, flows: list[tuple[float, str, str, float]], seed: int = 0, **options: Any
) -> tuple[Network, list[Delivery]]:
    """Send (start, src, dst, bytes) under these options, and run to the end."""
    env = simpy.Environment()
    network = Network(env, topology, NetworkOptions.model_validate(options), Streams(seed))
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
def test_loss_inflates_what_is_sent(model: str) -> None:
    """20 % and 50 % loss: 0.8 * 0.5 of the packets arrive, so each byte is sent 2.5 times."""
    links = net(Link("a", "b", 8e6, 8e6, loss=0.2), Link("b", "c", 8e6, 8e6, loss=0.5))
    network, (delivery,) = send(links, [(0, "a", "c", 1e6)], model=model)
    assert delivery.t_end_s == pytest.approx(2.5 * (2 if LinkModel.members[model].store_and_forward else 1))  # type: ignore[attr-defined]
    assert delivery.sent_bytes == pytest.approx(2.5e6)
    assert delivery.wasted_bytes == pytest.approx(1.5e6)
    assert network.carried_bytes["a", "b"] == pytest.approx(2.5e6)


def test_mathis_ceiling() -> None:
    """MSS / RTT * sqrt(3 / (2 p)) with 1460 B, 0.1 s and 1 %: 1.43 Mbit/s of a link of 100."""
    lossy = net(Link("a", "b", 1e8, 1e8, 0.05, loss=0.01))
    rate = 8 * 1460 / 0.1 * math.sqrt(1.5 / 0.01)
    _, (one,) = send(lossy, [(0, "a", "b", 1e6)], loss="mathis")
    assert one.t_end_s == pytest.approx(0.05 + 8e6 / 0.99 / rate)
    _, both = send(lossy, [(0, "a", "b", 1e6)] * 2, loss="mathis")
    assert [d.t_end_s for d in both] == [one.t_end_s] * 2, "the ceiling is each connection's own"
    _, (free,) = send(lossy, [(0, "a", "b", 1e6)])
    assert free.t_end_s == pytest.approx(0.05 + 8e6 / 0.99 / 1e8)


def test_jitter_is_seeded_and_belongs_to_the_pair() -> None:
    """Same seed, same latencies, whatever else is sent; the standard deviations of a route add up in squares."""
    shaky = net(Link("a", "b", 1e9, 1e9, 1.0, jitter=0.03), Link("b", "c", 1e9, 1e9, 1.0, jitter=0.04))
    alone = [d.latency_s for d in send(shaky, [(10.0 * i, "a", "c", 1) for i in range(400)])[1]]
    crowd = [(10.0 * i, "a", "c", 1) for i in range(400)] + [(10.0 * i, "b", "c", 1) for i in range(400)]
    assert [d.latency_s for d in send(shaky, crowd)[1] if d.src == "a"] == alone
    assert [d.latency_s for d in send(shaky, [(10.0 * i, "a", "c", 1) for i in range(400)], seed=1)[1]] != alone
    mean = sum(alone) / 400
    assert mean == pytest.approx(2.0, abs=0.01)
    assert math.sqrt(sum((x - mean) ** 2 for x in alone) / 400) == pytest.approx(0.05, rel=0.15)


def test_latency_is_never_negative() -> None:
    wild = net(Link("a", "b", 1e9, 1e9, 0.001, jitter=1.0))
    latencies = [d.latency_s for d in send(wild, [(i, "a", "b", 1) for i in range(100)])[1]]
    assert min(latencies) == 0.0
    assert max(latencies) > 0.5


def test_a_cell_of_its_own_bandwidth() -> None:
    """Each client at most 8 Mbit/s, the air 12 Mbit/s for all: alone 1 s, two at once 4/3 s; one client down hurts no other."""
    air = {"cell": "air", "cell_bandwidth": 12e6}
    topology = net(Link("a", "ap", 8e6, 8e6, **air), Link("b", "ap", 8e6, 8e6, **air))
    assert [d.t_end_s for d in send(topology, [(0, "a", "ap", 1e6)])[1]] == pytest.approx([1.0])
    assert [d.t_end_s for d in send(topology, [(0, "a", "ap", 1e6), (0, "ap", "b", 1e6)])[1]] == pytest.approx(
        [4 / 3] * 2
    )
    outage = {"link": ["a", "ap"], "start": 0.0, "duration": 9.0}
    done = send(topology, [(0, "a", "ap", 1e6), (0, "b", "ap", 1e6)], outages=[outage])[1]
    assert [d.t_end_s for d in done] == pytest.approx([1.0, 10.0])


def test_outages_of_unknown_places_are_faults() -> None:
    outages = [{"node": "bb", "start": 0, "duration": 1}, {"link": ["a", "c"], "start": 0, "duration": 1}]
    with pytest.raises(InputFaults) as caught:
        Network(simpy.Environment(), TWO, NetworkOptions.model_validate({"outages": outages}))
    assert [f.path for f in caught.value.faults] == ["outages.0", "outages.1.link"]
    assert "did you mean 'b'?" in str(caught.value)


def test_an_outage_names_a_node_or_a_link() -> None:
    for outage in ({"start": 0, "duration": 1}, {"node": "a", "link": ["a", "b"], "start": 0, "duration": 1}):
        with pytest.raises(ValueError, match="either a node or a link"):
            NetworkOptions.model_validate({"outages": [outage]})


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
    network = Network(env, net(Link("a", "b", 8e6, 8e6, profile=((1.0, 4e6),))), NetworkOptions(model=model))
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
        network = Network(env, fast, NetworkOptions(model=model))
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
    network = Network(env, lossy)
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
    network = Network(env, lossy, NetworkOptions(model="fifo"))
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


def test_jitter_without_streams_is_that_of_seed_0() -> None:
    shaky = net(Link("a", "b", 1e9, 1e9, 1.0, jitter=0.03))
    message = Network(env := simpy.Environment(), shaky).transfer("a", "b", 1)
    env.run()
    assert message.value.latency_s == send(shaky, [(0, "a", "b", 1)], seed=0)[1][0].latency_s
