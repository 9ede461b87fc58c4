"""What is left of the problem for one uplink once cut and rank are chosen: the two uplinks have bands of their own, so
each is a problem for itself,

    minimise  sum_j w_j max_k (before_jk + need_k / R_k)

over subchannels and powers, with one maximum, or two: without a barrier, the first step of a round begins with the
broadcast and the others with the gradient. What stands between the two stages is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..wireless.allocation import Demand, Owners
from ..wireless.convex import case_of
from ..wireless.power import even, latest, minimise, within
from ..wireless.rate import Floats
from ..wireless.water import NATS, least_delay
from .problem import Allocation, Load, Problem


@dataclass(frozen=True, eq=False)
class Stage:
    """One uplink under one cut and rank."""

    demand: Demand
    """Its ``before`` is the weighted mean of those of the maxima."""
    before: Floats
    """When each client begins to send (s); J x K."""
    weights: Floats
    """How often each maximum counts in a round; J."""
    where: str
    """For messages."""
    names: Sequence[str]

    def value(self, allocation: Allocation) -> float:
        """What it adds to a round (s)."""
        return latest(self.demand, allocation.owners, allocation.power, self.before, self.weights)

    def evenly(self, owners: Owners) -> Allocation:
        """Power split evenly."""
        return Allocation(owners, even(owners, self.demand.power, self.demand.total))

    def solved(self, owners: Owners) -> Allocation:
        """The powers of least delay, by the convex programme.

        Raises:
            InputError: a client that can never send, and why.
        """
        return Allocation(
            owners, minimise(self.demand, owners, self.before, self.weights, self.names, self.where).watts
        )

    def filled(self, owners: Owners) -> Allocation:
        """Powers of about the least delay, by water-filling: exact with one maximum, and within budgets."""
        case = case_of(self.demand, owners, self.before, self.weights)
        _, gap = self.bound(owners)
        ahead = self.ahead(gap)
        time = least_delay(case.floor, case.ceiling, case.size, ahead, case.limit, case.total)
        watts = case.watts(case.in_time(time - ahead))
        return Allocation(owners, within(watts, owners, self.demand.power, self.demand.total))

    def ahead(self, gap: float) -> Floats:
        """``before`` of the one maximum that two make, if the second is to be ``gap`` (s) later than the first; K."""
        return np.asarray(self.before[0] if len(self.before) == 1 else np.maximum(self.before[0], self.before[1] - gap))

    def gaps(self) -> Floats:
        """Some lateness of the second maximum after the first (s), among which is one near the best."""
        if len(self.before) == 1:
            return np.zeros(1)
        return np.unique(np.quantile(self.before[1] - self.before[0], (0.0, 0.25, 0.5, 0.75, 1.0)))

    def lowest(self) -> float:
        """Less than this no owners can add to a round (s): as if every client had all subchannels for itself."""
        demand = self.demand
        with np.errstate(divide="ignore"):
            floor = np.log(demand.noise * demand.bandwidth / demand.gain)
        ceiling = np.inf if demand.cap is None else demand.cap * NATS
        total = np.inf if demand.total is None else demand.total
        size = demand.need * NATS / demand.bandwidth
        times = [least_delay(floor, ceiling, size, before, demand.power, total) for before in self.before]
        return float(self.weights @ np.array(times))

    def bound(self, owners: Owners) -> tuple[float, float]:
        """About the least that these owners add to a round (s), by water-filling, and the gap that gives it.

        Never less than the optimum; with one maximum, it is the optimum.
        """
        case = case_of(self.demand, owners, self.before, self.weights)
        floor, best = case.floor, (np.inf, 0.0)
        for gap in self.gaps().tolist():
            time = least_delay(floor, case.ceiling, case.size, self.ahead(gap), case.limit, case.total)
            second = 0.0 if len(self.before) == 1 else float(self.weights[1]) * gap
            best = min(best, (float(self.weights.sum()) * time + second, gap))
        return best


def stages(problem: Problem, load: Load) -> tuple[Stage, Stage, float]:
    """The main and the federated uplink under this load, and what else a round takes (s)."""
    begin, back = load.forward + problem.main.waits, load.gradient + load.backward
    server = load.server_forward + load.server_backward
    steps = problem.steps
    if problem.barrier:
        before, weights = begin[None], np.array([float(steps)])
        ahead = problem.federated.waits
        rest = float(load.broadcast.max()) + steps * (server + float(back.max())) + load.aggregate
    else:
        before = np.stack([load.broadcast + begin, back + begin][: 1 if steps == 1 else 2])
        weights = np.array([1.0, steps - 1.0][: len(before)])
        ahead = back + problem.federated.waits
        rest = steps * server + load.aggregate
    main = problem.main.demand(load.activation, np.asarray(weights @ before / weights.sum()))
    federated = problem.federated.demand(load.adapters, ahead)
    return (Stage(main, before, weights, "the main uplink", problem.names),
            Stage(federated, ahead[None], np.ones(1), "the federated uplink", problem.names), rest)  # fmt: skip
