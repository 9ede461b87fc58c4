"""Proportional fairness, the fluid limit of TCP connections with equal windows over first-in, first-out queues."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .base import Flows, LinkModel, Rates

_SWEEPS = 2000
_ACCURACY = 1e-10


class Proportional(LinkModel):
    """Proportional fairness: the rates x that maximise the sum of log x; a flow pays for every queue it waits in.

    Connections with equal windows whose round trip is spent in queues share a network like that (Massoulié and Roberts,
    Bandwidth sharing, 1999; Mo and Walrand 2000): the rate of a flow is one over the sum of the prices, that is queueing
    delays, of its channels. On a single bottleneck this is max-min fairness; a flow over several of them gets less.
    Solved by exact steps along one price at a time, to a relative 1e-10; then scaled to fit. Rates that would be below
    that accuracy of a channel are not resolved.

    Does not capture packets, slow start, losses and the time it takes to get from one equilibrium to the next.
    """

    kind: Literal["proportional"] = "proportional"

    def allocate(self, flows: Flows, capacities: Rates) -> Rates:
        routes = flows.routes
        rates = np.full(len(routes), np.inf)
        dead = [any(capacities[c] <= 0.0 for c in route) for route in routes]
        rates[dead] = 0.0
        live = [f for f, route in enumerate(routes) if route and not dead[f]]
        crossing: dict[int, list[int]] = {}
        for position, f in enumerate(live):
            for channel in routes[f]:
                crossing.setdefault(channel, []).append(position)
        users = {c: np.unique(np.array(who), return_counts=True) for c, who in crossing.items()}
        price = dict.fromkeys(users, 0.0)
        total = np.zeros(len(live))  # sum of the prices along each flow's route
        for _ in range(_SWEEPS):
            moved = 0.0
            for channel, (who, times) in users.items():
                new = _clear(total[who] - times * price[channel], times, float(capacities[channel]))
                step = new - price[channel]
                total[who] += times * step
                moved = max(moved, float(np.max(np.abs(times * step) / total[who])))
                price[channel] = new
            if moved <= _ACCURACY:
                break
        rates[live] = 1.0 / total
        for channel, (who, times) in users.items():  # what is left of the error must not overload a channel
            chosen = np.array(live)[who]
            rates[chosen] *= min(1.0, float(capacities[channel]) / float(times @ rates[chosen]))
        return rates


def _clear(others: Rates, times: NDArray[np.intp], capacity: float) -> float:
    """The price at which the flows of a channel, who pay ``others`` elsewhere, fill it; 0 if they cannot."""
    others = np.maximum(others, 0.0)
    if (others > 0.0).all() and float((times / others).sum()) <= capacity:
        return 0.0
    price = max(0.0, (float(times.sum()) / capacity - float(others.max())) / float(times.max()))
    if price == 0.0 and not others.all():
        price = float((times[others == 0.0] / times[others == 0.0]).sum()) / capacity
    for _ in range(100):  # Newton's steps on a convex falling function, from the left: they never overshoot
        paid = others + times * price
        excess = float((times / paid).sum()) - capacity
        if excess <= 1e-14 * capacity:
            break
        price += excess / float((times**2 / paid**2).sum())
    return price
