"""Oort by hand: utility, cut-off, exploration, pacer."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from elsa_sim.base.streams import Streams
from elsa_sim.selection.base import Candidates, Prospect, Report, Roster
from elsa_sim.selection.oort import Oort, OortSelector, statistical_utility, utility

SAMPLES = {"a": 100.0, "b": 50.0, "c": 10.0, "d": 40.0}


def selector(times: dict[str, float] | None = None, **options: float) -> OortSelector:
    expected = times or dict.fromkeys(SAMPLES, 1.0)
    return OortSelector(Oort(**options), Roster(SAMPLES, lambda name: Prospect(0.0, expected[name], 0.0)))  # type: ignore[arg-type]


def chosen(server: OortSelector, round: int, names: str = "abcd") -> list[str]:
    return list(server.choose(Candidates(list(names), len(names), round, Streams(4).numpy(round))))


def test_the_published_utility_by_hand() -> None:
    """|B| sqrt(1/|B| sum l^2) + sqrt(0.1 log R / L), times (T / t)^alpha of who is slower than T."""
    assert statistical_utility(100.0, [3.0, 4.0]) == pytest.approx(100.0 * math.sqrt(12.5))
    found = utility(
        np.array([10.0, 10.0, 10.0]), np.array([1.0, 5.0, 5.0]), np.array([20.0, 20.0, 80.0]),
        round=5, preferred=40.0, penalty=2.0,
    )  # fmt: skip
    fresh, stale = 10.0 + math.sqrt(0.1 * math.log(5) / 5), 10.0 + math.sqrt(0.1 * math.log(5))
    assert found.tolist() == pytest.approx([stale, fresh, fresh / 4.0])
    assert utility(np.ones(1), np.ones(1), np.array([80.0]), round=1, preferred=40.0, penalty=0.0).tolist() == [1.0]


def heard(server: OortSelector, losses: dict[str, float], durations: dict[str, float]) -> None:
    for name, loss in losses.items():
        server.observe(Report(name, (loss,), durations[name]))


def test_who_has_most_to_teach_and_is_not_slow_is_exploited() -> None:
    """With all known and no exploration left, admitted is who has the cut-off utility: here exactly the best two."""
    server = selector(clients=2, exploration=0.0, least_exploration=0.0, cutoff=1.0, clip=1.0, preferred=1.0)
    chosen(server, 1)
    losses = {"a": 1.0, "b": 3.0, "c": 4.0, "d": 2.6}  # utilities 100, 150, 40, 104
    heard(server, losses, dict.fromkeys(SAMPLES, 5.0))
    assert set(chosen(server, 2)) == {"b", "d"}
    slow = selector(clients=2, exploration=0.0, least_exploration=0.0, cutoff=1.0, clip=1.0, preferred=0.5)
    chosen(slow, 1)
    heard(slow, losses, {"a": 5.0, "b": 10.0, "c": 5.0, "d": 5.0})  # b counts 150 (5 / 10)^2 = 37.5
    assert set(chosen(slow, 2)) == {"a", "d"}


def test_the_loss_part_is_clipped() -> None:
    server = selector(clients=1, exploration=0.0, least_exploration=0.0, cutoff=1.0, clip=0.01, preferred=1.0)
    chosen(server, 1)
    heard(server, {"a": 1.0, "b": 3.0, "c": 4.0, "d": 2.6}, dict.fromkeys(SAMPLES, 5.0))
    times = Counter(chosen(server, round)[0] for round in range(2, 400))
    assert set(times) == {"a", "b", "d"}  # all that are above the quantile are equal; c lies below


def test_the_share_of_the_unheard_decays_to_its_least() -> None:
    names = [chr(ord("a") + i) for i in range(20)]
    roster = Roster(dict.fromkeys(names, 10.0), lambda name: Prospect(0.0, 1.0, 0.0))
    server = OortSelector(Oort(clients=10, exploration=0.9, decay=0.5, least_exploration=0.2), roster)
    first = [chosen(server, 1, "".join(names))]
    for name in names[:12]:
        server.observe(Report(name, (1.0,), 1.0))
    for round in range(2, 8):
        first.append(chosen(server, round, "".join(names)))
    unheard = [sum(name in names[12:] for name in found) for found in first[1:]]
    assert unheard == [5, 2, 2, 2, 2, 2]  # 0.45 -> 5 of 10, 0.225 -> 2, then the least
    assert all(len(set(found)) == 10 for found in first)


def test_the_fast_are_explored_first() -> None:
    server = selector({"a": 1.0, "b": 1.0, "c": 8.0, "d": 8.0}, clients=1)
    times = Counter(chosen(server, round)[0] for round in range(1, 2000))
    assert (times["a"] + times["b"]) / 1999 == pytest.approx(16 / 18, abs=0.03)


def test_the_pacer_relaxes_when_less_is_gained() -> None:
    server = selector(clients=4, window=2, preferred=0.5, pacer=0.2)
    for round, loss in enumerate((3.0, 3.0, 2.0, 2.0, 2.5, 2.5, 1.0, 1.0), 1):
        chosen(server, round)
        heard(server, dict.fromkeys(SAMPLES, loss), dict.fromkeys(SAMPLES, 1.0))
        assert server.preferred == pytest.approx({5: 0.7, 6: 0.7, 7: 0.7, 8: 0.7}.get(round, 0.5))
    chosen(server, 9)
    assert server.preferred == pytest.approx(0.9)


def test_the_last_round_is_that_of_taking_part() -> None:
    """Who has not been heard for long has the larger bonus."""
    server = selector(clients=1, exploration=0.0, least_exploration=0.0, cutoff=1.0, clip=1.0, preferred=1.0)
    chosen(server, 1)
    heard(server, {"a": 1.0, "c": 10.0}, {"a": 1.0, "c": 1.0})
    chosen(server, 50)
    heard(server, {"a": 1.0}, {"a": 1.0})
    assert chosen(server, 51, "ac") == ["c"]
