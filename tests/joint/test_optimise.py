"""The joint optimiser: it never gets worse, keeps to its budgets, says what cannot be, and stops when told."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from instances import problem

from elsa_sim.base.errors import InputError
from elsa_sim.joint import Allocation, Decision, Held, Problem, delay, optimise
from elsa_sim.joint.optimise import _Search


def within_budgets(given: Problem, decision: Decision) -> bool:
    for link, allocation in ((given.main, decision.main), (given.fed_server, decision.fed_server)):
        sums = [allocation.power[allocation.owners == k].sum() for k in range(len(given.names))]
        if any(total > limit for total, limit in zip(sums, link.limit.tolist(), strict=True)):
            return False
        if link.total is not None and allocation.power.sum() > link.total:
            return False
    return True


@pytest.mark.parametrize("barrier", [True, False])
@pytest.mark.parametrize("total", [None, 0.2])
def test_the_delay_never_rises(barrier: bool, total: float | None) -> None:
    for seed in range(4):
        given = problem(seed, 4, (9, 8), 4, barrier=barrier, total=total, cap=6.0 if seed == 3 else None)
        found = optimise(given)
        values = [step.total_s for step in found.history]
        assert all(b <= a for a, b in itertools.pairwise(values))
        assert values[-1] == found.total_s == delay(given, found.decision).total_s
        assert within_budgets(given, found.decision)
        assert found.in_time


def test_warm_start_is_never_worse_than_where_it_starts() -> None:
    """Also where gains have changed since; and a start from the answer changes nothing that counts."""
    before, now = problem(1, 4, (9, 8)), problem(1, 4, (9, 8))
    random = np.random.default_rng(0)
    faded = replace(now.main, gain=now.main.gain * random.standard_exponential(now.main.gain.shape))
    now = replace(now, main=faded)
    old = optimise(before).decision
    warm = optimise(now, old)
    assert warm.history[0].total_s == pytest.approx(delay(now, old).total_s)
    assert warm.total_s <= delay(now, old).total_s
    again = optimise(now, warm.decision)
    assert again.total_s == pytest.approx(warm.total_s, rel=1e-3)
    tighter = replace(now, main=replace(now.main, limit=now.main.limit / 2.0))
    assert within_budgets(tighter, optimise(tighter, warm.decision).decision), "a start over the budgets is scaled down"


def test_a_time_limit_ends_it_with_what_there_is() -> None:
    given = problem(0, 5, (20, 20), 11, (1, 2, 4, 8, 16))
    found = optimise(given, time_limit_s=0.0)
    assert not found.in_time
    assert [step.name for step in found.history] == ["start"]
    assert np.isfinite(found.total_s)
    assert optimise(given).in_time


def test_what_is_held_stays() -> None:
    given = problem(2)
    owners = np.array([0, 1, 2, 2])
    found = optimise(given, held=Held(main=owners, cut=2, rank=8)).decision
    assert found.main.owners.tolist() == owners.tolist()
    assert found.pair == (2, 8)
    even = optimise(given, held=Held(even=True)).decision
    for k in range(3):
        assert len(set(even.main.power[even.main.owners == k].round(12))) == 1
    with pytest.raises(InputError, match="cut 9 is not among"):
        optimise(given, held=Held(cut=9))


@pytest.mark.parametrize(
    ("link", "change", "message"),
    [
        ("main", {"limit": [0.1, 0.0, 0.1]}, "the main uplink: 'client1' has a power limit of 0 W"),
        ("fed_server", {"limit": [0.1, 0.1, 0.0]}, "the federated uplink: 'client2' has a power limit of 0 W"),
        ("main", {"gain": [[1e-9], [1e-9], [1e-9]]}, "the main uplink: 'client.' has no subchannel .1 subchannels, 3 clients."),
        ("fed_server", {"gain": [[0.0] * 4, [1e-9] * 4, [1e-9] * 4]}, "the federated uplink: 'client0' has a gain of 0"),
        ("main", {"total": 0.0}, "the main uplink: the total power is 0 W"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(link: str, change: dict[str, Any], message: str) -> None:
    given = problem(0)
    changed = {name: np.array(value) if isinstance(value, list) else value for name, value in change.items()}
    with pytest.raises(InputError, match=message):
        optimise(replace(given, **{link: replace(getattr(given, link), **changed)}))


def test_without_needs_nobody_needs_power() -> None:
    """Zero bits of adapters at every cut: the federated uplink may stay silent."""
    given = problem(3)
    loads = {pair: replace(load, adapters=np.zeros(3)) for pair, load in given.loads.items()}
    found = optimise(replace(given, loads=loads))
    assert found.decision.fed_server.power.sum() == 0.0
    assert isinstance(found.decision.main, Allocation)


def test_who_is_heard_on_one_subchannel_only_gets_that() -> None:
    """Greedy gives it to somebody who hears it better and leaves one deaf; an assignment finds one for each."""
    given = problem(4, 3, (3, 3))
    gain = np.array([[1e-9, 2e-9, 0.0], [0.0, 1e-9, 0.0], [1e-9, 1e-9, 3e-9]])
    found = optimise(replace(given, main=replace(given.main, gain=gain)))
    assert found.decision.main.owners.tolist() == [0, 1, 2]
    deaf = np.array([[1e-9, 2e-9, 0.0], [0.0, 1e-9, 0.0], [0.0, 3e-9, 0.0]])
    with pytest.raises(InputError, match=r"the main uplink: 'client.' has a gain of 0"):
        optimise(replace(given, main=replace(given.main, gain=deaf)))


@pytest.mark.parametrize("even", [False, True])
def test_one_client_has_all(even: bool) -> None:
    found = optimise(problem(0, 1, (3, 2), 2), held=Held(even=even))
    assert np.isfinite(found.total_s)
    assert found.decision.main.owners.tolist() == [0, 0, 0]


def test_pairs_are_looked_at_in_order() -> None:
    """By cut, then by rank, however the problem lists them; so ties do not depend on it."""
    given = problem(0)
    listed = [(3, 2), (1, 8), (2, 2), (1, 2), (3, 8), (2, 8)]
    shuffled = replace(given, loads={pair: given.loads[pair] for pair in listed})
    assert Held().pairs(shuffled) == [(1, 2), (1, 8), (2, 2), (2, 8), (3, 2), (3, 8)]
    assert Held(rank=8).pairs(shuffled) == [(1, 8), (2, 8), (3, 8)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_most_promising_pair_is_taken_first(seed: int) -> None:
    """With the subchannels held nothing else is searched: from the worst cut and rank straight to the best of all."""
    given = problem(seed, cuts=4)
    owners = Held(main=np.array([0, 1, 2, 2]), fed_server=np.array([0, 1, 2]))
    each = {pair: optimise(given, held=replace(owners, cut=pair[0], rank=pair[1])) for pair in given.loads}
    ranked = sorted(each, key=lambda pair: each[pair].total_s)
    found = optimise(given, each[ranked[-1]].decision, owners, breadth=0)
    assert found.decision.pair == ranked[0]
    assert found.total_s == pytest.approx(each[ranked[0]].total_s, rel=1e-6)
    assert [step.name for step in found.history[:3]] == ["start", "power", "cut and rank"]
    assert found.history[2].total_s == pytest.approx(found.total_s, rel=1e-6)


@pytest.mark.parametrize(("breadth", "expected"), [(3, [2, 5]), (9, [2, 5, 1, 4])])
def test_the_first_to_be_searched_are_the_most_promising(
    breadth: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cuts and ranks that get subchannels of their own: as many as ``breadth`` says, best first, none that cannot win."""
    searched: list[tuple[int, int]] = []
    whole = _Search._searched
    monkeypatch.setattr(_Search, "_searched", lambda self, pair: searched.append(pair) or whole(self, pair))
    given = problem(1, cuts=6, ranks=(4,))
    like = given.loads[1, 4]
    factors = {(cut, 4): 1.0 + 0.02 * ((5 * cut) % 7) for cut in range(1, 7)}  # cuts 3, 6, 2, 5, 1, 4, best first
    loads = {pair: replace(like, adapters=factor * like.adapters) for pair, factor in factors.items()}
    loads[3, 4] = replace(loads[3, 4], broadcast=like.broadcast + 1e3)  # cannot win
    search = _Search(replace(given, loads=loads), Held(), breadth, 2, lambda: False)
    search.begin(None)
    search.power()
    searched.clear()
    search.pair()
    assert searched == [(cut, 4) for cut in expected]  # cut 6 is the present one, 3 is ruled out
