"""Power control: the optimality conditions of the convex programme at the answer, budgets, and two independent solvers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from elsa_sim.base.errors import InputError
from elsa_sim.wireless import Demand, Even, Greedy, MinDelay, PowerControl, Powers
from elsa_sim.wireless.convex import case_of
from elsa_sim.wireless.power import minimise, rates
from elsa_sim.wireless.rate import Floats
from elsa_sim.wireless.water_filling import least_delay, least_power, most


def cell(seed: int, clients: int = 5, subchannels: int = 20, **more: Any) -> Demand:
    """Near and far clients with fading, unequal needs (bits), limits (W) and starts (s)."""
    random = np.random.default_rng(seed)
    gain = 10.0 ** -random.uniform(9, 12.5, (clients, 1)) * random.standard_exponential((clients, subchannels))
    known: dict[str, Any] = {
        "need": random.uniform(1e6, 1e8, clients),
        "power": random.uniform(0.05, 0.2, clients),
        "before": random.uniform(0, 3, clients),
        "total": (None, 0.4, 0.05)[seed % 3],
        "cap": (None, 5.0)[seed % 2],
    }
    return Demand(gain, bandwidth=1e6, noise=2e-20, **known | more)


def served(demand: Demand) -> Any:
    return Greedy().allocate(demand, np.random.default_rng(0))


def faults(demand: Demand, owners: Any, before: Floats, weights: Floats, found: Powers) -> dict[str, float]:
    """How far the answer is from the conditions of Karush, Kuhn and Tucker, each relative to its own scale.

    The Lagrangian is in the powers themselves, not in the solver's variables.
    """
    duals, power, rate = found.duals, found.watts, rates(demand, owners, found.watts)
    assert duals is not None
    used = np.flatnonzero(owners >= 0)
    owner = owners[used]
    ratio = demand.gain[owner, used] / (demand.noise * demand.bandwidth)
    slope = demand.bandwidth / np.log(2.0) * ratio / (1.0 + ratio * power[used])
    pull = duals.delay.sum(axis=0)[owner] * demand.need[owner] / rate[owner] ** 2 * slope
    price = duals.limit[owner] + duals.total + duals.cap[used]
    gap = np.where(power[used] > 0.0, np.abs(pull - price), np.maximum(pull - price, 0.0))
    late = before + demand.need / rate
    sums = np.bincount(owner, power[used], len(demand.power))
    room = 0.0 if demand.total is None else demand.total - float(power.sum())
    full = demand.cap or np.inf
    spare = np.maximum(full - np.log2(1.0 + ratio * power[used]), 0.0) if demand.cap else np.zeros(len(used))
    scale = found.delay_s
    return {
        "stationarity": float(gap.max() / max(pull.max(), price.max())),
        "complementary delay": float((duals.delay * (late.max(axis=1, keepdims=True) - late)).max() / scale),
        "complementary limit": float((duals.limit * (demand.power - sums)).max() / scale),
        "complementary total": duals.total * room / scale,
        "complementary cap": float((duals.cap[used] * spare * np.maximum(power[used], 0.0)).max() / scale),
        "dual sums": float(np.abs(duals.delay.sum(axis=1) / weights - 1.0).max()),
        "dual signs": max(0.0, -min(a.min() for a in (duals.delay, duals.limit, duals.cap, np.array(duals.total)))),
        "limits": float((sums / demand.power - 1.0).max()),
        "total": -room,
        "negative power": float(-power.min()),
        "cap": float((np.log2(1.0 + ratio * power[used]) / full).max() - 1.0),
    }


@pytest.mark.parametrize("maxima", [1, 2])
@pytest.mark.parametrize("seed", range(24))
def test_conditions_of_the_optimum_hold(seed: int, maxima: int) -> None:
    """Stationarity, complementarity and the dual's own within 1e-4; budgets to the last bit."""
    demand = cell(seed)
    owners = served(demand)
    before = np.random.default_rng(seed).uniform(0, 3, (maxima, 5))
    weights = np.array([1.0, 7.0][-maxima:])
    found = faults(demand, owners, before, weights, minimise(demand, owners, before, weights))
    exact = ("limits", "total", "negative power")
    assert {name: value for name, value in found.items() if value > (0.0 if name in exact else 1e-4)} == {}


@pytest.mark.parametrize("seed", range(16))
def test_conditions_hold_in_hard_cases(seed: int) -> None:
    """Starts minutes apart, hardly any power for all, maxima that count 1 and 99: what a solver finds hard to scale."""
    demand = cell(seed, 6, 17, total=(0.05, 1e-3, 50.0, None)[seed % 4])
    random = np.random.default_rng(seed)
    before = random.uniform(0, 300, (1, 6)) + random.uniform(0, 10, (2, 6))
    weights = np.array([1.0, 99.0])
    owners = served(replace(demand, before=before.mean(axis=0)))
    found = faults(demand, owners, before, weights, minimise(demand, owners, before, weights))
    assert {name: value for name, value in found.items() if value > 1e-4} == {}


def test_conditions_fail_off_the_optimum() -> None:
    """The check above can fail: even powers are no optimum, nor are others with a percent more on one subchannel."""
    demand = cell(4, total=None, cap=None, power=np.full(5, 5.0))
    owners, before, weights = np.arange(20) % 5, demand.waits[None], np.ones(1)
    best = MinDelay().control(demand, owners)
    assert max(faults(demand, owners, before, weights, best).values()) < 1e-4
    other = best.watts.copy()
    assert best.duals is not None
    latest = int(np.argmax(best.duals.delay[0]))
    first, second = np.flatnonzero((owners == latest) & (other > 0.0))[:2]
    other[first], other[second] = other[first] * 1.02, other[second] - other[first] * 0.02
    for watts in other, Even().control(demand, owners).watts:
        assert faults(demand, owners, before, weights, replace(best, watts=watts))["stationarity"] > 1e-4


