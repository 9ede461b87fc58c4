"""What a scenario may say about one link.

Tested in tests/topology/test_generators.py and tests/topology/test_traces.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ..base.registry import Items, Options
from ..base.units import Bandwidth, Seconds
from ..populations import Drawable
from .limits import DEAD, Duration, Latency, Loss, PositiveBandwidth, is_dead, profile_fault
from .spellings import UNIT_OF, unit_fault

Duplex = Literal["full", "half"]
Entry = Items[tuple[Seconds, Bandwidth]]
"""From when on (s), and how much (bit/s); 0 is an outage."""
Profile = tuple[tuple[float, float], ...]


class _ByPath:
    """A bare path stands for a mapping with that ``file``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: {"file": value} if isinstance(value, str) else value, handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


class _TraceForm(Options):
    format: Literal["columns", "mahimahi", "pensieve", "bandwidth_log"] = "columns"
    """``columns``: a time and a bandwidth per line, held until the next; ``pensieve``: the same in s and Mbit/s, without a
    header; ``mahimahi``: a whole ms per line, at which 1500 bytes may go, beginning again at the last; ``bandwidth_log``: a
    log of downloads on the move, of Ghent's 4G/LTE and Simula's HSDPA data sets."""
    time: str | None = None
    """Unit of the times, where the header has none: ``s``, ``ms``."""
    bandwidth: str | None = None
    """Unit of the bandwidths, where the header has none: ``bit/s``, ``Mbit/s``, ``kB/s``."""
    interval: Annotated[Duration, Field(ge=1e-3)] = 0.1
    """Of ``mahimahi``: the bandwidth is what may go in each interval of this length, over its length; whole ms."""

    @model_validator(mode="after")
    def _units(self) -> Self:
        for quantity in UNIT_OF:
            unit = getattr(self, quantity)
            if unit is not None and self.format != "columns":
                raise ValueError(f"the format {self.format} has units of its own; leave {quantity} out")
            fault = None if unit is None else unit_fault(unit, quantity)
            if fault:
                raise ValueError(f"{quantity}: {fault}")
        if self.format != "mahimahi" and self.interval != _TraceForm.model_fields["interval"].default:
            raise ValueError("an interval is of the format mahimahi only")
        if abs(self.interval * 1e3 - round(self.interval * 1e3)) > 1e-6:
            raise ValueError(f"the interval must be whole ms, got {self.interval:g} s")
        return self


class TraceFile(_TraceForm):
    """A file of bandwidths over time. Units are those of its header, of ``time`` and ``bandwidth``, or of its format."""

    file: str
    """Path of the file."""


ATrace = Annotated[TraceFile, _ByPath()]


class Trace(_TraceForm):
    """One file of bandwidths, or one for each direction; a direction left out stays as stated."""

    file: str | None = None
    """Path of the file."""
    up: ATrace | None = None
    """Trace of the direction towards the cloud: a path, or a mapping with ``file``."""
    down: ATrace | None = None
    """Trace of the direction towards the client."""

    @model_validator(mode="after")
    def _one_or_two(self) -> Trace:
        two = self.up is not None or self.down is not None
        if two == (self.file is not None):
            raise ValueError("a trace names a file, or one for up or down or both")
        if two and (self.time, self.bandwidth, self.format) != (None, None, "columns"):
            raise ValueError("a trace of each direction has a format and units of its own: up: {file: ..., time: ...}")
        return self

    def files(self) -> tuple[TraceFile | None, TraceFile | None]:
        """Of the direction up, and of down if it has one of its own."""
        if self.file is None:
            return self.up, self.down
        own = TraceFile(
            file=self.file, format=self.format, time=self.time, bandwidth=self.bandwidth, interval=self.interval
        )
        return own, None


class _PathOrTrace:
    """A bare path stays as it is; what is none is looked at as a trace alone, so that its faults are those of a trace."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        made = handler.generate_schema(Trace)
        return core_schema.no_info_wrap_validator_function(
            lambda value, validate: value if isinstance(value, str) else validate(value),
            made,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value.model_dump() if isinstance(value, Trace) else value
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


PathOrTrace = Annotated[str | Trace, _PathOrTrace()]


class LinkOptions(Options):
    """Bandwidth and latency of a link; up is from the client's side towards the cloud."""

    up: Drawable[PositiveBandwidth]
    """Bandwidth towards the cloud."""
    down: Drawable[PositiveBandwidth] | None = None
    """Bandwidth towards the client; as ``up`` when not given."""
    latency: Drawable[Latency] = 0.0
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
    trace: Drawable[PathOrTrace] | None = None
    """Files, instead of profiles: a path, ``{file, format, time, bandwidth}``, or ``{up: ..., down: ...}``. One file sets
    both directions if ``down`` is left out, else that of ``up``; units are never assumed. Or a choice of several, one for
    each client."""
    repeat: bool | None = None
    """The trace begins again at the time of its last row; without it, the last bandwidth holds (``mahimahi`` always
    repeats)."""
    cell: str | None = Field(default=None, min_length=1)
    """Links that name one cell share its air interface, both directions together; ``{edge}`` in the name of a client's
    cell stands for the node it hangs off: a cell per edge server."""
    cell_bandwidth: PositiveBandwidth | None = None
    """What the links of the cell carry together; without it, the largest ``up`` among them."""
    jitter: Drawable[Latency] = 0.0
    """Standard deviation of the latency, drawn per message (normal, cut at 0)."""
    loss: Drawable[Loss] = 0.0
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
        if self.duplex == "half" and (
            self.profile_down is not None or (isinstance(self.trace, Trace) and self.trace.file is None)
        ):
            fault = "both directions of a half-duplex link share one channel, so its profile or trace is one"
        if self.duplex == "half" and self.down is not None and self.down != self.up:
            fault = "both directions of a half-duplex link share one channel of bandwidth up; leave down out"
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
