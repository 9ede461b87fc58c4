"""The problem of one uplink: who gets which subchannel, with which power, so that

    sum_j w_j max_k (before_jk + need_k / R_k)

is least: one maximum for clients that begin together, several where a round has steps of more than one kind.

Tested in tests/joint.

Tested in tests/joint/test_exhaustive.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .allocation import Demand, Owners
from .convex import case_of
from .power import even, latest, minimise, within
from .rate import Floats
from .water_filling import NATS, least_delay


@dataclass(frozen=True, eq=False)
class Allocation:
    """Who sends on which subchannel of one uplink, and with which power."""

    owners: Owners
    """Client of each subchannel, -1 for nobody; M."""
    power: Floats
    """Transmit power on each subchannel (W), 0 where it is nobody's; M."""


@dataclass(frozen=True, eq=False)
class UplinkSubproblem:
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
