"""Weights by round-trip time: twice the trip, half the share; equal trips, max-min."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from link_problems import Problem, flows, problems

from elsa_sim.links import Flows, MaxMin, RttFair


def test_shares_are_as_one_over_round_trip_and_half_a_queue() -> None:
    """Trips of 0.1 and 0.3 s, a queue of 0.2 s: weights 1 / 0.2 and 1 / 0.4."""
    rates = RttFair(queue=0.2).allocate(flows((0,), (0,), latencies=[0.05, 0.15]), np.array([9.0]))
    assert rates == pytest.approx([6.0, 3.0])


def test_what_a_bottleneck_of_its_own_leaves_over_goes_to_the_others() -> None:
    """The first may have 6 of 9, and is held to 2 elsewhere: the second takes 7."""
    rates = RttFair(queue=0.2).allocate(flows((0, 1), (0,), latencies=[0.05, 0.15]), np.array([9.0, 2.0]))
    assert rates == pytest.approx([2.0, 7.0])


@given(problem=problems())
def test_equal_round_trips_are_max_min(problem: Problem) -> None:
    given, capacities = problem
    alike = Flows(given.routes, np.full(len(given.routes), 0.05))
    np.testing.assert_allclose(RttFair().allocate(alike, capacities), MaxMin().allocate(alike, capacities), rtol=1e-9)
