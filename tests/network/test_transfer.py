"""How a message ended, and the tally of all."""

from __future__ import annotations

import simpy
from small_networks import net

from elsa_sim.base.streams import Streams
from elsa_sim.network import Delivery, NetworkOptions, Tally, Transfer
from elsa_sim.network.channels import Channels
from elsa_sim.topology import Link


def transfer(env: simpy.Environment) -> Transfer:
    """100 bytes of which each is sent twice."""
    channels = Channels(net(Link("a", "b", 8.0, 8.0, loss=0.5)), NetworkOptions(), Streams(0))
    message = Transfer(env, channels.path("a", "b"), 100.0)
    message.attempt, message.latency_s, message.sending_s, message.receiving_s = 2, 0.5, 3.0, 4.0
    message.failed_bytes = 30.0
    return message


def test_what_a_message_cost() -> None:
    """Delivered: what failed before, twice the message now, all but the message wasted. Aborted: what failed, all wasted."""
    env = simpy.Environment(7.0)
    message = transfer(env)
    env.run(until=9.0)
    ok = message.end("ok", "")
    assert ok == Delivery("a", "b", 100.0, ("a", "b"), 7.0, 9.0, "ok", "", 230.0, 130.0, 2, 0.5, 3.0, 4.0)
    assert message.value is ok
    lost = transfer(env).end("aborted", "gone")
    assert (lost.status, lost.reason, lost.sent_bytes, lost.wasted_bytes) == ("aborted", "gone", 30.0, 30.0)
    tally = Tally()
    for delivery in (ok, lost, ok):
        tally.count(delivery)
    assert tally == Tally(0, 2, 1, 0, 490.0, 290.0)
