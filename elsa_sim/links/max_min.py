"""Max-min fair sharing, the fluid limit of many long TCP-like flows with equal round-trip times."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from .base import Flows, LinkModel, Rates


class MaxMin(LinkModel):
    """Max-min fairness: no flow can gain without a flow that has no more losing.

    Progressive filling (Bertsekas and Gallager, Data Networks, 1992, section 6.5.2): all rates rise together until a
    channel is full; its flows are frozen there, the others rise on. Each round freezes every channel whose level is the
    lowest among all the channels that its flows cross, not only the lowest of all.

    Does not capture packets, queues, TCP's windows, slow start and bias against long round trips, nor acknowledgements.
    """

    kind: Literal["max-min"] = "max-min"
    max_min: ClassVar[bool] = True

    def allocate(self, flows: Flows, capacities: Rates) -> Rates:
        routes = flows.routes
        rates = np.full(len(routes), np.inf)
        flow = np.repeat(np.arange(len(routes)), [len(route) for route in routes])
        channel = np.fromiter((c for route in routes for c in route), dtype=np.intp, count=len(flow))
        room = capacities.astype(np.float64)
        size = len(room)
        while len(flow):
            count = np.bincount(channel, minlength=size)
            level = np.maximum(room[channel], 0.0) / count[channel]
            limit = np.full(len(routes), np.inf)
            np.minimum.at(limit, flow, level)
            free = np.ones(size, dtype=bool)
            free[channel[level > limit[flow]]] = False  # some flow of this channel is held lower elsewhere
            fixed = np.zeros(len(routes), dtype=bool)
            fixed[flow[free[channel]]] = True
            rates[fixed] = limit[fixed]
            gone = fixed[flow]
            room -= np.bincount(channel[gone], weights=limit[flow[gone]], minlength=size)
            flow, channel = flow[~gone], channel[~gone]
        return rates
