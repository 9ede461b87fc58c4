"""Better subchannels: greedy first (the paper's step), then the best single move or swap for as long as one helps.

The local search is ours. A neighbour is judged at the present delay: by the power with which everybody would still be in
time (least power, by water-filling), or, where power is split evenly, by the delay itself. Only the two clients that
give and take are looked at anew, all neighbours in one array: M K moves and M^2 swaps take about 1 ms at K = 5, M = 20.
Ends in a local optimum; how far from the best ones, the tests measure.

Tested in tests/wireless/test_allocation.py, tests/wireless/test_reallocation.py and tests/joint.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .allocation import Allocator, Best, Demand, Greedy, Owners, Random
from .rate import Floats, rate
from .uplink import UplinkSubproblem
from .water_filling import NATS, least_delay, least_power

Sets = npt.NDArray[np.bool_]


class Search(Allocator):
    """For the latest client to have sent soonest, with powers of least delay: greedy, then moves and swaps that help.

    SflLLM's alternation of subchannels and power (arXiv:2504.14667) in one search; it goes with the power control of the same
    name.
    """

    kind: Literal["min_delay"] = "min_delay"
    looks: ClassVar[bool] = True

    def allocate(self, demand: Demand, random: np.random.Generator) -> Owners:
        clients = len(demand.gain)
        if not demand.split:  # the station's power is not the clients' to control
            return Greedy().allocate(demand, random)
        subproblem = UplinkSubproblem(
            demand, demand.waits[None], np.ones(1), "the uplink", [str(k) for k in range(clients)]
        )
        owners = greedy(subproblem)
        if clients == 1 or len(np.unique(owners)) < clients:  # nothing to give and take, or somebody cannot send at all
            return owners
        return improved(subproblem, owners)


def greedy(subproblem: UplinkSubproblem) -> Owners:
    """The paper's subchannels, for power split evenly; what nobody gains from so goes to who hears it best.

    If somebody is left without a subchannel that it is heard on, one for each is found by assignment, if there is one.
    """
    gain = subproblem.demand.gain
    owners = Greedy().allocate(subproblem.demand, np.random.default_rng(0))
    owners = np.where(owners < 0, np.argmax(gain, axis=0), owners)
    heard = gain[owners, np.arange(len(owners))] > 0.0
    if len(np.unique(owners[heard])) < len(gain):
        from scipy.optimize import linear_sum_assignment  # a tenth of a second: only where it is needed

        client, subchannel = linear_sum_assignment(np.log(np.maximum(gain, 1e-300)), maximize=True)
        owners[subchannel] = client
    return owners


def starts(subproblem: UplinkSubproblem, count: int) -> list[Owners]:
    """Where to search from: greedy subchannels, those of the best gains, and random ones; the same ones every time."""
    random = np.random.default_rng(0)
    found = [greedy(subproblem), Best().allocate(subproblem.demand, random)]
    return [*found, *(Random().allocate(subproblem.demand, random) for _ in range(count - 2))][:count]


def improved(
    subproblem: UplinkSubproblem, owners: Owners, evenly: bool = False, seen: set[bytes] | None = None, most: int = 200
) -> Owners:
    """``owners`` (M), changed one move or swap at a time until none helps, or ``most`` have.

    It ends early at owners that are in ``seen``, from where another search has gone on; those that it sees are added.
    """
    seen = set() if seen is None else seen
    objective = _Even(subproblem) if evenly else _Least(subproblem, owners)
    for _ in range(most):
        if (key := owners.tobytes()) in seen:
            break
        better = _step(objective, owners)
        if better is None and objective.turned(owners):
            continue
        seen.add(key)
        if better is None:
            break
        owners = better
    return owners


class _Objective:
    """Values of clients with sets of subchannels, and what they make together; the less, the better."""

    clients: int

    def look(self, owners: Owners) -> None:
        """Take these as the present owners."""
        raise NotImplementedError

    def turned(self, owners: Owners) -> bool:
        """Whether, where no step helps, another view of the problem shows itself."""
        return False

    def values(self, clients: npt.NDArray[np.int64], sets: Sets) -> Floats:
        """What each of R clients with its set of subchannels (R x M) is worth; R."""
        raise NotImplementedError

    def together(self, values: Floats) -> Floats:
        """The score of N alternatives, given the values of all clients (N x K); N."""
        raise NotImplementedError


class _Least(_Objective):
    """By the least power with which all would be in time at the present delay, over the budgets."""

    def __init__(self, subproblem: UplinkSubproblem, owners: Owners) -> None:
        self.subproblem, demand = subproblem, subproblem.demand
        self.clients = len(demand.need)
        with np.errstate(divide="ignore"):
            self.floor = np.log(demand.noise * demand.bandwidth / demand.gain)
        self.size = demand.need * NATS / demand.bandwidth
        self.ceiling = np.inf if demand.cap is None else demand.cap * NATS
        self.total = np.inf if demand.total is None else demand.total
        self.gap = subproblem.bound(owners)[1]

    def look(self, owners: Owners) -> None:
        before = self.subproblem.ahead(self.gap)
        floor = np.where(owners == np.arange(self.clients)[:, None], self.floor, np.inf)
        time = least_delay(floor, self.ceiling, self.size, before, self.subproblem.demand.power, self.total)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.pace = np.where(self.size > 0.0, self.size / (time - before), 0.0)

    def turned(self, owners: Owners) -> bool:
        old, (_, self.gap) = self.gap, self.subproblem.bound(owners)
        return self.gap != old

    def values(self, clients: npt.NDArray[np.int64], sets: Sets) -> Floats:
        floor = np.where(sets, self.floor[clients], np.inf)
        return least_power(floor, self.ceiling, self.pace[clients])[0]

    def together(self, values: Floats) -> Floats:
        own = (values / self.subproblem.demand.power).max(axis=1)
        return np.asarray(own if np.isinf(self.total) else np.maximum(own, values.sum(axis=1) / self.total))


class _Even(_Objective):
    """By the delay at evenly split powers."""

    def __init__(self, subproblem: UplinkSubproblem) -> None:
        self.subproblem, self.clients = subproblem, len(subproblem.demand.need)

    def look(self, owners: Owners) -> None:
        """Nothing to know: the delay does not depend on the present one."""

    def values(self, clients: npt.NDArray[np.int64], sets: Sets) -> Floats:
        demand = self.subproblem.demand
        power = demand.even[clients, None] / np.maximum(sets.sum(axis=1, keepdims=True), 1)
        each = rate(demand.gain[clients], demand.bandwidth, power, demand.noise, demand.cap)
        need = demand.need[clients]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(need > 0.0, need / np.where(sets, each, 0.0).sum(axis=1), 0.0)

    def together(self, values: Floats) -> Floats:
        late = (self.subproblem.before[:, None, :] + values).max(axis=2)
        return np.asarray(self.subproblem.weights @ late)


def _step(objective: _Objective, owners: Owners) -> Owners | None:
    """The best neighbour, if it is better."""
    objective.look(owners)
    clients, count = objective.clients, len(owners)
    every = np.arange(clients)
    sets: Sets = owners == every[:, None]
    base = objective.values(every, sets)
    one = np.eye(count, dtype=bool)
    owned = np.flatnonzero(owners >= 0)
    # what a client has without i, with j, and with j for i: rows of clients and sets
    without = np.full(count, 0.0)
    without[owned] = objective.values(owners[owned], sets[owners[owned]] & ~one[owned])
    taker, what = (axis.ravel() for axis in np.meshgrid(every, np.arange(count), indexing="ij"))
    fresh = owners[what] != taker
    taker, what = taker[fresh], what[fresh]
    adding = objective.values(taker, sets[taker] | one[what])
    moves = np.repeat(base[None], len(taker), axis=0)
    moves[np.arange(len(taker)), taker] = adding
    given = np.flatnonzero(owners[what] >= 0)
    moves[given, owners[what[given]]] = without[what[given]]
    # swaps: i of a for j of b, each pair once
    first, second = np.triu_indices(count, 1)
    two = (owners[first] >= 0) & (owners[second] >= 0) & (owners[first] != owners[second])
    first, second = first[two], second[two]
    a, b = owners[first], owners[second]
    swaps = np.repeat(base[None], len(first), axis=0)
    row = np.arange(len(first))
    both = objective.values(np.concatenate([a, b]), np.concatenate(
        [(sets[a] & ~one[first]) | one[second], (sets[b] & ~one[second]) | one[first]]))  # fmt: skip
    swaps[row, a], swaps[row, b] = both[: len(row)], both[len(row) :]
    scores = objective.together(np.concatenate([moves, swaps]))
    if not len(scores):
        return None
    best = int(np.argmin(scores))
    if not scores[best] < float(objective.together(base[None])[0]) * (1.0 - 1e-9):
        return None
    found = owners.copy()
    if best < len(taker):
        found[what[best]] = taker[best]
    else:
        i, j = first[best - len(taker)], second[best - len(taker)]
        found[[i, j]] = found[[j, i]]
    return found
