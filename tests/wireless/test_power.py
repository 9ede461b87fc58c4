"""Power control: budgets, closed forms, and what cannot be (the optimum itself: test_convex.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from power_cases import cell, served

from elsa_sim.base.errors import InputError
from elsa_sim.wireless import Demand, MinDelay, PowerControl
from elsa_sim.wireless.power import rates


def test_one_client_alone() -> None:
    """With one subchannel, all power is on it; no total, no others: the closed form."""
    demand = Demand(np.array([[1e-10]]), np.array([1e7]), np.array([0.1]), 1e6, 4e-21, before=np.array([2.0]))
    found = MinDelay().control(demand, np.array([0]))
    assert found.watts.sum() == pytest.approx(0.1)
    assert found.watts.sum() <= 0.1
    assert found.delay_s == pytest.approx(2.0 + 1e7 / (1e6 * np.log2(1.0 + 0.1e-10 / 4e-15)))


def test_who_has_nothing_to_send_gets_nothing() -> None:
    demand = replace(cell(1, 3, 6), need=np.array([0.0, 1e6, 1e6]))
    owners = np.array([0, 1, 2, 0, 1, 2])
    found = MinDelay().control(demand, owners)
    assert found.watts[[0, 3]].tolist() == [0.0, 0.0]
    assert found.delay_s >= demand.waits[0]


@pytest.mark.parametrize("kind", sorted(PowerControl.members))
@pytest.mark.parametrize("seed", range(6))
def test_every_control_keeps_the_budgets(kind: str, seed: int) -> None:
    """The laws: within each limit and the total, nothing negative, nothing on what is nobody's, the delay as stated."""
    demand = cell(seed, 4, 9)
    owners = served(demand)
    owners[-1] = -1
    control = PowerControl.members[kind]()
    assert isinstance(control, PowerControl)
    found = control.control(demand, owners)
    sums = [found.watts[owners == k].sum() for k in range(4)]
    assert all(total <= limit for total, limit in zip(sums, demand.power.tolist(), strict=True))
    assert demand.total is None or found.watts.sum() <= demand.total
    assert (found.watts >= 0.0).all()
    assert found.watts[-1] == 0.0
    assert found.delay_s == pytest.approx((demand.waits + demand.need / rates(demand, owners, found.watts)).max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"owners": [0, 0, 1, 1]}, "the uplink: 'c' has no subchannel"),
        ({"power": [0.1, 0.0, 0.1]}, "'b' has a power limit of 0 W"),
        (
            {"gain": [[1e-9] * 4, [1e-9] * 4, [1e-9, 1e-9, 0.0, 0.0]]},
            "'c' has a gain of 0 on every subchannel of its own",
        ),
        ({"total": 0.0}, "the total power is 0 W"),
        ({"gain": [[1e-9] * 4, [1e-9] * 4, [3e-26] * 4]}, "'c' is drowned in noise: 7.5e-13 times as strong at 0.1 W"),
    ],
)
def test_what_cannot_be_is_named(change: dict[str, Any], message: str) -> None:
    owners = np.array(change.pop("owners", [0, 1, 2, 2]))
    known: dict[str, Any] = {"gain": np.full((3, 4), 1e-9), "need": np.full(3, 1e6), "power": np.full(3, 0.1)}
    known |= {name: np.array(value) if isinstance(value, list) else value for name, value in change.items()}
    with pytest.raises(InputError, match=message):
        MinDelay().control(Demand(bandwidth=1e6, noise=4e-21, **known), owners, ("a", "b", "c"))


def test_greedy_looks_at_when_clients_begin() -> None:
    """Two equal clients, one of them 10 s late: it gets all but the one subchannel that the other must have."""
    gain, need = np.full((2, 6), 1e-9), np.full(2, 1e7)
    demand = Demand(gain, need, np.full(2, 0.1), 1e6, 4e-21)
    assert np.bincount(served(demand)).tolist() == [3, 3]
    assert np.bincount(served(replace(demand, before=np.array([0.0, 10.0])))).tolist() == [1, 5]
