"""Incremental max-min against the one that shares everything anew, on each of its ways to level groups."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from elsa_sim.links import MaxMin
from elsa_sim.network import incremental
from elsa_sim.network.airtime import AirtimeCounter
from elsa_sim.network.fluid import Flow, Fluid, ResolveAll
from elsa_sim.network.groups import Group
from elsa_sim.network.incremental import IncrementalMaxMin
from elsa_sim.network.progressive_filling import fill
from elsa_sim.network.table import Table

#: (connected groups that plain Python may level, corrections before filling flow by flow decides)
WAYS = {"few": (10**9, 12), "many": (-1, 12), "both": (2, 12), "by flow, few": (10**9, 0), "by flow, many": (-1, 0)}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    few, tries = WAYS[request.param]
    monkeypatch.setattr(IncrementalMaxMin, "FEW", few)
    monkeypatch.setattr(IncrementalMaxMin, "TRIES", tries)
    return str(request.param)


class Race:
    """Two fluids that get the same flows and changes, compared after every step."""

    def __init__(self, capacities: list[float]) -> None:
        self.fluids: list[Fluid] = [IncrementalMaxMin(capacities), ResolveAll(capacities, MaxMin())]
        self.flows: list[dict[int, Flow]] = [{}, {}]
        self.counters = {fluid: AirtimeCounter() for fluid in self.fluids}
        self.spent = 0.0
        self.now = 0.0

    def each(self, do: Callable[[Fluid, dict[int, Flow]], Any]) -> tuple[Any, Any]:
        first, second = (do(fluid, mine) for fluid, mine in zip(self.fluids, self.flows, strict=True))
        return first, second

    def enter(self, order: int, route: tuple[int, ...], bits: float, cap: float) -> None:
        def do(fluid: Fluid, mine: dict[int, Flow]) -> None:
            mine[order] = Flow(route, bits, order, order, cap, (self.counters[fluid],))
            fluid.enter(mine[order], self.now)

        self.each(do)

    def leave(self, order: int) -> None:
        def do(fluid: Fluid, mine: dict[int, Flow]) -> float:
            flow = mine.pop(order)
            fluid.leave(flow, self.now)
            return flow.left

        gone = self.flows[0][order]
        self.same(*self.each(do))
        self.spent += gone.spent[0]

    def same(self, one: float, other: float) -> None:
        assert one == pytest.approx(other, rel=1e-7, abs=1e-3)

    def settle(self, most: float) -> None:
        """Settle, compare everything, and go on to the next completion, but by no more than ``most``."""

        def done(fluid: Fluid, mine: dict[int, Flow]) -> tuple[list[int], list[float]]:
            orders = [flow.order for flow in fluid.settle(self.now)]
            return orders, [mine.pop(order).spent[0] for order in orders]

        (first, spent), (second, other) = self.each(done)
        assert first == second
        assert spent == pytest.approx(other, rel=1e-6, abs=1e-6)
        self.spent += sum(spent)
        for order in self.flows[0]:
            self.same(*self.each(lambda fluid, mine, order=order: fluid.left(mine[order], self.now)))  # type: ignore[misc]
        times = self.each(lambda fluid, mine: fluid.next_time())
        assert times[0] == pytest.approx(times[1], rel=1e-9, abs=1e-9)
        self.now = min(max(times), self.now + most)


def play(seed: int, channels: int) -> Race:
    """Random arrivals, aborts and changes of capacity over random routes, until everything has ended."""
    rng = random.Random(seed)
    capacities = [rng.choice([1e6, 3e6, 1e7, rng.uniform(1e5, 1e7)]) for _ in range(channels)]
    race = Race(capacities)
    for step in range(100):
        for i in range(rng.choice([0, 1, 1, 3])):
            route = tuple(rng.sample(range(channels), rng.randint(1, min(4, channels))))
            route += route[:1] if rng.random() < 0.05 else ()
            bits, cap = rng.choice([1.0, 1e5, 1e6, rng.uniform(1, 1e7)]), rng.choice([math.inf] * 4 + [2e5])
            race.enter(10 * step + i, route, bits, cap)
        if rng.random() < 0.15:
            channel, capacity = rng.randrange(channels), rng.choice([0.0, 5e5, 4e6])
            for fluid in race.fluids:
                fluid.set_capacity(channel, capacity, race.now)
        if rng.random() < 0.1 and race.flows[0]:
            race.leave(rng.choice(sorted(race.flows[0])))
        race.settle(rng.choice([0.01, 0.2, 10.0]))
    for fluid in race.fluids:
        for channel, capacity in enumerate(capacities):
            fluid.set_capacity(channel, capacity, race.now)
    for _ in range(1000):
        if race.flows[0]:
            race.settle(math.inf)
    return race


@pytest.mark.parametrize("channels", [1, 3, 8, 25])
@pytest.mark.parametrize("seed", range(3))
def test_both_fluids_agree(way: str, seed: int, channels: int) -> None:
    race = play(seed, channels)
    assert race.flows == [{}, {}]
    assert 0.0 < race.spent <= race.now * (1.0 + 1e-9)  # shared time, not one second per flow and second
    assert race.fluids[0].drained == pytest.approx(race.fluids[1].drained, rel=1e-6)
    assert race.fluids[0].over == race.fluids[1].over == []


def test_an_idle_fluid_keeps_nothing() -> None:
    """After the last flow there is no group, no contended channel and no rate left."""
    fluid = play(3, 8).fluids[0]
    assert isinstance(fluid, IncrementalMaxMin)
    assert not fluid._groups
    assert not fluid._on
    assert not any(fluid._slot)
    assert not any(fluid._users)
    assert fluid._rate == 0.0


def test_clocks_begin_again_before_they_get_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elsa_sim.network.groups._REBASE", 1e5)
    assert play(5, 3).flows == [{}, {}]


def test_the_race_sees_a_wrong_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the engine on purpose: flows that are never held at their limit, and levels that are a little off."""
    monkeypatch.setattr(Group, "adjust", lambda self, now, level: False)
    with pytest.raises(AssertionError):
        play(1, 8)
    monkeypatch.undo()
    monkeypatch.setattr(incremental, "fill", lambda *given: ([x * 1.00001 for x in fill(*given)[0]], True))
    with pytest.raises(AssertionError):
        play(1, 8)


