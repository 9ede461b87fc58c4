"""Max-min fairness with weights: the longer the round trip, the smaller the share."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..topology.limits import Duration
from .base import Flows, LinkModel, Rates


class RttFair(LinkModel):
    """Max-min fairness weighted by 1 / round-trip time: TCP's bias where all flows see the same loss.

    The rate of a connection is MSS / RTT * sqrt(3 / (2 p)) (Mathis et al. 1997): with one p for all who share a
    bottleneck, rates are as 1 / RTT. Weighted progressive filling. Does not capture losses that differ, and slow start.
    """

    kind: Literal["rtt-fair"] = "rtt-fair"
    queue: Duration = 0.1
    """How long the queue before a full link delays whoever waits in it at most; on average it is taken to be half full."""

    def allocate(self, flows: Flows, capacities: Rates) -> Rates:
        weights = 1.0 / (flows.round_trips + self.queue / 2.0)
        rates = np.full(len(weights), np.inf)
        room = capacities.astype(np.float64)
        active = [f for f, route in enumerate(flows.routes) if route]
        while active:
            load = np.zeros(len(room))
            for f in active:
                np.add.at(load, list(flows.routes[f]), weights[f])
            share = np.maximum(room, 0.0) / np.where(load > 0.0, load, np.nan)
            tightest = int(np.nanargmin(share))
            for f in (each for each in active if tightest in flows.routes[each]):
                rates[f] = weights[f] * share[tightest]
                np.subtract.at(room, list(flows.routes[f]), rates[f])
            active = [f for f in active if tightest not in flows.routes[f]]
        return rates
