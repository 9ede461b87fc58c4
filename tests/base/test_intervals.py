"""When something is away: the law of alternating states, and one presence from many downtimes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_sim.base.intervals import Presence, alternation


def test_fixed_lengths_begin_with_a_whole_first_state() -> None:
    found = list(itertools.islice(alternation(np.random.default_rng(0), 3.0, 1.0, fixed=True), 3))
    assert found == [(3.0, 4.0), (7.0, 8.0), (11.0, 12.0)]


@pytest.mark.parametrize(("first", "second"), [(3.0, 1.0), (0.5, 2.0)])
def test_random_lengths_have_their_means_and_begin_anywhere(first: float, second: float) -> None:
    """Means within 5 standard errors of 4,000 exponential lengths; the state at 0 as often as it lasts."""
    found = list(itertools.islice(alternation(np.random.default_rng(1), first, second), 4000))
    lengths = np.array([end - begin for begin, end in found])
    between = np.array([after[0] - before[1] for before, after in itertools.pairwise(found)])
    for measured, mean in ((lengths, second), (between, first)):
        assert measured.mean() == pytest.approx(mean, rel=5 / math.sqrt(4000))
        assert measured.std() == pytest.approx(mean, rel=0.15), "not exponential"
    at_zero = [next(alternation(np.random.default_rng(seed), first, second))[0] == 0.0 for seed in range(1000)]
    assert np.mean(at_zero) == pytest.approx(second / (first + second), abs=5 * 0.5 / math.sqrt(1000))


downtimes = st.lists(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=5).map(
        lambda drawn: sorted((float(begin), float(begin + length)) for begin, length in drawn)
    ),
    max_size=3,
)


@given(downtimes, st.lists(st.integers(0, 80), min_size=1, max_size=6))
def test_presence_is_that_of_every_moment(drawn: list[list[tuple[float, float]]], asked: list[int]) -> None:
    """Against the definition, half second by half second; asked in any order."""
    everything = [each for one in drawn for each in one]
    presence = Presence([iter(one) for one in drawn])
    for half in asked:
        now = half / 2
        grid = [now + i / 2 for i in range(200)]
        away = [any(begin <= t < end for begin, end in everything) for t in grid]
        assert presence.back(now) == next(t for t, gone in zip(grid, away, strict=True) if not gone)
        gone = next((t for t, is_away in zip(grid, away, strict=True) if is_away), math.inf)
        assert (presence.leaves(now) <= now) if away[0] else (presence.leaves(now) == gone)
    whole = list(presence.intervals())
    assert all(one[1] < other[0] for one, other in itertools.pairwise(whole)), "those that touch are one"
    assert sum(end - begin for begin, end in whole) == sum(
        any(begin <= t / 2 < end for begin, end in everything) / 2 for t in range(200)
    )


def test_away_for_ever() -> None:
    presence = Presence([iter([(2.0, math.inf), (3.0, 4.0)])])
    assert presence.back(1.0) == 1.0
    assert presence.back(2.0) == math.inf
    assert presence.leaves(0.0) == 2.0
    assert list(presence.intervals()) == [(2.0, math.inf)]
    assert Presence([]).leaves(5.0) == math.inf
