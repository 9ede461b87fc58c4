"""The optimiser against brute force on tiny problems, and against the baselines: what the optimiser has to prove."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from instances import problem

from elsa_sim.base.errors import InputError
from elsa_sim.joint import (
    BASELINES,
    Allocation,
    Decision,
    Problem,
    Result,
    Uplink,
    baseline,
    delay,
    exhaustive,
    optimise,
)
from elsa_sim.joint.uplinks import subproblems


def tiny(seed: int) -> Problem:
    """3 clients, 4 + 3 subchannels, 3 cuts, 2 ranks; with and without barrier, total power and a cap in turn."""
    total, cap = (None, 0.3, 0.1)[seed % 3], (None, 6.0)[seed // 3 % 2]
    return problem(seed, barrier=seed % 2 == 0, total=total, cap=cap)


def least(given: Problem) -> float:
    """The least T of all (s): every assignment, with powers by water-filling, exact where there is one maximum."""

    def owners(link: Uplink) -> list[Any]:
        clients, count = link.gain.shape
        return [np.array(each) for each in product(range(clients), repeat=count) if len(set(each)) == clients]

    totals, choices = [], [owners(given.main), owners(given.fed_server)]
    for pair, load in given.loads.items():
        *both, rest = subproblems(given, load)
        parts = [
            min(subproblem.bound(each)[0] for each in every) for subproblem, every in zip(both, choices, strict=True)
        ]
        totals.append(given.rounds[pair[1]] * (sum(parts) + rest))
    return min(totals)


@cache
def found_for(seed: int) -> Result:
    """What the optimiser finds, once for all that compare it."""
    return optimise(tiny(seed))


@pytest.mark.parametrize("instances", [24, pytest.param(100, marks=pytest.mark.slow)])
def test_near_brute_force(instances: int) -> None:
    """Within 5 % of brute force (powers in eighths) in at least 95 of 100 instances; budgets kept."""
    ratios = []
    for seed in range(instances):
        given, found = tiny(seed), found_for(seed)
        decision, total = exhaustive(given)
        assert total == pytest.approx(delay(given, decision).total_s)
        ratios.append(found.total_s / total)
        for link, allocation in ((given.main, found.decision.main), (given.fed_server, found.decision.fed_server)):
            sums = np.bincount(allocation.owners, allocation.power, 3)
            assert (sums <= link.limit).all()
            assert link.total is None or allocation.power.sum() <= link.total
    assert np.mean(np.array(ratios) <= 1.05) >= 0.95, sorted(ratios)[-8:]
    assert np.mean(ratios) < 1.0, "powers between the grid's pay"


def test_near_the_exact_optimum() -> None:
    """The harder oracle: every assignment with powers that are not on a grid."""
    ratios = [found_for(seed).total_s / least(tiny(seed)) for seed in range(20)]
    assert min(ratios) > 1.0 - 1e-6, "an oracle that can be beaten is none"
    assert np.mean(np.array(ratios) <= 1.01) >= 0.95, sorted(ratios)[-4:]


@pytest.mark.parametrize("instances", [12, pytest.param(48, marks=pytest.mark.slow)])
def test_better_than_every_baseline_on_average(instances: int) -> None:
    totals: dict[str, list[float]] = {name: [] for name in ("optimised", *BASELINES)}
    for seed in range(instances):
        given = tiny(seed)
        totals["optimised"].append(found_for(seed).total_s)
        for name in BASELINES:
            totals[name].append(baseline(name, given, np.random.default_rng(seed)).total_s)
    mean = {name: float(np.mean(each)) for name, each in totals.items()}
    best = mean.pop("optimised")
    assert all(best < other for other in mean.values()), (best, mean)
    assert mean["all at random"] == max(mean.values())


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_a_baseline_holds_what_it_is_named_for(name: str) -> None:
    """The same draw decides the same; what is at random is not what is optimised, and differs between draws."""
    given = problem(5, 3, (8, 7), 4, (1, 2, 4, 8))
    found = [baseline(name, given, np.random.default_rng(seed)).decision for seed in range(6)]
    again = baseline(name, given, np.random.default_rng(0)).decision
    assert again.pair == found[0].pair
    assert again.main.owners.tolist() == found[0].main.owners.tolist()
    varies = {
        "random subchannels": len({tuple(each.main.owners.tolist()) for each in found}),
        "random cut": len({each.cut for each in found}),
        "random rank": len({each.rank for each in found}),
    }
    if name == "all at random":
        assert min(varies.values()) > 1
    elif name in varies:
        assert varies[name] > 1
    if name in ("equal power", "equal subchannels, power", "all at random"):
        powers = [each.main.power[each.main.owners == k] for each in found for k in range(3)]
        assert all(np.ptp(power) < 1e-12 for power in powers)


@pytest.mark.parametrize("subchannels", [(8, 7), (3, 6)])
def test_equal_subchannels_and_power_by_hand(subchannels: tuple[int, int]) -> None:
    """Round robin on both uplinks, a limit spread over one's subchannels and scaled to the total; the best pair for that."""
    given = problem(5, 3, subchannels, 4, (1, 2, 4, 8), total=0.2)
    found = baseline("equal subchannels, power", given, np.random.default_rng(0))
    held = []
    for link, allocation in ((given.main, found.decision.main), (given.fed_server, found.decision.fed_server)):
        owners = np.arange(link.gain.shape[1]) % 3
        each = link.limit * min(1.0, 0.2 / link.limit.sum()) / np.bincount(owners)
        assert allocation.owners.tolist() == owners.tolist()
        np.testing.assert_allclose(allocation.power, each[owners], rtol=1e-12)
        held.append(Allocation(owners, each[owners]))
    totals = {pair: delay(given, Decision(*pair, *held)).total_s for pair in given.loads}
    assert found.total_s == pytest.approx(min(totals.values()), rel=1e-12)
    assert found.decision.pair == min(totals, key=lambda pair: totals[pair])
    assert found.total_s >= max(
        optimise(given).total_s, baseline("equal power", given, np.random.default_rng(0)).total_s
    )


def test_brute_force_by_hand() -> None:
    """Two clients, two subchannels, each heard on one only: the others are no choice, and power is all of it."""
    given = problem(0, 2, (2, 2), 1, (2,), total=None)
    gain = np.array([[1e-10, 0.0], [0.0, 1e-10]])
    given = replace(given, main=replace(given.main, gain=gain), fed_server=replace(given.fed_server, gain=gain[::-1]))
    decision, _ = exhaustive(given, levels=4)
    assert decision.main.owners.tolist() == [0, 1]
    assert decision.fed_server.owners.tolist() == [1, 0]
    assert decision.main.power.tolist() == given.main.limit.tolist()
    worse = Decision(
        decision.cut, decision.rank, Allocation(decision.main.owners, decision.main.power / 2), decision.fed_server
    )
    assert delay(given, worse).total_s > delay(given, decision).total_s
    deaf = replace(given, main=replace(given.main, gain=gain * 0.0))
    with pytest.raises(InputError, match="no assignment"):
        exhaustive(deaf)
    with pytest.raises(InputError, match="too many"):
        exhaustive(problem(0, 5, (20, 20)))
