"""The law suite: every link model, those of plugins included, is held to what makes an allocation physical."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_sim.links import LinkModel, MaxMin

MODELS = sorted(LinkModel.members)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Routes over up to 6 channels, and their capacities; a capacity may be 0 (an outage)."""
    n = draw(st.integers(1, 6))
    capacity = st.one_of(st.just(0.0), st.floats(1.0, 1e9), st.sampled_from([1e6, 2e6]))
    routes = st.lists(st.lists(st.integers(0, n - 1), max_size=4, unique=True).map(tuple), max_size=8)
    return draw(routes), np.array(draw(st.lists(capacity, min_size=n, max_size=n)))


def load(routes: list[tuple[int, ...]], rates: np.ndarray, channels: int) -> np.ndarray:
    """The sum of the rates over every channel."""
    total = np.zeros(channels)
    for route, rate in zip(routes, rates, strict=True):
        for channel in route:
            total[channel] += rate
    return total


@pytest.mark.parametrize("kind", MODELS)
@given(problem=problems())
def test_rates_are_physical(kind: str, problem: tuple[list[tuple[int, ...]], np.ndarray]) -> None:
    """No rate is negative or above the least capacity of its route, and no channel is over capacity."""
    routes, capacities = problem
    model = LinkModel.members[kind]()
    assert isinstance(model, LinkModel)
    before = capacities.copy()
    rates = model.allocate(routes, capacities)
    assert np.array_equal(before, capacities), "a pure function does not write to its arguments"
    assert rates.shape == (len(routes),)
    for route, rate in zip(routes, rates, strict=True):
        assert 0.0 <= rate <= min((capacities[c] for c in route), default=np.inf) * (1 + 1e-12)
        assert route or rate == np.inf
    if model.shares:
        crossing = [r for r in routes if r]
        over = load(crossing, np.array([x for r, x in zip(routes, rates, strict=True) if r]), len(capacities))
        assert (over <= capacities * (1 + 1e-9) + 1e-9).all()


@pytest.mark.parametrize("kind", MODELS)
def test_a_flow_alone_gets_its_bottleneck(kind: str) -> None:
    rates = LinkModel.members[kind]().allocate([(0, 2)], np.array([5.0, 1.0, 3.0]))  # type: ignore[attr-defined]
    assert rates.tolist() == [3.0]


@pytest.mark.parametrize("kind", MODELS)
@given(problem=problems())
def test_every_model_is_deterministic(kind: str, problem: tuple[list[tuple[int, ...]], np.ndarray]) -> None:
    model = LinkModel.members[kind]()
    assert isinstance(model, LinkModel)
    assert np.array_equal(model.allocate(*problem), model.allocate(*problem))


@given(problem=problems())
def test_max_min_gives_every_flow_a_bottleneck(problem: tuple[list[tuple[int, ...]], np.ndarray]) -> None:
    """The definition: every flow crosses a full channel on which no flow is faster (Bertsekas and Gallager, 6.5.2)."""
    routes, capacities = problem
    rates = MaxMin().allocate(routes, capacities)
    crossing = [(r, x) for r, x in zip(routes, rates, strict=True) if r]
    total = load([r for r, _ in crossing], np.array([x for _, x in crossing]), len(capacities))
    for route, rate in crossing:
        fastest = {c: max(x for r, x in crossing if c in r) for c in route}
        assert any(total[c] >= capacities[c] * (1 - 1e-9) and fastest[c] <= rate * (1 + 1e-9) + 1e-12 for c in route)


def test_max_min_closed_form() -> None:
    """The parking lot: one long flow and one per hop share each hop alike; the rest of the wide hop goes to its own."""
    rates = MaxMin().allocate([(0, 1, 2), (0,), (1,), (2,)], np.array([10.0, 10.0, 30.0]))
    assert rates.tolist() == [5.0, 5.0, 5.0, 25.0]


def test_max_min_counts_a_channel_crossed_twice_twice() -> None:
    assert MaxMin().allocate([(0, 0), (0,)], np.array([9.0])).tolist() == [3.0, 3.0]


def test_equal_share_leaves_what_max_min_uses() -> None:
    routes, capacities = [(0, 1), (1,)], np.array([2.0, 10.0])
    assert LinkModel.members["equal-share"]().allocate(routes, capacities).tolist() == [2.0, 5.0]  # type: ignore[attr-defined]
    assert MaxMin().allocate(routes, capacities).tolist() == [2.0, 8.0]


def test_fifo_serves_the_first() -> None:
    rates = LinkModel.members["fifo"]().allocate([(0,), (0,), (1,)], np.array([4.0, 5.0]))  # type: ignore[attr-defined]
    assert rates.tolist() == [4.0, 0.0, 5.0]


def test_proportional_closed_form() -> None:
    """The parking lot of n hops: the long flow gets 1 / (n + 1) of each hop (Massoulie and Roberts 1999)."""
    model = LinkModel.members["proportional"]()
    rates = model.allocate([(0, 1, 2), (0,), (1,), (2,)], np.array([12.0, 12.0, 12.0]))  # type: ignore[attr-defined]
    assert rates.tolist() == pytest.approx([3.0, 9.0, 9.0, 9.0], rel=1e-6)
    assert model.allocate([(0,), (0,), (0, 1)], np.array([9.0, 1.0])).tolist() == pytest.approx([4.0, 4.0, 1.0])  # type: ignore[attr-defined]


@given(problem=problems())
def test_proportional_leaves_no_gain(problem: tuple[list[tuple[int, ...]], np.ndarray]) -> None:
    """The definition: going to any other allocation, here max-min's, the relative gains sum up to nothing or less."""
    routes, capacities = problem
    model = LinkModel.members["proportional"]()
    rates = model.allocate(routes, capacities)  # type: ignore[attr-defined]
    other = MaxMin().allocate(routes, capacities)
    flowing = np.array([bool(r) and x > 0 for r, x in zip(routes, rates, strict=True)], dtype=bool)
    assert float(((other[flowing] - rates[flowing]) / rates[flowing]).sum()) <= 1e-4
