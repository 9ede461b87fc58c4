"""What a scenario may say about one link.

Tested in tests/topology/test_generators.py and tests/topology/test_traces.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..base.registry import Items, Options
from .limits import DEAD, BandwidthOrOutage, Duration, Latency, Loss, Moment, PositiveBandwidth, is_dead, profile_fault
from .spellings import UNIT_OF

Duplex = Literal["full", "half"]
Entry = Items[tuple[Moment, BandwidthOrOutage]]
Profile = tuple[tuple[float, float], ...]


class TraceFile(Options):
    """A file of bandwidths over time. Units are those of its header, of ``time`` and ``bandwidth``, or of its format."""

    file: str
    """Path of the file."""
    format: Literal["columns", "mahimahi", "pensieve"] = "columns"
    """``columns``: a time and a bandwidth per line, held until the next; ``pensieve``: the same in s and Mbit/s, without a
    header; ``mahimahi``: a whole ms per line, at which 1500 bytes may go, beginning again at the last."""
    time: str | None = None
    """Unit of the times, where the header has none: ``s``, ``ms``."""
    bandwidth: str | None = None
    """Unit of the bandwidths, where the header has none: ``bit/s``, ``Mbit/s``, ``kB/s``."""
    interval: Annotated[Duration, Field(ge=1e-3)] = 0.1
    """Of ``mahimahi``: the bandwidth is what may go in each interval of this length, over its length; whole ms."""

    @model_validator(mode="after")
    def _units(self) -> TraceFile:
        for quantity in UNIT_OF:
            unit = getattr(self, quantity)
            if unit is not None and self.format != "columns":
                raise ValueError(f"the format {self.format} has units of its own; leave {quantity} out")
            if unit is not None and UNIT_OF[quantity](unit) is None:
                usual = {"time": "s, ms or us", "bandwidth": "bit/s, kbit/s, Mbit/s or MB/s"}[quantity]
                raise ValueError(f"{quantity}: {unit!r} is not a unit of {quantity}, such as {usual}")
        if "interval" in self.model_fields_set and self.format != "mahimahi":
            raise ValueError("an interval is of the format mahimahi only")
        if abs(self.interval * 1e3 - round(self.interval * 1e3)) > 1e-6:
            raise ValueError(f"the interval must be whole ms, got {self.interval:g} s")
        return self


def _a_file(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


class TraceDirections(Options):
    """A trace for each direction; that of a direction left out stays as stated."""

    up: Annotated[TraceFile, BeforeValidator(_a_file)] | None = None
    """Trace of the direction towards the cloud: a path, or a mapping."""
    down: Annotated[TraceFile, BeforeValidator(_a_file)] | None = None
    """Trace of the direction towards the client."""

    @model_validator(mode="after")
    def _any(self) -> TraceDirections:
        if self.up is None and self.down is None:
            raise ValueError("a trace names a file, or up, or down")
        return self


class LinkOptions(Options):
    """Bandwidth and latency of a link; up is from the client's side towards the cloud."""

    up: PositiveBandwidth
    """Bandwidth towards the cloud."""
    down: PositiveBandwidth | None = None
    """Bandwidth towards the client; as ``up`` when not given."""
    latency: Latency = 0.0
    """One-way delay."""
    duplex: Duplex = "full"
    """``full``: a channel per direction; ``half``: both directions share ``up``."""
    profile: Items[tuple[Entry, ...]] = ()
    """``[[time, bandwidth], ...]``: from each time on, both directions have that bandwidth, or ``up`` alone where ``down``
    is stated; 0 is an outage."""
    period: Duration | None = None
    """The profile begins again after this time; without it, its last entry holds."""
    profile_down: Items[tuple[Entry, ...]] | None = None
    """A profile of the direction towards the client by itself; ``profile`` is then that of ``up`` only."""
    period_down: Duration | None = None
    """After this time ``profile_down`` begins again."""
    trace: str | TraceFile | TraceDirections | None = None
    """Files, instead of profiles: a path, ``{file, format, time, bandwidth}``, or ``{up: ..., down: ...}``. One file sets
    both directions if ``down`` is left out, else that of ``up``; units are never assumed."""
    repeat: bool | None = None
    """The trace begins again at the time of its last row; without it, the last bandwidth holds (``mahimahi`` always
    repeats)."""
    cell: str | None = Field(default=None, min_length=1)
    """Links that name one cell share its air interface, both directions together; ``{edge}`` in the name of a client's
    cell stands for the node it hangs off: a cell per edge server."""
    cell_bandwidth: PositiveBandwidth | None = None
    """What the links of the cell carry together; without it, the largest ``up`` among them."""
    jitter: Latency = 0.0
    """Standard deviation of the latency, drawn per message (normal, cut at 0)."""
    loss: Loss = 0.0
    """Probability that a packet is lost and sent again."""

    @model_validator(mode="after")
    def _in_order(self) -> LinkOptions:
        fault = profile_fault(self.profile, self.period)
        if is_dead(self.profile) or is_dead(self.profile_down or ()):
            fault = DEAD
        below = profile_fault(self.profile_down or (), self.period_down)
        if below:
            fault = f"profile_down: {below}"
        if self.trace is not None and (self.profile or self.period is not None or self.profile_down is not None):
            fault = "a link has either a profile or a trace"
        if self.repeat and self.trace is None:
            fault = "repeat needs a trace"
        if self.duplex == "half" and (self.profile_down is not None or isinstance(self.trace, TraceDirections)):
            fault = "both directions of a half-duplex link share one channel, so its profile or trace is one"
        if self.cell_bandwidth is not None and self.cell is None:
            fault = "cell_bandwidth needs a cell"
        if fault:
            raise ValueError(fault)
        return self

    def profiles(self) -> tuple[Profile, float | None, Profile | None, float | None]:
        """``profile``, ``period``, ``profile_down`` and ``period_down`` of the :class:`.model.Link` (s, bit/s)."""
        up = tuple((float(time), float(bandwidth)) for time, bandwidth in self.profile)
        if self.profile_down is not None:
            down = tuple((float(time), float(bandwidth)) for time, bandwidth in self.profile_down)
            return up, self.period, down, self.period_down
        alone = self.down is not None and self.duplex == "full" and up
        return up, self.period, () if alone else None, None
