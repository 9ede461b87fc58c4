"""Equal shares, first in first out, and no sharing at all: closed forms."""

from __future__ import annotations

import numpy as np
from link_problems import flows

from elsa_sim.links import EqualShare, Fifo, Ideal, MaxMin


def test_equal_share_leaves_what_max_min_uses() -> None:
    given, capacities = flows((0, 1), (1,)), np.array([2.0, 10.0])
    assert EqualShare().allocate(given, capacities).tolist() == [2.0, 5.0]
    assert MaxMin().allocate(given, capacities).tolist() == [2.0, 8.0]


def test_equal_share_counts_a_channel_crossed_twice_twice() -> None:
    assert EqualShare().allocate(flows((0, 0), (0,)), np.array([9.0])).tolist() == [3.0, 3.0]


def test_fifo_serves_the_first() -> None:
    assert Fifo().allocate(flows((0,), (0,), (1,)), np.array([4.0, 5.0])).tolist() == [4.0, 0.0, 5.0]


def test_who_waits_in_a_queue_holds_up_who_comes_after() -> None:
    """The second waits at channel 0 for the first and still comes before the third at channel 1."""
    assert Fifo().allocate(flows((0,), (0, 1), (1,)), np.array([4.0, 5.0])).tolist() == [4.0, 0.0, 0.0]


def test_alone_on_a_channel_crossed_twice() -> None:
    for model in (Fifo(), Ideal()):
        assert model.allocate(flows((0, 1, 0)), np.array([8.0, 5.0])).tolist() == [4.0]


def test_ideal_gives_everybody_everything() -> None:
    assert Ideal().allocate(flows((0,), (0, 1), (1,)), np.array([4.0, 5.0])).tolist() == [4.0, 4.0, 5.0]
