"""For how long sender and receiver spend energy on a message: while its bits flow, and once for messages at once."""

from __future__ import annotations

import pytest
from small_networks import MODELS, TWO, net, send

from elsa_sim.topology import Link

ONE = net(Link("a", "b", 8e6, 8e6, 0.5))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("resolve", ["touched", "all"])
def test_latency_and_stalls_cost_nothing(model: str, resolve: str) -> None:
    """Half a second of latency, 1 s of sending, 3 s of outage in its middle."""
    outage = {"node": "a", "start": 0.75, "duration": 3.0}
    _, (delivery,) = send(ONE, [(0, "a", "b", 1e6)], model=model, resolve=resolve, outages=[outage])
    assert delivery.t_end_s == pytest.approx(4.5)
    assert delivery.sending_s == pytest.approx(1.0)
    assert delivery.receiving_s == pytest.approx(1.0)


@pytest.mark.parametrize("resolve", ["touched", "all"])
def test_a_message_that_begins_in_an_outage(resolve: str) -> None:
    outage = {"link": ["a", "b"], "start": 0.0, "duration": 3.0}
    _, done = send(ONE, [(0, "a", "b", 1e6)] * 2, resolve=resolve, outages=[outage])
    assert [d.sending_s for d in done] == pytest.approx([1.0, 1.0])  # 2 s together


def test_attempts_that_fail_cost_what_was_sent() -> None:
    outage = {"link": ["a", "b"], "start": 1.25, "duration": 2.0}
    _, (delivery,) = send(ONE, [(0, "a", "b", 1e6)], outages=[outage], stall_timeout=1.0, backoff=5.0)
    assert delivery.attempts == 2
    assert delivery.sending_s == delivery.receiving_s == pytest.approx(0.75 + 1.0)


@pytest.mark.parametrize("resolve", ["touched", "all"])
def test_messages_at_once_share_the_time_of_their_sender(resolve: str) -> None:
    """1 MB and 3 MB from a: 2 s at half rate each, then 2 s for the rest; b and c receive their own all the time."""
    star = net(Link("a", "x", 8e6, 8e6), Link("x", "b", 1e9, 1e9), Link("x", "c", 1e9, 1e9))
    _, done = send(star, [(0, "a", "b", 1e6), (0, "a", "c", 3e6)], resolve=resolve)
    assert [d.t_end_s for d in done] == pytest.approx([2.0, 4.0])
    assert [d.sending_s for d in done] == pytest.approx([1.0, 3.0])
    assert [d.receiving_s for d in done] == pytest.approx([2.0, 4.0])


def test_store_and_forward() -> None:
    """The sender sends over the first hop, the receiver receives over the last; who waits in a queue does neither."""
    _, done = send(TWO, [(0, "a", "c", 1e6)] * 2, model="fifo")
    assert [d.t_end_s for d in done] == pytest.approx([2.2, 3.2])
    assert [d.sending_s for d in done] == [d.receiving_s for d in done] == pytest.approx([1.0, 1.0])
