"""Flows as fluids: who drains how fast, and who is done next. Pure bookkeeping in simulated time, no event loop."""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..links import Flows, LinkModel, Rates
from .airtime import AirtimeCounter

if TYPE_CHECKING:
    from .connections import Flights

#: Two completions closer than this (s) are one; far below the 1e-9 s that any comparison of times resolves.
RESOLUTION_S = 1e-11

#: A flow with no more than this left (bits) is done: what rounding leaves behind.
CRUMB_BITS = 1e-6


def slack(now: float) -> float:
    """The time (s) within which a completion counts as now: what floats around ``now`` can tell apart, or more."""
    return RESOLUTION_S + 8.0 * math.ulp(now)


class Flow:
    """A message that drains: ``left`` of ``bits`` over ``channels``, never faster than ``cap`` (bit/s).

    ``latency`` (s) is that of the route over these channels, for link models that look at it.

    Which other fields mean something depends on the fluid: ``rate`` and ``left`` at its last settle; or its ``group``,
    the ``limit`` of its private channels, whether it is ``held`` at that (then ``left`` is that of ``since``) or free
    (then it is done when the group's clock shows ``end``), and how often that has changed, ``version``; and how many of
    its channels are ``dead``. The ``counters`` run while it does; ``spent`` are its shares of them (s). ``flights`` holds
    what of its ``bits`` its connection has not let go; ``left`` is of what it has.
    """

    __slots__ = (
        "bits",
        "cap",
        "channels",
        "counters",
        "dead",
        "end",
        "flights",
        "group",
        "held",
        "latency",
        "left",
        "limit",
        "order",
        "rate",
        "running",
        "since",
        "spent",
        "token",
        "version",
    )  # fmt: skip

    def __init__(self, channels: tuple[int, ...], bits: float, order: int, token: Any, cap: float = math.inf,
                 counters: tuple[AirtimeCounter | None, ...] = (), latency: float = 0.0) -> None:  # fmt: skip
        self.channels = channels
        self.bits = self.left = bits
        self.order = order
        self.token = token
        self.cap = cap
        self.latency = latency
        self.rate = 0.0
        self.group: Any = None
        self.limit = math.inf
        self.held = False
        self.since = 0.0
        self.end = 0.0
        self.version = 0
        self.dead = 0
        self.running = False
        self.counters = counters
        self.spent = [0.0] * len(counters)
        self.flights: Flights | None = None

    @property
    def held_back(self) -> float:
        """Bits that its connection has not let go."""
        return 0.0 if self.flights is None else self.flights.held

    @property
    def stalled(self) -> bool:
        """Whether its next bits wait for an acknowledgement, so that it is in no fluid."""
        return self.flights is not None and self.flights.waiting > 0.0

    def goes_on(self, now: float) -> bool:
        """What was let go has drained: whether more was let go now, which is ``left`` then."""
        self.left = 0.0 if self.flights is None else self.flights.take(now)
        return self.left > 0.0

    def run(self, now: float, running: bool) -> None:
        """Bits begin or cease to flow; nothing happens if it was so before."""
        if running != self.running:
            self.running = running
            for i, counter in enumerate(self.counters):
                if counter is not None:
                    self.spent[i] += counter.turn(now, running)


class Fluid(typing.Protocol):
    """The flows in the network. Changes take effect at the next ``settle``."""

    over: list[str]
    """What was seen to be wrong with an allocation."""
    drained: float
    """Bits drained up to the last settle: the integral of all rates, whatever the flows' own accounts say."""

    def enter(self, flow: Flow, now: float) -> None:
        """A flow begins to drain."""

    def leave(self, flow: Flow, now: float) -> None:
        """A flow is given up; its ``left`` is that of ``now``."""

    def set_capacity(self, channel: int, capacity: float, now: float) -> None:
        """A channel's bandwidth changes (bit/s)."""

    def settle(self, now: float) -> list[Flow]:
        """Drain up to ``now``, take out the flows that are done or stall (in the order they entered), and share anew."""

    def next_time(self) -> float:
        """When the next flow will be done, as things stand (s; infinite if never)."""

    def left(self, flow: Flow, now: float) -> float:
        """Bits that a flow has still to drain."""


class ResolveAll:
    """The reference: every change shares everything anew, whatever the link model. Time grows with flows x changes."""

    def __init__(self, capacities: Sequence[float], model: LinkModel) -> None:
        self.capacities: Rates = np.array(capacities, dtype=np.float64)
        self.model = model
        self.flows: list[Flow] = []
        self.over: list[str] = []
        self.drained = 0.0
        self._now = 0.0
        self._next = math.inf

    def enter(self, flow: Flow, now: float) -> None:
        flow.rate = 0.0  # until the next settle, whatever it was in an earlier flight
        self.flows.append(flow)

    def leave(self, flow: Flow, now: float) -> None:
        self._advance(now)
        self.flows.remove(flow)
        flow.run(now, False)

    def set_capacity(self, channel: int, capacity: float, now: float) -> None:
        self.capacities[channel] = capacity

    def next_time(self) -> float:
        return self._next

    def left(self, flow: Flow, now: float) -> float:
        return max(0.0, flow.left - flow.rate * (now - self._now)) if math.isfinite(flow.rate) else 0.0

    def _advance(self, now: float) -> None:
        step, self._now = now - self._now, now
        if step > 0.0:
            for flow in self.flows:
                flow.left -= flow.rate * step
                self.drained += flow.rate * step

    def settle(self, now: float) -> list[Flow]:
        self._advance(now)
        near = slack(now)
        done = [f for f in self.flows if f.left <= max(f.rate * near, CRUMB_BITS) and not f.goes_on(now)]
        if done:
            ended = set(done)
            for flow in done:
                flow.run(now, False)
            self.flows = [flow for flow in self.flows if flow not in ended]
        self._share()
        for flow in self.flows:
            flow.run(now, flow.rate > 0.0)
        times = (now + flow.left / flow.rate for flow in self.flows if flow.rate > 0.0)
        self._next = min(times, default=math.inf)
        return done

    def _share(self) -> None:
        capped = [f for f in self.flows if f.cap < math.inf]
        own = {f: len(self.capacities) + i for i, f in enumerate(capped)}  # a cap is a channel of one's own
        capacities = np.concatenate([self.capacities, [f.cap for f in capped]])
        routes = [(*f.channels, own[f]) if f in own else f.channels for f in self.flows]
        latencies = np.array([f.latency for f in self.flows], dtype=np.float64)
        rates = self.model.allocate(Flows(routes, latencies), capacities)
        for flow, rate in zip(self.flows, rates.tolist(), strict=True):
            flow.rate = rate
        if self.model.shares:
            load = np.zeros(len(capacities))
            for route, rate in zip(routes, rates, strict=True):
                for channel in route:
                    load[channel] += rate
            for channel in np.flatnonzero(load > capacities * (1.0 + 1e-9) + 1e-6).tolist():
                self.over.append(f"channel {channel} carries {load[channel]:.6g} of {capacities[channel]:.6g} bit/s")
