"""What a scenario may say about devices."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeVar

from annotated_types import Ge, Gt, Le
from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from ..base.choices import member_of
from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.registry import Items, Options
from ..base.units import Frequency, Power, Size, bounded
from ..topology import Topology
from .downtime import Downtime
from .profiles import profile
from .speed import NumberType, StatedSpeed, speed_in
from .stragglers import Straggler

_GIB = 2.0**30
D = TypeVar("D", bound="DeviceOptions")

Memory = Annotated[Size, Gt(0)]
Slowdown = Annotated[float, Ge(1e-6), Le(1e6)]
Launch = Annotated[float, *bounded("time", 0.0, 1e4, "the cost of one piece of work, of which a run has thousands")]


AnyStraggler = Annotated[SerializeAsAny[Straggler], member_of(Straggler)]
AnyDowntime = Annotated[SerializeAsAny[Downtime], member_of(Downtime)]


class PowerOptions(Options):
    """What a device draws in each state."""

    idle: Power = 2.0
    """While no slot is busy."""
    busy: Power = 6.0
    """While all slots are busy; in between, the draw is proportional to the busy slots."""
    transmit: Power = 1.0
    """In addition, while bits of its own messages flow: not in latency, stalls and waits; once for messages at once."""
    receive: Power = 0.8
    """In addition, while bits of messages to it flow, in the same way."""
    kappa: Annotated[float, Ge(0.0), Le(1e-20)] = 0.0
    """Effective switched capacitance in W/Hz^3; with it, busy is idle + kappa * frequency^3 instead."""
    frequency: Frequency = 0.0
    """Clock for ``kappa``. It sets the power only: state the speed that goes with it."""

    @property
    def working(self) -> float:
        """The draw while all slots are busy (W)."""
        return self.idle + self.kappa * self.frequency**3 if self.kappa else self.busy


class DeviceOptions(Options):
    """One device."""

    profile: str | None = None
    """Name of a known device (see devices/profiles.json) that speed, memory and power come from where not given."""
    speed: StatedSpeed
    """Effective speed on the work at hand, well below a data sheet's peak; or one for each type of numbers, of which that
    counts which the run computes in (backbone.dtype)."""
    memory: Memory
    """Memory for a part of the model, its activations and its optimizer."""
    slots: Annotated[int, Ge(1), Le(4096)] = 1
    """Pieces of work that run side by side, each at full speed; more wait in line."""
    slowdown: Slowdown = 1.0
    """Factor on compute time; 1 is as fast as stated, a straggler has more."""
    stragglers: Items[tuple[AnyStraggler, ...]] = ()
    """Slowdowns that vary from one piece of work, or one time, to another; their factors multiply."""
    downtimes: Items[tuple[AnyDowntime, ...]] = ()
    """When the device is away; all of them together."""
    launch: Launch = 0.0
    """Fixed cost of a piece of work."""
    power: PowerOptions = PowerOptions()
    """Power draw."""

    @model_validator(mode="before")
    @classmethod
    def _from_profile(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("profile"), str):
            return given
        return merged(profile(given["profile"]), given)

    @property
    def effective_speed(self) -> float:
        """The speed that counts (FLOP/s); where several are stated, :meth:`computing_in` says which."""
        if isinstance(self.speed, float):
            return self.speed
        raise ValueError(f"one of {len(self.speed)} speeds counts; computing_in(type) says which")

    def computing_in(self, numbers: NumberType) -> Self:
        """This device with the one speed that it has in ``numbers``.

        Raises:
            ValueError: none is stated for that type.
        """
        speed = speed_in(self.speed, numbers)
        return self if speed is self.speed else self.model_copy(update={"speed": speed})


class ClientOptions(DeviceOptions):
    """A single-board computer or a phone; the defaults are those of a Raspberry Pi 4's class."""

    speed: StatedSpeed = 20e9
    memory: Memory = 4.0 * _GIB


class EdgeOptions(DeviceOptions):
    """A small server near the clients; the defaults are those of a multi-core CPU."""

    speed: StatedSpeed = 500e9
    memory: Memory = 64.0 * _GIB
    power: PowerOptions = PowerOptions(idle=60.0, busy=200.0, transmit=5.0, receive=5.0)


class CloudOptions(DeviceOptions):
    """The cloud's server; the defaults are those of a data-centre GPU well below its peak."""

    speed: StatedSpeed = 10e12
    memory: Memory = 256.0 * _GIB
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

    def of(
        self, topology: Topology, context: Context | None = None, numbers: NumberType = "float32"
    ) -> dict[str, DeviceOptions]:
        """Node name -> its options, for every node that computes (not for routers), files of downtimes read.

        ``numbers`` is what the run computes in: each device has the one speed that counts.

        Raises:
            InputFaults: overrides of unknown nodes, or with bad values, speeds of other types only, and files that cannot
                be used; all of them.
        """
        faults: list[Fault] = []
        roles: Mapping[str, DeviceOptions] = {"client": self.client, "edge": self.edge, "cloud": self.cloud}
        roles = {role: _made(options, context, numbers, role, faults) for role, options in roles.items()}
        found = {name: roles[role] for role in ("cloud", "edge", "client") for name in topology.names(role)}
        for name, changes in self.overrides.items():
            where = f"overrides.{name}"
            if name not in found:
                near = difflib.get_close_matches(name, found, 1)
                hint = (
                    f"; did you mean {near[0]!r}?" if near else f"; nodes that compute: {', '.join([*found][:5])}, ..."
                )
                faults.append(Fault(where, f"there is no node {name!r}{hint}"))
                continue
            base: DeviceOptions = getattr(self, topology.role(name))
            given = base.model_dump()
            if "profile" in changes:  # a profile of one's own goes before what the role says
                given = {key: value for key, value in given.items() if key not in ("speed", "memory", "power")}
            try:
                options = type(base).model_validate(merged(given, changes))
            except ValidationError as error:
                faults += [Fault(".".join([where, *map(str, e["loc"])]), e["msg"]) for e in error.errors()]
            else:
                found[name] = _made(options, context, numbers, where, faults)
        if faults:
            raise InputFaults(faults)
        return found


def _made(options: D, context: Context | None, numbers: NumberType, key: str, faults: list[Fault]) -> D:
    try:
        options = options.computing_in(numbers)
    except ValueError as error:
        of = f"profile {options.profile!r}: " if options.profile else ""
        faults.append(Fault(f"{key}.speed", f"{of}{error}; state speed: {{{numbers}: ...}}"))
    return _loaded(options, context, key, faults)


def _loaded(options: D, context: Context | None, key: str, faults: list[Fault]) -> D:
    if not options.downtimes or context is None:
        return options
    loaded = []
    for i, downtime in enumerate(options.downtimes):
        try:
            loaded.append(downtime.loaded(context, f"{key}.downtimes.{i}"))
        except InputFaults as error:
            faults += error.faults
    return options.model_copy(update={"downtimes": tuple(loaded)})


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, key by key, also within mappings of both."""
    both = dict(base) | dict(changes)
    for key in base.keys() & changes.keys():
        if isinstance(base[key], dict) and isinstance(changes[key], dict):
            both[key] = merged(base[key], changes[key])
    return both
