"""What links do to messages: loss, jitter, cells, profiles, directions."""

from __future__ import annotations

import math

import pytest
import simpy
from small_networks import MODELS, net, play, send

from elsa_sim.base.errors import InputError
from elsa_sim.links import LinkModel
from elsa_sim.network import Network
from elsa_sim.topology import Link


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
    """MSS / RTT * sqrt(3 / (2 p)) with 1448 B, 0.1 s and 1 %: 1.43 Mbit/s of a link of 100."""
    lossy = net(Link("a", "b", 1e8, 1e8, 0.05, loss=0.01))
    rate = 8 * 1448 / 0.1 * math.sqrt(1.5 / 0.01)
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


def test_jitter_without_streams_is_that_of_seed_0() -> None:
    shaky = net(Link("a", "b", 1e9, 1e9, 1.0, jitter=0.03))
    message = Network(env := simpy.Environment(), shaky).transfer("a", "b", 1)
    env.run()
    assert message.value.latency_s == send(shaky, [(0, "a", "b", 1)], seed=0)[1][0].latency_s


def test_up_and_down_differ() -> None:
    _, done = play(net(Link("a", "b", 8e6, 16e6)), [(0, "a", "b", 1e6), (0, "b", "a", 1e6)])
    assert [d.t_end_s for d in done] == pytest.approx([1.0, 0.5])


def test_a_cell_is_shared_by_all_its_links_in_both_directions() -> None:
    air = net(Link("a", "ap", 8e6, 8e6, cell="air"), Link("b", "ap", 8e6, 8e6, cell="air"), Link("c", "ap", 8e6, 8e6))
    _, done = play(air, [(0, "a", "ap", 1e6), (0, "ap", "b", 1e6), (0, "c", "ap", 1e6)])
    assert [d.t_end_s for d in done] == pytest.approx([2.0, 2.0, 1.0])


def test_through_a_cell_counts_twice() -> None:
    _, done = play(
        net(Link("a", "ap", 8e6, 8e6, cell="air"), Link("b", "ap", 8e6, 8e6, cell="air")), [(0, "a", "b", 1e6)]
    )
    assert done[0].t_end_s == pytest.approx(2.0)


def test_a_profile_begins_again() -> None:
    """On for 1 s, off for 1 s: 4 s of sending at 8 Mbit/s that start in the middle of an on-phase."""
    link = Link("a", "b", 8e6, 8e6, profile=((1.0, 0.0),), period=2.0)
    network, done = play(net(link), [(0.5, "a", "b", 4e6), (100.25, "b", "a", 1e6)])
    assert [d.t_end_s for d in done] == pytest.approx([8.5, 102.25])
    assert network.env.now < 104, "an idle network lets the clock stop"


def test_a_profile_of_each_direction() -> None:
    """From a: 8 Mbit/s until 1 s, then 2, all over again every 2 s; from b: nothing until 3 s, then 4 Mbit/s."""
    link = Link("a", "b", 1e6, 1e6, profile=((0.0, 8e6), (1.0, 2e6)), period=2.0, profile_down=((0.0, 0.0), (3.0, 4e6)))
    _, (up, down, last) = send(net(link), [(0, "a", "b", 1.5e6), (0, "b", "a", 1e6), (5.0, "b", "a", 1e6)])
    assert (up.src, down.src) == ("a", "b")
    assert up.t_end_s == pytest.approx(2.0 + 2e6 / 8e6), (
        "12 Mbit: 8 in the first second, 2 in the next, 2 more at 8 Mbit/s"
    )
    assert down.t_end_s == pytest.approx(3.0 + 8e6 / 4e6)
    assert last.t_end_s == pytest.approx(5.0 + 8e6 / 4e6)


def test_a_profile_of_one_direction_leaves_the_other_as_it_is() -> None:
    up = Link("a", "b", 1e6, 4e6, profile=((0.5, 8e6),), profile_down=())
    _, done = send(net(up), [(0, "a", "b", 1e6), (0, "b", "a", 1e6)])
    assert {d.src: d.t_end_s for d in done} == pytest.approx({"a": 0.5 + (8e6 - 0.5e6) / 8e6, "b": 2.0})


def test_both_directions_of_a_half_duplex_link_follow_its_profile() -> None:
    half = Link("a", "b", 1e6, 1e6, duplex="half", profile=((0.0, 8e6),))
    _, done = send(net(half), [(0, "a", "b", 1e6), (0, "b", "a", 1e6)])
    assert [d.t_end_s for d in done] == [pytest.approx(2.0)] * 2


def test_bad_routes() -> None:
    network = Network(simpy.Environment(), net(Link("a", "b", 1.0, 1.0), Link("b", "c", 1.0, 1.0)))
    with pytest.raises(InputError, match="begins and ends"):
        network.transfer("a", "c", 1, ["a", "b"])
    with pytest.raises(InputError, match="no link between 'a' and 'c'"):
        network.transfer("a", "c", 1, ["a", "c"])
    with pytest.raises(InputError, match="no node"):
        network.transfer("a", "x", 1)


@pytest.mark.parametrize(("latency", "loss"), [(0.05, 0.0), (0.0, 0.01)])
def test_no_ceiling_without_loss_or_without_latency(latency: float, loss: float) -> None:
    """MSS / RTT * sqrt(3 / (2 p)) has no end there."""
    _, (one,) = send(net(Link("a", "b", 1e8, 1e8, latency, loss=loss)), [(0, "a", "b", 1e6)], loss="mathis")
    assert one.t_end_s == pytest.approx(latency + 8e6 / (1.0 - loss) / 1e8)