def crowd(seed: int, detours: bool = False) -> Race:
    """200 flows over 60 channels that leave one by one: most of what others do does not touch most of them."""
    rng = random.Random(seed)
    race = Race([rng.uniform(1e6, 1e8) for _ in range(60)])

    def route(most: int, least: int = 1) -> tuple[int, ...]:
        found = tuple(rng.sample(range(60), rng.randint(least, most)))
        return found * 2 if detours and rng.random() < 0.3 else found

    for order in range(200):
        race.enter(order, route(4), rng.uniform(1e6, 1e7), math.inf)
    for order in range(200, 260):
        race.settle(0.05)
        if rng.random() < 0.3:
            race.enter(order, route(3, 3), rng.uniform(1e6, 1e7), math.inf)
        if rng.random() < 0.2:
            channel, capacity = rng.randrange(60), rng.uniform(1e6, 1e8)
            for fluid in race.fluids:
                fluid.set_capacity(channel, capacity, race.now)
    for _ in range(300):
        if race.flows[0]:
            race.settle(math.inf)
    return race


@pytest.mark.parametrize("seed", range(4))
def test_both_fluids_agree_on_a_crowd(seed: int) -> None:
    assert crowd(seed).flows == [{}, {}]


def test_the_crowd_sees_a_level_that_is_kept_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the engine on purpose: as if what happens did not matter up to twice the level from which on it does."""
    floor = IncrementalMaxMin._floor
    monkeypatch.setattr(IncrementalMaxMin, "_floor", lambda self: 2.0 * floor(self))
    with pytest.raises(AssertionError):
        crowd(0)


def test_a_flow_alone_contends_for_nothing() -> None:
    """Private channels only limit; a channel is contended from its second flow on, until it is empty."""
    fluid = IncrementalMaxMin([8.0, 4.0, 6.0])
    first, second = Flow((0, 1), 8.0, 0, None), Flow((1, 2), 16.0, 1, None)
    fluid.enter(first, 0.0)
    assert fluid.settle(0.0) == []
    assert (list(fluid._groups), first.limit, fluid.next_time()) == ([()], 4.0, 2.0)
    fluid.enter(second, 1.0)
    fluid.settle(1.0)
    assert (set(fluid._on), list(fluid._groups)) == ({1}, [(1,)])
    assert (first.limit, second.limit, fluid.next_time()) == (8.0, 6.0, 3.0)
    assert fluid.settle(3.0) == [first]
    assert fluid._on.keys() == {1}
    assert fluid.next_time() == 3.0 + 12.0 / 4.0
    assert fluid.settle(6.0) == [second]
    assert not fluid._on


def test_who_has_left_a_private_channel_runs_no_counter() -> None:
    """What becomes of the channel later is nobody's sending time."""
    counter = AirtimeCounter()
    fluid = IncrementalMaxMin([8.0])
    first, second = (Flow((0,), 8.0, i, None, math.inf, (counter,)) for i in range(2))
    fluid.enter(first, 0.0)
    fluid.settle(0.0)
    assert fluid.settle(1.0) == [first]
    fluid.set_capacity(0, 0.0, 2.0)
    fluid.set_capacity(0, 8.0, 3.0)
    fluid.enter(second, 4.0)
    fluid.settle(4.0)
    assert fluid.settle(5.0) == [second]
    assert (first.spent, second.spent) == ([1.0], [1.0])


