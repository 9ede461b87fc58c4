"""The law suite: every transport is held to what makes it one, whatever routes and messages it meets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roads import Road

from elsa_sim.transports import Transport

EVERY: list[Transport] = [member() for _, member in sorted(Transport.members.items())]  # type: ignore[list-item]
each = pytest.mark.parametrize("transport", EVERY, ids=lambda transport: transport.kind)


@each
@given(payload=st.integers(0, 10**9), more=st.integers(0, 10**6))
def test_framing_is_a_packet_for_each_segment(transport: Transport, payload: int, more: int) -> None:
    """66 bytes for each 1,448 begun, for an empty message once; more payload is never fewer bytes."""
    assert transport.wire_bytes(payload) == payload + 66 * max(1, -(-payload // 1448))
    assert transport.wire_bytes(payload + more) >= transport.wire_bytes(payload) + more


@each
@given(
    road=st.builds(Road, st.sampled_from([0.0, 0.001, 0.1, 2.0]), st.sampled_from([0.0, 1e3, 1e6, 1e9])),
    sizes=st.lists(st.floats(1.0, 1e7), min_size=1, max_size=5),
    waits=st.lists(st.sampled_from([0.0, 0.01, 0.4, 30.0]), min_size=5, max_size=5),
)
def test_a_connection_lets_everything_go_in_time(
    transport: Transport, road: Road, sizes: list[float], waits: list[float]
) -> None:
    """Every flight has bytes of the message and begins at once or within a round trip; a message ends in finitely many."""
    connection = transport.connection(road)
    if connection is None:
        return
    now = 0.0
    for size, wait in zip(sizes, waits, strict=False):
        left, flights = size, 0
        while left > 0.0:
            start, part = connection.flight(now, left)
            assert 0.0 < part <= left
            assert now <= start <= now + road.round_trip + road.sending(1514) + 1e-9
            now = start + (8.0 * part / road.bandwidth if road.bandwidth else 1.0)
            left, flights = left - part, flights + 1
        assert flights <= math.ceil(size / 1448) + 1
        connection.pause(now)
        now += wait


@each
def test_a_connection_in_place_of_a_broken_one_takes_a_round_trip(transport: Transport) -> None:
    connection = transport.connection(Road(), again=True)
    assert connection is None or connection.setup == 0.1
