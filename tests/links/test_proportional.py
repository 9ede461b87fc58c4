"""Proportional fairness: closed forms and its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from link_problems import Problem, flows, problems

from elsa_sim.links import MaxMin, Proportional


def test_the_parking_lot() -> None:
    """Of n hops: the long flow gets 1 / (n + 1) of each hop (Massoulie and Roberts 1999)."""
    rates = Proportional().allocate(flows((0, 1, 2), (0,), (1,), (2,)), np.array([12.0, 12.0, 12.0]))
    assert rates.tolist() == pytest.approx([3.0, 9.0, 9.0, 9.0], rel=1e-6)


def test_one_bottleneck_elsewhere() -> None:
    rates = Proportional().allocate(flows((0,), (0,), (0, 1)), np.array([9.0, 1.0]))
    assert rates.tolist() == pytest.approx([4.0, 4.0, 1.0])


def test_a_channel_crossed_twice_is_paid_twice() -> None:
    """max log x + log y under 2 x + y = 12: 2 x = y."""
    assert Proportional().allocate(flows((0, 0), (0,)), np.array([12.0])).tolist() == pytest.approx([3.0, 6.0])


def test_where_steps_along_one_price_creep() -> None:
    """Two queues of 13 share what they ask of the second flow in any way: x = 1/2, 25/2, 1/2, and prices that are not unique."""
    found = flows((0, 4), (3, 4), (0, 1, 2, 3))
    for scale in (1.0, 1e9):
        rates = Proportional().allocate(found, scale * np.array([1.0, 1.0, 1.0, 13.0, 13.0]))
        assert (rates / scale).tolist() == pytest.approx([0.5, 12.5, 0.5], rel=1e-7)


@given(problem=problems())
def test_no_gain_is_left(problem: Problem) -> None:
    """The definition: going to any other allocation, here max-min's, the relative gains sum up to nothing or less."""
    found, capacities = problem
    rates = Proportional().allocate(found, capacities)
    other = MaxMin().allocate(found, capacities)
    flowing = np.array([bool(r) and x > 0 for r, x in zip(found.routes, rates, strict=True)], dtype=bool)
    assert float(((other[flowing] - rates[flowing]) / rates[flowing]).sum()) <= 1e-6
