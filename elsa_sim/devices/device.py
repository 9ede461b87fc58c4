"""One device in simulated time: queueing, compute time, downtimes, energy."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from typing import Any, Literal, NamedTuple

import simpy

from ..base.intervals import Interval, Presence
from ..base.streams import Streams
from .options import DeviceOptions
from .slots import Slots


class Execution(NamedTuple):
    """A piece of work: when it queued, started and ended (s), and the energy of its slot (J).

    ``status`` is ``lost`` if the device went away before the end, or for good before the start.
    """

    t_queued_s: float
    t_start_s: float
    t_end_s: float
    energy_j: float
    status: Literal["ok", "lost"] = "ok"
    slowdown: float = 1.0


class Device:
    """One device in simulated time."""

    def __init__(self, env: simpy.Environment, name: str, options: DeviceOptions, streams: Streams) -> None:
        self.env = env
        self.name = name
        self.options = options
        self.busy_s = 0.0
        """Slot-seconds of finished work."""
        self.booked_s = 0.0
        """What of it is due to the work that ended last, well or not."""
        self.lost = 0
        """Pieces of work that were lost because the device went away."""
        self.presence = Presence(
            [d.intervals(streams.numpy("downtime", name, i)) for i, d in enumerate(options.downtimes)]
        )
        self._factors = [s.start(streams.numpy("straggler", name, i)) for i, s in enumerate(options.stragglers)]
        self._slots = Slots(env, options.slots)
        self._started: list[float] = []
        self._most = 0

    @property
    def available(self) -> bool:
        """Whether the device is there now."""
        return bool(self.presence.back(self.env.now) <= self.env.now)

    def downtimes(self) -> Iterator[Interval]:
        """The times from and to which the device is away (s), in order; perhaps without end."""
        return self.presence.intervals()

    def slowdown(self) -> float:
        """The factor on the compute time of a piece of work that starts now; drawn anew for each."""
        if not self._factors:
            return self.options.slowdown
        return self.options.slowdown * math.prod(factor(self.env.now) for factor in self._factors)

    def duration(self, flops: float, slowdown: float | None = None) -> float:
        """How long a slot is held for ``flops`` at this slowdown (s); without one, at the constant slowdown stated."""
        factor = self.options.slowdown if slowdown is None else slowdown
        return self.options.launch + flops / self.options.effective_speed * factor

    def compute(self, flops: float) -> Generator[simpy.Event, Any, Execution]:
        """Wait for a slot, hold it as long as the work takes, and return the :class:`Execution`.

        Work waits for a device that is away, and is lost if the device goes away while it is done. Interrupting the
        waiting process gives the slot back; the work is then lost.
        """
        env, started, booked = self.env, self._started, 0.0
        queued = env.now
        slot = self._slots.request()
        try:
            yield slot
            start = env.now
            back = self.presence.back(start)
            if back == math.inf:
                self.lost += 1
                return Execution(queued, start, start, 0.0, "lost")
            if back > start:
                yield env.timeout(back - start)
                start = env.now
            slowdown = self.slowdown()
            length = self.duration(flops, slowdown)
            left = self.presence.leaves(start) - start
            started.append(start)
            if len(started) > self._most:
                self._most = len(started)
            try:
                yield env.timeout(min(length, left))
            finally:
                started.remove(start)
                before = self.busy_s
                self.busy_s += env.now - start
                booked = self.busy_s - before
        finally:
            self._slots.give_back(slot)
            self.booked_s = booked
        end = env.now
        if left < length:
            self.lost += 1
        energy = (end - start) * self.options.power.working / self.options.slots
        return Execution(queued, start, end, energy, "lost" if left < length else "ok", slowdown)

    def energy_j(self, until_s: float | None = None) -> dict[str, float]:
        """Joules from time 0 to ``until_s`` (now): ``compute`` (work under way included) and ``idle``.

        A device that is away draws nothing.
        """
        now = self.env.now if until_s is None else until_s
        slots, power = self.options.slots, self.options.power
        busy = (self.busy_s + sum(now - start for start in self._started)) / slots
        return {"compute": busy * power.working, "idle": max(0.0, now - self.away_s(now) - busy) * power.idle}

    def away_s(self, until_s: float) -> float:
        """Seconds from time 0 to ``until_s`` in which the device is away."""
        away = 0.0
        for start, end in self.presence.intervals():
            if start >= until_s:
                break
            away += min(end, until_s) - start
        return away

    def check(self) -> list[str]:
        """The invariants that do not hold: one thing per slot, and no more work than time."""
        wrong = []
        if self._most > self.options.slots:
            wrong.append(f"device {self.name} did {self._most} things on {self.options.slots} slots")
        if self.busy_s > self.env.now * self.options.slots * (1.0 + 1e-9):
            wrong.append(f"device {self.name} was busy for {self.busy_s:g} slot-seconds in {self.env.now:g} s")
        return wrong
