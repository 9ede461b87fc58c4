"""Subcarriers of a station: assigned by hand or by an allocator, their powers, and turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from elsa_sim.base.errors import InputError
from elsa_sim.wireless import Demand, Equal, Subcarriers


def demand(gain: Any, need: Any = None, power: float = 1.0, noise: float = 1e-15) -> Demand:
    gain = np.asarray(gain, dtype=np.float64)
    need = np.ones(len(gain)) if need is None else np.asarray(need, dtype=np.float64)
    return Demand(gain, need, np.full(len(gain), power), 1e6, noise)


LIMITS = {"a": 1.0, "b": 0.5}


def test_assignment_by_hand() -> None:
    subcarriers = Subcarriers("s", "up", 4, 1e6)
    subcarriers.assign({"a": [3, 0], "b": [1]}, {"a": [0.25, 0.75]}, LIMITS)
    assert subcarriers.owners == ["a", "b", None, "a"]
    assert subcarriers.powers(LIMITS).tolist() == [0.75, 0.5, 0.0, 0.25]
    gain = np.full((2, 4), 1e-9)
    question = demand(gain)
    subcarriers.allocate(("a", "b"), question, Equal(), 0, lambda: np.random.default_rng(0))
    assert subcarriers.owners == ["a", "b", None, "a"], "what is assigned by hand stays"
    assert subcarriers.rates(("b",), demand(gain[:1]), LIMITS)[0] == pytest.approx(1e6 * np.log2(1 + 0.5e-9 / 1e-9))
    assert subcarriers.check(LIMITS) == []
    subcarriers.release()
    subcarriers.allocate(("a", "b"), question, Equal(), 0, lambda: np.random.default_rng(0))
    assert subcarriers.owners == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("subchannels", "powers", "message"),
    [
        ({"a": [0, 1], "b": [1]}, None, "subchannel 1 of s is given to 'a' and to 'b'"),
        ({"a": [0, 0]}, None, "given to 'a' and to 'a'"),
        ({"a": [4]}, None, "subchannels 0 to 3"),
        ({"a": [-1]}, None, "subchannels 0 to 3"),
        ({"x": [0]}, None, "no wireless client 'x'"),
        ({"a": [0, 1]}, {"a": [0.6, 0.6]}, "sum to 1.2 W; it has 1 W"),
        ({"a": [0, 1]}, {"a": [0.6]}, "needs 2 powers"),
        ({"a": [0, 1]}, {"a": [1.5, -0.5]}, "at least 0 W"),
        ({"a": [0]}, {"b": [0.1]}, "needs 0 powers"),
    ],
)
def test_what_cannot_be_assigned(subchannels: Any, powers: Any, message: str) -> None:
    subcarriers = Subcarriers("s", "up", 4, 1e6)
    subcarriers.assign({"b": [2]}, None, LIMITS)
    with pytest.raises(InputError, match=message):
        subcarriers.assign(subchannels, powers, LIMITS)
    assert subcarriers.owners == [None, None, "b", None], "nothing is changed"


def test_downlink_powers_are_the_stations() -> None:
    with pytest.raises(InputError, match="uplinks only"):
        Subcarriers("s", "down", 4, 1e6, 1.0).assign({"a": [0]}, {"a": [0.1]}, LIMITS)


def test_check_sees_what_is_wrong() -> None:
    subcarriers = Subcarriers("s", "up", 2, 1e6)
    subcarriers.assign({"a": [0, 1]}, {"a": [0.5, 0.5]}, LIMITS)
    assert subcarriers.check(LIMITS | {"a": 0.9}) == ["in the uplink of s, a sends with 1 W of 0.9 W"]
    subcarriers.owners.append("b")
    assert "3 assigned subchannels of 2" in subcarriers.check(LIMITS)[0]


def test_more_clients_than_subchannels_take_turns() -> None:
    """5 clients on 2 subchannels: in any 5 blocks, each is served twice."""
    subcarriers = Subcarriers("s", "up", 2, 1e6)
    names = tuple("abcde")
    served = []
    for block in range(10):
        subcarriers.allocate(names, demand(np.ones((5, 2))), Equal(), block, lambda: np.random.default_rng(0))
        assert len(set(subcarriers.owners)) == 2
        served += subcarriers.owners
    assert {name: served.count(name) for name in names} == dict.fromkeys(names, 4)
