"""What a scenario may say about devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from annotated_types import Ge, Gt, Le
from pydantic import Field, SerializeAsAny, model_validator

from ..base.choices import member_of
from ..base.context import Context
from ..base.registry import Items, Options
from ..base.units import Frequency, Power, Size, bounded
from ..populations import Drawable, is_distribution
from ..topology import Topology
from .downtime import Downtime
from .profiles import ProfileName, profile
from .speed import NumberType, StatedSpeed, speed_in
from .stragglers import Straggler

_GIB = 2.0**30
#: What a profile states.
OF_PROFILE = ("speed", "memory", "power")

Memory = Annotated[Size, Gt(0)]
Slowdown = Annotated[float, Ge(1e-6), Le(1e6)]
Launch = Annotated[float, *bounded("time", 0.0, 1e4, "the cost of one piece of work, of which a run has thousands")]


AnyStraggler = Annotated[SerializeAsAny[Straggler], member_of(Straggler)]
AnyDowntime = Annotated[SerializeAsAny[Downtime], member_of(Downtime)]


class PowerOptions(Options):
    """What a device draws in each state."""

    idle: Drawable[Power] = 2.0
    """While no slot is busy."""
    busy: Drawable[Power] = 6.0
    """While all slots are busy; in between, the draw is proportional to the busy slots."""
    transmit: Drawable[Power] = 1.0
    """In addition, while bits of its own messages flow: not in latency, stalls and waits; once for messages at once."""
    receive: Drawable[Power] = 0.8
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

    profile: Drawable[ProfileName] | None = None
    """Name of a known device (see devices/profiles.json) that speed, memory and power come from where not given."""
    speed: Drawable[StatedSpeed]
    """Effective speed on the work at hand, well below a data sheet's peak; or one for each type of numbers, of which that
    counts which the run computes in (backbone.dtype)."""
    memory: Drawable[Memory]
    """Memory for a part of the model, its activations and its optimizer."""
    slots: Annotated[int, Ge(1), Le(4096)] = 1
    """Pieces of work that run side by side, each at full speed; more wait in line."""
    slowdown: Drawable[Slowdown] = 1.0
    """Factor on compute time; 1 is as fast as stated, a straggler has more."""
    stragglers: Items[tuple[AnyStraggler, ...]] = ()
    """Slowdowns that vary from one piece of work, or one time, to another; their factors multiply."""
    downtimes: Items[tuple[AnyDowntime, ...]] = ()
    """When the device is away; all of them together."""
    launch: Drawable[Launch] = 0.0
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
    def stated_only(self) -> frozenset[str]:
        return frozenset(OF_PROFILE if is_distribution(self.profile) else ())

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

    speed: Drawable[StatedSpeed] = 20e9
    memory: Drawable[Memory] = 4.0 * _GIB


class EdgeOptions(DeviceOptions):
    """A small server near the clients; the defaults are those of a multi-core CPU."""

    speed: Drawable[StatedSpeed] = 500e9
    memory: Drawable[Memory] = 64.0 * _GIB
    power: PowerOptions = PowerOptions(idle=60.0, busy=200.0, transmit=5.0, receive=5.0)


class CloudOptions(DeviceOptions):
    """The cloud's server; the defaults are those of a data-centre GPU well below its peak."""

    speed: Drawable[StatedSpeed] = 10e12
    memory: Drawable[Memory] = 256.0 * _GIB
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
        """Node name -> its options, for every node that computes (not for routers): files read, distributions drawn.

        ``numbers`` is what the run computes in: each device has the one speed that counts. Without a ``context`` no file is
        read, and there must be no distribution.

        Raises:
            InputFaults: overrides of unknown nodes, or with bad values, speeds of other types only, files that cannot be
                used, and draws that are out of bounds; all of them.
        """
        from .drawn import devices_of

        return devices_of(self, topology, context, numbers)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, key by key, also within mappings of both, but for those that choose a kind."""
    both = dict(base) | dict(changes)
    for key in base.keys() & changes.keys():
        one, other = base[key], changes[key]
        if isinstance(one, dict) and isinstance(other, dict) and "kind" not in one and "kind" not in other:
            both[key] = merged(one, other)
    return both
