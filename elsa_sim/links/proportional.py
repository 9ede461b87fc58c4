"""Proportional fairness, the fluid limit of TCP connections with equal windows over first-in, first-out queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .base import Flows, LinkModel, Rates

_SWEEPS = 2000
_ACCURACY = 1e-10
_BARRIERS = tuple(10.0**-n for n in range(2, 13))


class Proportional(LinkModel):
    """Proportional fairness: the rates x that maximise the sum of log x; a flow pays for every queue it waits in.

    Connections with equal windows whose round trip is spent in queues share a network like that (Massoulié and Roberts,
    Bandwidth sharing, 1999; Mo and Walrand 2000): the rate of a flow is one over the sum of the prices, that is queueing
    delays, of its channels. On a single bottleneck this is max-min fairness; a flow over several of them gets less.
    Solved by exact steps along one price at a time, to a relative 1e-10; where these creep (several sets of prices do nearly as
    well), by Newton's steps on all prices with a barrier; then scaled to fit. Rates that would be below that accuracy of a
    channel are not resolved.

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
        else:
            total = _paid([routes[f] for f in live], capacities, price)
        rates[live] = 1.0 / total
        for channel, (who, times) in users.items():  # what is left of the error must not overload a channel
            chosen = np.array(live)[who]
            rates[chosen] *= min(1.0, float(capacities[channel]) / float(times @ rates[chosen]))
        return rates


def _paid(routes: Sequence[Sequence[int]], capacities: Rates, start: Mapping[int, float]) -> Rates:
    """What each flow pays at the optimum, from prices near it.

    Maximises sum log (a_f . p) - c . p + m sum log p over prices p > 0 for a falling m, a_f the times that flow f crosses each
    channel. The slack of a channel is then m / p, so rates fit, and going to any other allocation gains at most m times the
    number of channels, relative gains summed (Boyd and Vandenberghe, Convex Optimization, 11.2).
    """
    channels = list(start)
    times = np.array([[route.count(c) for c in channels] for route in map(list, routes)], dtype=float)
    unit = np.array([capacities[c] for c in channels])
    times = times / unit  # prices per share of a channel: all of one size
    price = np.maximum(np.array([start[c] for c in channels]) * unit, _BARRIERS[0])
    for barrier in _BARRIERS:
        for _ in range(100):
            paid = times @ price
            slope = times.T @ (1.0 / paid) - 1.0 + barrier / price
            bend = (times / paid[:, None] ** 2).T @ times + np.diag(barrier / price**2)
            step = np.linalg.solve(bend, slope)
            decrement = float(np.sqrt(max(0.0, slope @ step) / barrier))
            price = price + step * (1.0 if decrement < 0.25 else 1.0 / (1.0 + decrement))  # damped: p stays positive
            if decrement <= 1e-3:
                break
    return np.asarray(times @ price)


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