@pytest.mark.parametrize("few", [10**9, -1])
def test_channels_over_capacity_are_told(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the solvers on purpose: they say that what they found does not fit. Ten times is enough."""
    monkeypatch.setattr(IncrementalMaxMin, "FEW", few)
    monkeypatch.setattr(incremental, "fill", lambda *given: (fill(*given)[0], False))
    whole = Table.fill
    monkeypatch.setattr(Table, "fill", lambda *given: (whole(*given)[0], False))
    fluid = IncrementalMaxMin([8.0])
    for i in range(15):
        fluid.enter(Flow((0,), 1e6, i, None), float(i))
        fluid.settle(float(i))
    assert len(fluid.over) == 10
    assert fluid.over[0] == "a channel carried more than its capacity from 1 s on"


@pytest.mark.parametrize("seed", range(3))
def test_both_fluids_agree_on_a_crowd_of_detours(seed: int) -> None:
    """Flows that cross a channel twice count twice: what stays below an even share of it is touched all the same."""
    assert crowd(seed, detours=True).flows == [{}, {}]


def test_rows_and_slots_of_who_has_left_are_taken_again() -> None:
    """A thousand pairs of flows, one pair after another over changing channels: the table does not grow."""
    fluid = IncrementalMaxMin([8.0] * 50)
    for i in range(1000):
        flows = [Flow((i % 50, (7 * i + 1) % 50), 8.0, 2 * i + j, None) for j in range(2)]
        for flow in flows:
            fluid.enter(flow, 2.0 * i)
        fluid.settle(2.0 * i)
        assert fluid.settle(fluid.next_time()) == flows
    assert len(fluid._table.free) == 16
    assert len(fluid._table.room) <= 8


@pytest.mark.parametrize("few", [10**9, -1])
@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ([(0, 1), (0, 1)], [math.inf, 2.0]),  # one group: its wider channel is not full
        ([(0, 1), (0, 1), (0,)], [5.0, 2.0]),
        ([(0, 1), (0, 1), (0,), (0,)], [2.5, 2.0]),
    ],
)
def test_the_level_at_which_channels_are_full_is_known(
    few: int, routes: list[tuple[int, ...]], expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels of 9 and 4 bit/s; what the next change need not look at depends on it."""
    monkeypatch.setattr(IncrementalMaxMin, "FEW", few)
    fluid = IncrementalMaxMin([9.0, 4.0])
    for i, route in enumerate(routes):
        fluid.enter(Flow(route, 100.0, i, None), 0.0)
    fluid.settle(0.0)
    assert [fluid._table.full.item(fluid._slot[channel]) for channel in (0, 1)] == expected
