"""Link models that are simpler than max-min fairness: for comparison, bounds and store-and-forward networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from .base import Flows, LinkModel, Rates


def _alone(route: Sequence[int], capacities: Rates) -> float:
    return min((float(capacities[c]) / list(route).count(c) for c in route), default=np.inf)


class EqualShare(LinkModel):
    """Every channel is cut into equal shares; a flow gets the smallest of its shares, and what it leaves is lost.

    No flow gets more than under max-min fairness. Does not capture that others take what a flow leaves over.
    """

    kind: Literal["equal-share"] = "equal-share"

    def allocate(self, flows: Flows, capacities: Rates) -> Rates:
        routes = flows.routes
        count = np.bincount([c for route in routes for c in route], minlength=len(capacities)) if routes else capacities
        return np.array([min((capacities[c] / count[c] for c in route), default=np.inf) for route in routes])


class Fifo(LinkModel):
    """Store and forward of whole messages: a channel sends one message at a time, in order of arrival.

    A message waits behind all that came before it, is sent at full bandwidth, travels the link's latency, and only then
    queues at the next link. Does not capture packets (no pipelining over hops, no interleaving) nor finite queues.
    """

    kind: Literal["fifo"] = "fifo"
    store_and_forward = True

    def allocate(self, flows: Flows, capacities: Rates) -> Rates:
        rates = np.zeros(len(flows.routes))
        taken: set[int] = set()
        for flow, route in enumerate(flows.routes):
            if not taken.intersection(route):
                rates[flow] = _alone(route, capacities)
            taken.update(route)
        return rates


class Ideal(LinkModel):
    """Every flow has each of its channels for itself: the bound that no sharing can beat.

    Does not capture contention at all: many flows together exceed the bandwidth of a channel.
    """

    kind: Literal["ideal"] = "ideal"
    shares = False

    def allocate(self, flows: Flows, capacities: Rates) -> Rates:
        return np.array([_alone(route, capacities) for route in flows.routes])
