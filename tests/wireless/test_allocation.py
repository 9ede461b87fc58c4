"""The law suite of allocators, those of plugins included, and what each of them is for; explicit assignments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_sim.wireless import Allocator, Best, ByNeed, Demand, Equal, Greedy, Random, Subcarriers

KINDS = sorted(Allocator.members)


def demand(gain: Any, need: Any = None, power: float = 1.0, noise: float = 1e-15) -> Demand:
    gain = np.asarray(gain, dtype=np.float64)
    need = np.ones(len(gain)) if need is None else np.asarray(need, dtype=np.float64)
    return Demand(gain, need, np.full(len(gain), power), 1e6, noise)


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    clients, subchannels = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    gain = random.choice([1e-12, 1e-9, 1e-7], (clients, 1)) * random.standard_exponential((clients, subchannels))
    if draw(st.booleans()):
        gain[:] = gain[:1, :1]  # ties
    need = random.choice([1.0, 10.0, 1e6], clients)
    return Demand(gain, need, random.choice([0.01, 1.0], clients), 1e6, 1e-15, split=draw(st.booleans()))


def given_to(kind: str, problem: Demand, seed: int = 0) -> list[int]:
    allocator = Allocator.members[kind]()
    assert isinstance(allocator, Allocator)
    return [int(k) for k in allocator.allocate(problem, np.random.default_rng(seed))]


@pytest.mark.parametrize("kind", KINDS)
@given(problem=demands())
def test_every_subchannel_has_one_owner_and_every_client_a_subchannel(kind: str, problem: Demand) -> None:
    """The laws: one valid owner each; nobody without one if there are enough; same answer to the same question."""
    clients, subchannels = problem.gain.shape
    before = problem.gain.copy()
    owners = given_to(kind, problem)
    assert len(owners) == subchannels
    assert all(-1 <= k < clients for k in owners)
    assert len(set(owners) - {-1}) == clients or subchannels < clients
    assert owners == given_to(kind, problem)
    assert (problem.gain == before).all()


@pytest.mark.parametrize("kind", KINDS)
@given(problem=demands())
def test_powers_and_rates_of_every_allocation_are_physical(kind: str, problem: Demand) -> None:
    """On the subcarriers of a station: the power of each client is what it has, all of it; each with a subchannel has a rate."""
    clients, size = problem.gain.shape
    names = tuple(f"c{k}" for k in range(clients))
    limits = dict(zip(names, problem.power.tolist(), strict=True))
    for subcarriers in Subcarriers("s", "up", size, 1e6), Subcarriers("s", "down", size, 1e6, 2.0):
        question = replace(problem, split=subcarriers.budget is None)
        allocator = Allocator.members[kind]()
        assert isinstance(allocator, Allocator)
        for block in range(4):
            subcarriers.allocate(names, question, allocator, block, lambda: np.random.default_rng(0))
            assert subcarriers.check(limits) == []
            powers = subcarriers.powers(limits)
            rates = subcarriers.rates(names, question, limits)
            for k, name in enumerate(names):
                assert (rates[k] > 0.0) == bool(len(subcarriers.of(name)))
                if subcarriers.budget is None and len(subcarriers.of(name)):
                    assert powers[subcarriers.of(name)].sum() == pytest.approx(limits[name])
                    assert rates[k] == pytest.approx(question.rate_of(k, subcarriers.of(name)))
            if subcarriers.budget is not None:
                assert powers.sum() == pytest.approx(2.0)


def test_equal() -> None:
    assert given_to("equal", demand(np.ones((3, 7)))) == [0, 1, 2, 0, 1, 2, 0]


def test_proportional() -> None:
    """Needs of 6 : 3 : 1 over 20 subchannels: 12, 6 and 2; of 1e9 : 1 : 1 over 5: 3, 1 and 1."""
    assert np.bincount(given_to("proportional", demand(np.ones((3, 20)), [6, 3, 1]))).tolist() == [12, 6, 2]
    assert np.bincount(given_to("proportional", demand(np.ones((3, 5)), [1e9, 1, 1]))).tolist() == [3, 1, 1]


def test_best_takes_the_best_and_starves_nobody() -> None:
    gain = [[9, 9, 1, 9], [1, 2, 9, 3], [0.1, 0.1, 0.2, 0.3]]
    assert given_to("best", demand(gain)) == [0, 0, 1, 2]
    random = np.random.default_rng(0)
    problem = demand(random.standard_exponential((4, 32)) * 1e-9)
    owners = np.array(given_to("best", problem))
    assert (owners == problem.gain.argmax(axis=0)).all()


def slowest(problem: Demand, owners: list[int]) -> float:
    """The longest time that any client needs."""
    return max(
        need / problem.rate_of(k, np.flatnonzero(np.array(owners) == k)) for k, need in enumerate(problem.need.tolist())
    )


def test_greedy_serves_the_slowest() -> None:
    """Fading, near and far clients, unequal needs: the slowest is far quicker than under every simpler allocator."""
    random = np.random.default_rng(4)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for i in range(40):
        gain = 10.0 ** -random.uniform(9, 11.5, (5, 1)) * random.standard_exponential((5, 20))
        problem = demand(gain, random.uniform(1e5, 1e7, 5), 0.2, noise=2e-20)
        for kind in KINDS:
            times[kind].append(slowest(problem, given_to(kind, problem, seed=i)))
    mean = {kind: float(np.mean(np.log(each))) for kind, each in times.items()}
    assert mean["greedy"] < min(m for kind, m in mean.items() if kind not in ("greedy", "min_delay")) - 0.1
    assert mean["min_delay"] < mean["greedy"]
    assert mean["proportional"] < mean["equal"]


def test_greedy_leaves_what_would_cost_a_client_rate() -> None:
    """At a low SNR the rate is in the power: a second subchannel, heard at half, would cost a quarter of it."""
    assert given_to("greedy", demand([[1e-13, 5e-14, 5e-14]])) == [0, -1, -1]
    assert given_to("greedy", demand([[1e-5, 5e-6, 5e-6]])) == [0, 0, 0]


def test_random_is_fair_on_average() -> None:
    counts = sum(np.bincount(given_to("random", demand(np.ones((4, 10))), seed), minlength=4) for seed in range(400))
    assert np.asarray(counts) / 4000 == pytest.approx(0.25, abs=0.02)
    assert given_to("random", demand(np.ones((4, 10))), 1) != given_to("random", demand(np.ones((4, 10))), 2)


def test_which_look_at_gains() -> None:
    assert {a.looks for a in (Best(), Greedy())} == {True}
    assert {a.looks for a in (Equal(), ByNeed(), Random())} == {False}


@pytest.mark.parametrize(("total", "expected"), [(None, [0.1, 0.2]), (0.15, [0.05, 0.1]), (0.6, [0.1, 0.2])])
def test_even_powers_are_scaled_down_to_the_total_and_never_up(total: float | None, expected: list[float]) -> None:
    one = Demand(np.ones((2, 3)), np.ones(2), np.array([0.1, 0.2]), 1e6, 1e-20, total=total)
    assert one.even.tolist() == pytest.approx(expected)
    assert replace(one, split=False).even.tolist() == [0.1, 0.2]