@pytest.mark.parametrize("seed", range(12))
def test_solver_and_water_filling_agree(seed: int) -> None:
    """Two ways to the same optimum that share no mathematics but the problem: a conic solver, and Newton on water levels."""
    demand = cell(seed, 4, 12)
    owners = served(demand)
    found = MinDelay().control(demand, owners)
    case = case_of(demand, owners, demand.waits[None], np.ones(1))
    exact = least_delay(case.floor, case.ceiling, case.size, demand.waits, case.limit, case.total)
    assert found.delay_s == pytest.approx(exact, rel=1e-7)
    assert found.delay_s < Even().control(demand, owners).delay_s


def test_water_levels() -> None:
    """Two subchannels with noise 1 and 3 W: 1 W fills the first only, 4 W both to 4 W; a cap pours over."""
    floor = np.log(np.array([[1.0, 3.0]]))
    assert most(floor, np.inf, np.array([1.0])) == pytest.approx(np.log(2.0))
    assert most(floor, np.inf, np.array([4.0])) == pytest.approx(np.log(4.0) + np.log(4.0 / 3.0))
    power, price = least_power(floor, np.inf, np.array([np.log(4.0) + np.log(4.0 / 3.0)]))
    assert (power[0], price[0]) == pytest.approx((4.0, 4.0))
    assert most(floor, np.log(2.0), np.array([2.5])) == pytest.approx(np.log(2.0) + np.log(1.5))
    assert most(floor, np.log(2.0), np.array([9.0])) == pytest.approx(2.0 * np.log(2.0))
    assert least_power(floor, np.log(2.0), np.array([1.4]))[0] == np.inf


def test_one_client_alone() -> None:
    """With one subchannel, all power is on it; no total, no others: the closed form."""
    demand = Demand(np.array([[1e-10]]), np.array([1e7]), np.array([0.1]), 1e6, 4e-21, before=np.array([2.0]))
    found = MinDelay().control(demand, np.array([0]))
    assert found.watts.sum() == pytest.approx(0.1)
    assert found.watts.sum() <= 0.1
    assert found.delay_s == pytest.approx(2.0 + 1e7 / (1e6 * np.log2(1.0 + 0.1e-10 / 4e-15)))


def test_who_has_nothing_to_send_gets_nothing() -> None:
    demand = replace(cell(1, 3, 6), need=np.array([0.0, 1e6, 1e6]))
    owners = np.array([0, 1, 2, 0, 1, 2])
    found = MinDelay().control(demand, owners)
    assert found.watts[[0, 3]].tolist() == [0.0, 0.0]
    assert found.delay_s >= demand.waits[0]


def test_one_answer_whatever_was_asked_before() -> None:
    demand, other = cell(3), cell(9)
    first = MinDelay().control(demand, served(demand)).watts
    MinDelay().control(other, served(other))
    assert (MinDelay().control(demand, served(demand)).watts == first).all()


@pytest.mark.parametrize("kind", sorted(PowerControl.members))
@pytest.mark.parametrize("seed", range(6))
def test_every_control_keeps_the_budgets(kind: str, seed: int) -> None:
    """The laws: within each limit and the total, nothing negative, nothing on what is nobody's, the delay as stated."""
    demand = cell(seed, 4, 9)
    owners = served(demand)
    owners[-1] = -1
    control = PowerControl.members[kind]()
    assert isinstance(control, PowerControl)
    found = control.control(demand, owners)
    sums = [found.watts[owners == k].sum() for k in range(4)]
    assert all(total <= limit for total, limit in zip(sums, demand.power.tolist(), strict=True))
    assert demand.total is None or found.watts.sum() <= demand.total
    assert (found.watts >= 0.0).all()
    assert found.watts[-1] == 0.0
    assert found.delay_s == pytest.approx((demand.waits + demand.need / rates(demand, owners, found.watts)).max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"owners": [0, 0, 1, 1]}, "the uplink: 'c' has no subchannel"),
        ({"power": [0.1, 0.0, 0.1]}, "'b' has a power limit of 0 W"),
        (
            {"gain": [[1e-9] * 4, [1e-9] * 4, [1e-9, 1e-9, 0.0, 0.0]]},
            "'c' has a gain of 0 on every subchannel of its own",
        ),
        ({"total": 0.0}, "the total power is 0 W"),
    ],
)
def test_what_cannot_be_is_named(change: dict[str, Any], message: str) -> None:
    owners = np.array(change.pop("owners", [0, 1, 2, 2]))
    known: dict[str, Any] = {"gain": np.full((3, 4), 1e-9), "need": np.full(3, 1e6), "power": np.full(3, 0.1)}
    known |= {name: np.array(value) if isinstance(value, list) else value for name, value in change.items()}
    with pytest.raises(InputError, match=message):
        MinDelay().control(Demand(bandwidth=1e6, noise=4e-21, **known), owners, ("a", "b", "c"))


def test_greedy_looks_at_when_clients_begin() -> None:
    """Two equal clients, one of them 10 s late: it gets all but the one subchannel that the other must have."""
    gain, need = np.full((2, 6), 1e-9), np.full(2, 1e7)
    demand = Demand(gain, need, np.full(2, 0.1), 1e6, 4e-21)
    assert np.bincount(served(demand)).tolist() == [3, 3]
    assert np.bincount(served(replace(demand, before=np.array([0.0, 10.0])))).tolist() == [1, 5]
