"""TCP's windows by hand: flights, handshakes, idling, and what a changing share makes of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from roads import Road

from elsa_sim.network import NetworkOptions
from elsa_sim.network.case import play
from elsa_sim.transports import Tcp

FRESH = {"kind": "tcp", "connections": "per_message"}
PACKET = 1514


def ends(flows: Sequence[tuple[float, int]], transport: Any, rate: float = 1e9, latency: float = 0.05) -> list[float]:
    """How long messages (start, payload) over one link take (s)."""
    case = {"nodes": ["a", "b"], "links": [{"u": "a", "v": "b", "bandwidth_bps": rate, "latency_s": latency}],
            "flows": [{"id": str(i), "src": "a", "dst": "b", "bytes": size, "start_s": start}
                      for i, (start, size) in enumerate(flows)], "transport": transport}  # fmt: skip
    finish = play(case)
    return [finish[str(i)] - start for i, (start, _) in enumerate(flows)]


def test_ten_segments_are_one_trip_and_a_byte_more_is_two() -> None:
    """14,480 bytes are ten packets; the eleventh waits until the first is acknowledged."""
    one, two = ends([(0, 14_480)], "tcp"), ends([(0, 14_481)], "tcp")
    assert one == pytest.approx([0.05 + 10 * PACKET * 8e-9])
    assert two == pytest.approx([0.05 + 0.1 + PACKET * 8e-9 + 67 * 8e-9])
    assert ends([(0, 14_480)], FRESH) == pytest.approx([one[0] + 0.1])


def test_flights_double_until_the_pipe_is_full() -> None:
    """1,000 packets over a wide link: 10, 20, 40, ..., 320 and the last 370 of 640 allowed, each a round trip later."""
    trips = math.log2(1000 / 10 + 1)
    assert 6 < trips < 7
    (took,) = ends([(0, 1000 * 1448)], "tcp", rate=1e12)
    assert took == pytest.approx(0.05 + 6 * 0.1, rel=1e-4)


def test_100_kb_on_a_new_connection() -> None:
    """A handshake, the way there, flights of 10 and 20 packets, and 40 more in what fills the pipe: 0.375 s of 0.092 warm."""
    wait = 0.1 + PACKET * 8 / 2e7
    rest = 104_620 - 30 * PACKET
    assert ends([(0, 100_000)], FRESH, 2e7) == pytest.approx([0.1 + 0.05 + 2 * wait + rest * 8 / 2e7])
    assert ends([(0, 100_000)], FRESH, 2e7) == pytest.approx([0.377], rel=0.01)
    assert ends([(0, 100_000)], "fluid", 2e7) == pytest.approx([0.05 + 104_620 * 8 / 2e7])


def test_a_warm_connection_keeps_its_window() -> None:
    """The second message of 40 packets goes in one flight, as the first left a window of more."""
    first, second = ends([(0, 70 * 1448), (0.5, 40 * 1448)], {"kind": "tcp", "idle_restart": False}, rate=1e12)
    assert first == pytest.approx(0.05 + 2 * 0.1, rel=1e-4)
    assert second == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize(("idle", "halvings"), [(0.29, 0), (0.31, 1), (0.59, 1), (0.61, 2), (0.91, 3), (60.0, 3)])
def test_windows_halve_for_each_timeout_of_idling(idle: float, halvings: int) -> None:
    """A time-out is the round trip and 0.2 s; from 80 segments no further than to the initial ten."""
    window = Tcp().connection(Road(0.1, 1e12))
    now, left = 0.0, 70 * PACKET
    while left > 0:
        now, part = window.flight(now, left)
        left -= part
    window.pause(now)
    assert window.window == 40 * PACKET
    window.flight(now + 0.2, 40 * PACKET)
    window.pause(now := now + 0.2)
    start, part = window.flight(now + idle, 1e9)
    assert start == now + idle
    assert part == pytest.approx(80 * PACKET / 2**halvings)


def test_a_message_after_idling_begins_with_fewer_and_then_grows() -> None:
    """60 s later 70 packets take three flights again, not one; and a window does not shrink within a message."""
    first, second = ends([(0, 70 * 1448), (60.0, 70 * 1448)], "tcp", rate=1e12)
    assert second == pytest.approx(first, rel=1e-6)
    window = Tcp().connection(Road(0.1, 1e12))
    window.pause(0.0)
    now, parts = 0.1, []
    for _ in range(6):
        now, part = window.flight(now, 1e9)
        parts.append(part / PACKET)
    assert now > 0.5
    assert parts == pytest.approx([10, 20, 40, 80, 160, 320])


def test_small_messages_do_not_open_a_window() -> None:
    """A hundred messages of two packets, a round trip apart: the next large one still begins with ten."""
    window = Tcp().connection(Road(0.1, 1e12))
    for i in range(100):
        window.flight(0.11 * i, 2 * PACKET)
        window.pause(0.11 * i)
    assert window.flight(11.0, 1e9)[1] == 10 * PACKET


def test_messages_at_once_share_a_window() -> None:
    """Twelve packets in six messages: ten in the first flight, whoever sends them; in order."""
    took = ends([(0, 2 * 1448)] * 6, "tcp")
    assert took == sorted(took)
    assert took[4] < 0.051
    assert took[5] > 0.15
    assert ends([(0, 2 * 1448)] * 6, FRESH)[5] < 0.151, "each has a connection of its own"


def test_a_window_stops_at_route_and_queue_or_at_the_receiver() -> None:
    road = Road(0.1, 2e7)
    window = Tcp(queue=0.05).connection(road)
    for i in range(20):
        window.flight(float(i) / 8, 1e6)
    assert window.window == pytest.approx(2e7 / 8 * 0.15)
    assert Tcp(queue_bytes={"a>b": 1e5}).room(road) == pytest.approx(2e7 / 8 * 0.1 + 1e5)
    narrow = ends([(0, 1_448_000)], {"kind": "tcp", "receive_window": 14480.0}, rate=1e12)
    assert narrow == pytest.approx([0.05 + 99 * 0.1], rel=1e-3), "a hundred flights of ten"


@pytest.mark.parametrize(("rate", "stalls"), [(1e6, 0), (4e6, 3)])
def test_a_share_that_grows_in_mid_flight(rate: float, stalls: int) -> None:
    """b shares a link with a, which ends while b's second flight drains: the same windows bind at 4 Mbit/s and not at 1.

    At 1 Mbit/s ten packets at half the rate take 0.24 s, longer than the round trip of 0.2, and what is let go next is
    always more than drains in one: b sends without a pause. At 4 Mbit/s both stall after their first flights, and b,
    alone then, after those of 20 and 40 packets, too.
    """
    links = [{"u": u, "v": v, "bandwidth_bps": bandwidth, "latency_s": latency}
             for u, v, bandwidth, latency in (("a", "x", 1e9, 0.1), ("b", "x", 1e9, 0.1), ("x", "c", rate, 0.0))]  # fmt: skip
    flows = [{"id": name, "src": name, "dst": "c", "bytes": packets * 1448} for name, packets in (("a", 12), ("b", 90))]
    case = {"nodes": ["a", "b", "x", "c"], "links": links, "flows": flows, "transport": {"kind": "tcp"}}
    packet = 8 * PACKET / rate
    wait = 0.2 + packet + 8 * PACKET / 1e9
    got = play(case)
    assert got["a"] == pytest.approx(0.1 + (wait if stalls else 20 * packet) + 4 * packet, rel=1e-6)
    assert got["b"] == pytest.approx(0.1 + (stalls * wait + 20 * packet if stalls else 102 * packet), rel=1e-6)


def test_long_flows_over_short_trips_are_fluid() -> None:
    for size in (5e6, 5e7):
        (tcp,), (fluid,) = (ends([(0, int(size))], kind, 2e7, 0.001) for kind in ("tcp", "fluid"))
        assert tcp == pytest.approx(fluid, rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    flows=st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.35]), st.integers(1, 400_000)), min_size=1, max_size=6),
    rate=st.sampled_from([1e6, 2e7, 1e9]),
    latency=st.sampled_from([0.001, 0.02, 0.15]),
)
def test_no_message_beats_its_budget_nor_the_fluid(flows: list[tuple[float, int]], rate: float, latency: float) -> None:
    """New connections: after k round trips W0 (2^(k+1) - 1) have gone at most, so the last byte takes as many; and whoever
    waits for windows is not sooner than who does not, save for what others leave him by waiting."""
    trip = 2.0 * latency
    for (_, size), took in zip(flows, ends(flows, FRESH, rate, latency), strict=True):
        wire = Tcp().wire_bytes(size)
        k = next(k for k in itertools.count() if 10 * PACKET * (2 ** (k + 1) - 1) >= wire)
        never = rate / 8.0 * (trip + PACKET * 8 / rate)  # from here on the window binds no more
        k = min(k, next(k for k in itertools.count() if 10 * PACKET * 2**k >= never))
        assert took >= trip + latency + k * trip - 1e-9
        assert took >= trip + latency + 8 * wire / rate - 1e-9


@settings(max_examples=60, deadline=None)
@given(
    flows=st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.35, 0.9]), st.sampled_from("abc"), st.integers(1, 300_000)),
        min_size=1, max_size=10,
    ),
    connections=st.sampled_from(["persistent", "per_message"]),
)  # fmt: skip
def test_both_engines_agree(flows: list[tuple[float, str, int]], connections: str) -> None:
    """Sharing anew only what an event touches gives the times of sharing everything anew, stalls included."""
    links = [("a", "x", 1e7, 0.01), ("b", "x", 4e7, 0.05), ("c", "x", 2e6, 0.1), ("x", "y", 1.5e7, 0.02)]
    case = {"nodes": list("abcxy"),
            "links": [{"u": u, "v": v, "bandwidth_bps": r, "latency_s": late} for u, v, r, late in links],
            "flows": [{"id": str(i), "src": src, "dst": "y", "bytes": size, "start_s": start}
                      for i, (start, src, size) in enumerate(flows)],
            "transport": {"kind": "tcp", "connections": connections}}  # fmt: skip
    touched, everything = (play(case, NetworkOptions(resolve=how)) for how in ("touched", "all"))
    assert touched == pytest.approx(everything, rel=1e-9)


def test_a_receiver_takes_something() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Tcp(receive_window=0.0)
