"""The law suite: every link model, those of plugins included, is held to what makes an allocation physical."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from link_problems import EVERY, Problem, flows, load, problems

from elsa_sim.links import Ideal, LinkModel, MaxMin

each_model = pytest.mark.parametrize("model", EVERY, ids=lambda model: model.kind)


@each_model
@given(problem=problems())
def test_rates_are_physical(model: LinkModel, problem: Problem) -> None:
    """No rate is negative or above the least capacity of its route, and no channel is over capacity."""
    given, capacities = problem
    before, latencies = capacities.copy(), given.latencies.copy()
    rates = model.allocate(given, capacities)
    assert np.array_equal(before, capacities), "a pure function does not write to its arguments"
    assert np.array_equal(latencies, given.latencies)
    assert rates.shape == (len(given.routes),)
    for route, rate in zip(given.routes, rates, strict=True):
        assert 0.0 <= rate <= min((capacities[c] for c in route), default=np.inf) * (1 + 1e-12)
        assert route or rate == np.inf
    if model.shares:
        assert (load(given, rates, len(capacities)) <= capacities * (1 + 1e-9) + 1e-9).all()


@each_model
@given(problem=problems())
def test_every_model_is_deterministic_and_knows_no_units(model: LinkModel, problem: Problem) -> None:
    """The same again, and four times the rates for four times the capacities."""
    given, capacities = problem
    rates = model.allocate(given, capacities)
    assert np.array_equal(rates, model.allocate(given, capacities))
    np.testing.assert_allclose(model.allocate(given, 4.0 * capacities), 4.0 * rates, rtol=1e-6)


@each_model
def test_a_flow_alone_gets_its_bottleneck(model: LinkModel) -> None:
    rates = model.allocate(flows((0, 2), latencies=[0.1]), np.array([5.0, 1.0, 3.0]))
    assert rates.tolist() == pytest.approx([3.0], rel=1e-15)


@pytest.mark.parametrize("model", [m for m in EVERY if m.max_min], ids=lambda model: model.kind)
@given(problem=problems())
def test_who_declares_max_min_is_max_min(model: LinkModel, problem: Problem) -> None:
    """What the incremental engine relies on: every flow crosses a full channel on which no flow is faster (Bertsekas and
    Gallager, 6.5.2), whatever the latencies."""
    given, capacities = problem
    rates = model.allocate(given, capacities)
    total = load(given, rates, len(capacities))
    for route, rate in zip(given.routes, rates, strict=True):
        fastest = {c: max(x for r, x in zip(given.routes, rates, strict=True) if c in r) for c in route}
        assert not route or any(
            total[c] >= capacities[c] * (1 - 1e-9) and fastest[c] <= rate * (1 + 1e-9) + 1e-12 for c in route
        )


def test_a_subclass_that_allocates_anew_declares_anew() -> None:
    """Else the engine would compute plain max-min in its place; a mixin, and what comes after it, counts as well."""
    before = dict(LinkModel.members)

    class Same(MaxMin):
        kind: Literal["same"] = "same"  # type: ignore[assignment]

    class Halved(MaxMin):
        kind: Literal["halved"] = "halved"  # type: ignore[assignment]

        def allocate(self, flows: Any, capacities: Any) -> Any:
            return super().allocate(flows, capacities) / 2.0

    class Declared(Halved):
        kind: Literal["declared"] = "declared"  # type: ignore[assignment]
        max_min = True

        def allocate(self, flows: Any, capacities: Any) -> Any:
            return 2.0 * super().allocate(flows, capacities)

    class Half:
        allocate = Halved.allocate

    class Mixed(Half, MaxMin):
        kind: Literal["mixed"] = "mixed"  # type: ignore[assignment]

    LinkModel.members.clear()
    LinkModel.members.update(before)
    assert [m.max_min for m in (MaxMin, Same, Halved, Declared, Mixed)] == [True, True, False, True, False]
    assert not LinkModel.max_min
    assert not Ideal.max_min


def test_a_model_of_two_sequences_fails_at_once() -> None:
    """Older plugins took routes in place of flows: they must not go on with something else in their hands."""
    given = flows((0,), (0,))
    with pytest.raises(TypeError, match="Flows"):
        iter(given)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="Flows"):
        len(given)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Flows"):
        given[0]  # type: ignore[index]


def test_a_round_trip_is_there_and_back() -> None:
    assert flows((0,), (1,), latencies=[0.01, 0.25]).round_trips.tolist() == [0.02, 0.5]
