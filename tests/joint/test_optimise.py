"""The joint optimiser: it never gets worse, keeps to its budgets, says what cannot be, and stops when told."""

from __future__ import annotations

import importlib
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from instances import problem

from elsa_sim.base.errors import InputError
from elsa_sim.joint import Allocation, Decision, Held, Problem, delay, optimise
from elsa_sim.joint.problem import Pair

module = importlib.import_module("elsa_sim.joint.optimise")  # the package's name of it is the function


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


# The order of the search --------------------------------------------------------------------------------------------


def test_the_steps_are_those_of_the_paper_in_its_order() -> None:
    steps = [step.name for step in optimise(problem(0)).history]
    assert steps == ["start", *["power", "cut and rank", "subchannels"] * (len(steps) // 3)]


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_cut_and_rank_are_the_best_of_all_for_these_subchannels(seed: int, even: bool) -> None:
    """The exhaustive step is exhaustive: nothing is searched besides."""
    given = problem(seed, 3, (5, 4), 4, (1, 4, 16))
    main, fed_server = np.array([0, 1, 2, 0, 1]), np.array([2, 1, 0, 2])
    every = {pair: optimise(given, held=Held(main, fed_server, even, *pair)).total_s for pair in given.loads}
    worst = optimise(given, held=Held(main, fed_server, even, *max(every, key=every.__getitem__))).decision
    found = optimise(given, worst, Held(main, fed_server, even), breadth=0)
    assert found.total_s == pytest.approx(min(every.values()), rel=1e-3)
    assert every[found.decision.pair] == pytest.approx(min(every.values()), rel=1e-3)
    assert max(every.values()) > 1.05 * min(every.values()), "any cut and rank would do"


def test_the_most_promising_are_searched_first_and_none_that_a_bound_rules_out(monkeypatch: pytest.MonkeyPatch) -> None:
    given, breadth = problem(1, 4, (9, 8), 4, (1, 2, 4, 8)), 3
    visits: list[list[Pair]] = []
    original_pair, original_searched = module._Search.pair, module._Search._searched

    def pair(search: Any) -> None:
        now = search.decision
        value = {each: search._value(each, now.main.owners, now.fed_server.owners) for each in search.pairs}
        visits.append([])
        original_pair(search)
        tried = visits[-1]
        assert len(tried) <= breadth
        assert [value[each] for each in tried] == sorted(value[each] for each in tried)
        left = [v for each, v in value.items() if each not in (*tried, now.pair, search.decision.pair)
                and search.lowest[each] < search.total]  # fmt: skip
        if tried and left:
            assert min(left) >= value[tried[-1]], "one that looked better was passed over"

    def searched(search: Any, each: Pair) -> Decision:
        if each != search.decision.pair:
            assert search.lowest[each] < search.history[-1].total_s
            visits[-1].append(each)
        return original_searched(search, each)

    monkeypatch.setattr(module._Search, "pair", pair)
    monkeypatch.setattr(module._Search, "_searched", searched)
    optimise(given, breadth=breadth)
    assert visits[0], "nothing was searched"
    monkeypatch.setattr(module._Search, "pair", original_pair)
    visits[:] = [[]]
    optimise(given, breadth=len(given.loads))
    assert len(set(visits[0])) < len(given.loads) - 1, "the bound rules nothing out"


def test_other_starts_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they led to is remembered: later rounds only go on from the present subchannels."""
    asked: list[tuple[int, int]] = []
    original = module.starts

    def starts(subproblem: Any, count: int) -> Any:
        asked.append((id(subproblem), count))
        return original(subproblem, count)

    monkeypatch.setattr(module, "starts", starts)
    found = optimise(problem(1, 4, (9, 8)), epsilon=0.0, starts=3)
    assert {count for _, count in asked} == {3}
    assert len(asked) == len(set(asked)) > 2
    assert len(found.history) > 4, "there was no later round"
