"""Assignment of clients to edge servers: optimal against brute force, and what each objective asks for."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.learning.clustering.assign import Behaviour, Diverse, Nearest, Random, Similar, solve, stands_for


def uneven(groups: np.ndarray, chosen: np.ndarray, columns: int) -> float:
    """Clients beyond the even share of their group, and places of it that are not taken."""
    total = 0.0
    for g in range(groups.max() + 1):
        share = (groups == g).sum() / columns
        counts = np.bincount(chosen[groups == g], minlength=columns)
        total += np.maximum(counts - np.ceil(share), 0).sum() + np.maximum(np.floor(share) - counts, 0).sum()
    return float(total)


def brute(cost: np.ndarray, allowed: np.ndarray, capacity: int, groups: np.ndarray | None, weight: float) -> float:
    """The least total cost over all assignments; infinite if there is none."""
    rows, columns = cost.shape
    best = np.inf
    for each in product(range(columns), repeat=rows):
        chosen = np.array(each)
        if np.bincount(chosen).max() > capacity or not allowed[np.arange(rows), chosen].all():
            continue
        total = cost[np.arange(rows), chosen].sum()
        best = min(best, total + (0.0 if groups is None else weight * uneven(groups, chosen, columns)))
    return best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 3), st.booleans())
def test_it_is_optimal_against_brute_force(seed: int, rows: int, columns: int, grouped: bool) -> None:
    rng = np.random.default_rng(seed)
    cost, allowed = rng.random((rows, columns)), rng.random((rows, columns)) < 0.8
    capacity, weight = int(rng.integers(1, rows + 1)), float(rng.random() * 2)
    groups = np.unique(rng.integers(0, 3, rows), return_inverse=True)[1] if grouped else None
    expected = brute(cost, allowed, capacity, groups, weight)
    if expected == np.inf:
        with pytest.raises(ValueError, match="no assignment"):
            solve(cost, allowed, capacity, groups=groups, uneven=weight)
        return
    chosen = solve(cost, allowed, capacity, groups=groups, uneven=weight)
    assert allowed[np.arange(rows), chosen].all()
    assert np.bincount(chosen).max() <= capacity
    found = cost[np.arange(rows), chosen].sum() + (0.0 if groups is None else weight * uneven(groups, chosen, columns))
    assert found == pytest.approx(expected, abs=1e-9)


def planted(clients: int, count: int, seed: int) -> Behaviour:
    groups = np.unique(np.arange(clients) % count, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    found = np.where(groups[:, None] == groups[None, :], 0.1, 4.0) * rng.uniform(0.9, 1.1, (clients, clients))
    found = (found + found.T) / 2
    np.fill_diagonal(found, 0)
    return Behaviour(found, groups)


RNG = np.random.default_rng(0)
LATENCY = np.random.default_rng(3).uniform(0.005, 0.02, (12, 3))


def test_nearest_is_of_least_latency_within_capacity() -> None:
    behaviour = planted(12, 3, 0)
    assert Nearest().assign(LATENCY, behaviour, RNG).tolist() == LATENCY.argmin(1).tolist()
    tight = Nearest(capacity=4).assign(LATENCY, behaviour, RNG)
    assert np.bincount(tight).tolist() == [4, 4, 4]
    equal = np.ones((6, 3))
    assert Nearest().assign(equal, planted(6, 2, 0), RNG).tolist() == [0] * 6  # the first among equals


@pytest.mark.parametrize("count", [2, 3])
def test_similar_puts_a_group_on_one_edge_server(count: int) -> None:
    behaviour = planted(12, count, 1)
    chosen = Similar().assign(LATENCY[:, :count], behaviour, RNG)
    assert [len(set(chosen[behaviour.groups == g])) for g in range(count)] == [1] * count
    assert len(set(chosen)) == count
    assert Similar(weight=0.0).assign(LATENCY, behaviour, RNG).tolist() == LATENCY.argmin(1).tolist()


def test_similar_with_more_or_fewer_edge_servers_than_groups() -> None:
    two, five = planted(12, 2, 2), planted(12, 5, 2)
    assert sorted(g for groups in stands_for(LATENCY, two.groups) for g in groups) in ([0, 0, 1], [0, 1, 1])
    held = stands_for(LATENCY, five.groups)
    assert sorted(g for groups in held for g in groups) == list(range(5))
    assert all(held)
    for behaviour in (two, five):
        chosen = Similar(weight=1.0).assign(LATENCY, behaviour, RNG)
        held = stands_for(LATENCY, behaviour.groups)
        assert all(g in held[k] for g, k in zip(behaviour.groups, chosen, strict=True))


def test_groups_go_where_they_are_near() -> None:
    groups = np.array([0, 0, 0, 1, 1, 1])
    latency = np.array([[9.0, 1.0]] * 3 + [[1.0, 9.0]] * 3)
    assert stands_for(latency, groups) == [[1], [0]]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_diverse_shows_every_group_to_every_edge_server(count: int) -> None:
    behaviour = planted(12, count, 4)
    chosen = Diverse().assign(LATENCY, behaviour, RNG)
    for g in range(count):
        shares = np.bincount(chosen[behaviour.groups == g], minlength=3)
        assert shares.max() - shares.min() <= 1
    assert Diverse(weight=0.0).assign(LATENCY, behaviour, RNG).tolist() == LATENCY.argmin(1).tolist()


@pytest.mark.parametrize("kind", [Nearest, Random, Similar, Diverse])
def test_capacity_and_latency_bound_hold(kind: type[Nearest]) -> None:
    assigner = kind(capacity=5, latency_bound=0.016)
    chosen = assigner.assign(LATENCY, planted(12, 3, 5), np.random.default_rng(1))
    assert np.bincount(chosen).max() <= 5
    assert LATENCY[np.arange(12), chosen].max() <= 0.016
    assert not list(assigner.faults(LATENCY))


def test_random_is_drawn_anew() -> None:
    rng, behaviour = np.random.default_rng(1), planted(12, 3, 0)
    first, second = (Random(capacity=4).assign(LATENCY, behaviour, rng).tolist() for _ in range(2))
    assert first != second
    assert first == Random(capacity=4).assign(LATENCY, behaviour, np.random.default_rng(1)).tolist()


def test_what_cannot_be_is_said() -> None:
    assert "at least 4" in next(Nearest(capacity=3).faults(LATENCY))
    assert "without an edge server" in next(Nearest(latency_bound=0.001).faults(LATENCY))
    one_way = np.array([[1.0, 9.0], [1.0, 9.0], [9.0, 1.0]])
    assert "raise one" in next(Nearest(capacity=2, latency_bound=5.0).faults(np.vstack([one_way, one_way[:1]])))
    assert not list(Nearest(capacity=2, latency_bound=5.0).faults(one_way))
