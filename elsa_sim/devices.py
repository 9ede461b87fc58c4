"""Devices: what computing costs in time and energy.

A piece of work of F FLOPs holds one slot of its device for ``launch + F / speed * slowdown`` seconds; slots are taken
first come, first served. Does not capture caches, memory bandwidth, batching effects, or clocks that fall with heat
(state a slowdown instead): ``speed`` is the effective speed on the work at hand, well below a data sheet's peak.
"""

from __future__ import annotations

import difflib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import simpy
from annotated_types import Ge, Gt, Le
from pydantic import Field, ValidationError

from .errors import Fault, InputFaults
from .registry import Options
from .streams import Streams
from .topology import Topology
from .units import Power, Seconds, Size, Speed

_GIB = 2.0**30


class PowerOptions(Options):
    """What a device draws in each state."""

    idle: Power = 2.0
    """While no slot is busy."""
    busy: Power = 6.0
    """While all slots are busy; in between, the draw is proportional to the busy slots."""
    transmit: Power = 1.0
    """In addition, while a message of its own drains."""
    receive: Power = 0.8
    """In addition, while a message to it drains."""


class DeviceOptions(Options):
    """One device."""

    speed: Annotated[Speed, Gt(0)]
    """Effective speed on the work at hand."""
    memory: Annotated[Size, Gt(0)]
    """Memory for a part of the model, its activations and its optimizer."""
    slots: Annotated[int, Ge(1), Le(4096)] = 1
    """Pieces of work that run side by side, each at full speed; more wait in line."""
    slowdown: Annotated[float, Gt(0)] = 1.0
    """Factor on compute time; 1 is as fast as stated, a straggler has more."""
    launch: Seconds = 0.0
    """Fixed cost of a piece of work."""
    power: PowerOptions = PowerOptions()
    """Power draw."""


class ClientOptions(DeviceOptions):
    """A single-board computer or a phone; the defaults are those of a Raspberry Pi 4's class."""

    speed: Annotated[Speed, Gt(0)] = 20e9
    memory: Annotated[Size, Gt(0)] = 4.0 * _GIB


class EdgeOptions(DeviceOptions):
    """A small server near the clients; the defaults are those of a multi-core CPU."""

    speed: Annotated[Speed, Gt(0)] = 500e9
    memory: Annotated[Size, Gt(0)] = 64.0 * _GIB
    power: PowerOptions = PowerOptions(idle=60.0, busy=200.0, transmit=5.0, receive=5.0)


class CloudOptions(DeviceOptions):
    """The cloud's server; the defaults are those of a data-centre GPU at a tenth of its peak."""

    speed: Annotated[Speed, Gt(0)] = 10e12
    memory: Annotated[Size, Gt(0)] = 256.0 * _GIB
    power: PowerOptions = PowerOptions(idle=150.0, busy=600.0, transmit=10.0, receive=10.0)


class DevicesOptions(Options):
    """The devices of a scenario: one set of options per role, and what differs for single nodes."""

    client: ClientOptions = ClientOptions()
    """Every client."""
    edge: EdgeOptions = EdgeOptions()
    """Every edge server."""
    cloud: CloudOptions = CloudOptions()
    """The cloud."""
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options that differ for single nodes: ``{client3: {speed: 4 GFLOP/s}}``."""

    def of(self, topology: Topology) -> dict[str, DeviceOptions]:
        """Node name -> its options, for every node that computes (not for routers).

        Raises:
            InputFaults: overrides of unknown nodes, or with bad values; all of them.
        """
        roles: Mapping[str, DeviceOptions] = {"client": self.client, "edge": self.edge, "cloud": self.cloud}
        found = {name: roles[role] for role in ("cloud", "edge", "client") for name in topology.names(role)}
        faults: list[Fault] = []
        for name, changes in self.overrides.items():
            if name not in found:
                near = difflib.get_close_matches(name, found, 1)
                hint = (
                    f"; did you mean {near[0]!r}?" if near else f"; nodes that compute: {', '.join([*found][:5])}, ..."
                )
                faults.append(Fault(f"overrides.{name}", f"there is no node {name!r}{hint}"))
                continue
            base = found[name]
            try:
                found[name] = type(base).model_validate(_merged(base.model_dump(), changes))
            except ValidationError as error:
                faults += [Fault(".".join(["overrides", name, *map(str, e["loc"])]), e["msg"]) for e in error.errors()]
        if faults:
            raise InputFaults(faults)
        return found


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base) | dict(changes)
    for key in base.keys() & changes.keys():
        if isinstance(base[key], dict) and isinstance(changes[key], dict):
            both[key] = _merged(base[key], changes[key])
    return both


@dataclass(frozen=True, slots=True)
class Execution:
    """A piece of work that was done: when it queued, started and ended (s), and the energy of its slot (J)."""

    t_queued_s: float
    t_start_s: float
    t_end_s: float
    energy_j: float


class Device:
    """One device in simulated time."""

    def __init__(self, env: simpy.Environment, name: str, options: DeviceOptions, streams: Streams) -> None:
        self.env = env
        self.name = name
        self.options = options
        self.streams = streams
        self.busy_s = 0.0
        """Slot-seconds of finished work."""
        self._slots = simpy.Resource(env, options.slots)
        self._started: list[float] = []
        self._most = 0

    def duration(self, flops: float) -> float:
        """How long a slot is held for ``flops`` (s), if the work starts now."""
        return self.options.launch + flops / self.options.speed * self.options.slowdown

    def compute(self, flops: float) -> Generator[simpy.Event, Any, Execution]:
        """Wait for a slot, hold it as long as the work takes, and return the :class:`Execution`.

        Interrupting the waiting process gives the slot back; the work is then lost.
        """
        queued = self.env.now
        with self._slots.request() as slot:
            yield slot
            start = self.env.now
            self._started.append(start)
            self._most = max(self._most, len(self._started))
            try:
                yield self.env.timeout(self.duration(flops))
            finally:
                self._started.remove(start)
                self.busy_s += self.env.now - start
        return Execution(
            queued, start, self.env.now, (self.env.now - start) * self.options.power.busy / self.options.slots
        )

    def energy_j(self, until_s: float | None = None) -> dict[str, float]:
        """Joules from time 0 to ``until_s`` (now): ``compute`` (work under way included) and ``idle``."""
        now = self.env.now if until_s is None else until_s
        slots, power = self.options.slots, self.options.power
        busy = self.busy_s + sum(now - start for start in self._started)
        return {"compute": busy / slots * power.busy, "idle": max(0.0, now - busy / slots) * power.idle}

    def check(self) -> list[str]:
        """The invariants that do not hold: one thing per slot, and no more work than time."""
        wrong = []
        if self._most > self.options.slots:
            wrong.append(f"device {self.name} did {self._most} things on {self.options.slots} slots")
        if self.busy_s > self.env.now * self.options.slots * (1.0 + 1e-9):
            wrong.append(f"device {self.name} was busy for {self.busy_s:g} slot-seconds in {self.env.now:g} s")
        return wrong
