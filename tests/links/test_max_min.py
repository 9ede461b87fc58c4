"""Max-min fairness: closed forms (the law suite in test_base.py holds it to its definition)."""

from __future__ import annotations

import numpy as np
from link_problems import flows

from elsa_sim.links import MaxMin


def test_the_parking_lot() -> None:
    """One long flow and one per hop share each hop alike; the rest of the wide hop goes to its own."""
    rates = MaxMin().allocate(flows((0, 1, 2), (0,), (1,), (2,)), np.array([10.0, 10.0, 30.0]))
    assert rates.tolist() == [5.0, 5.0, 5.0, 25.0]


def test_a_channel_crossed_twice_counts_twice() -> None:
    assert MaxMin().allocate(flows((0, 0), (0,)), np.array([9.0])).tolist() == [3.0, 3.0]


def test_latency_has_no_say() -> None:
    assert MaxMin().allocate(flows((0,), (0,), latencies=[0.001, 1.0]), np.array([8.0])).tolist() == [4.0, 4.0]
