"""What a scenario may say about one link.

Tested in tests/topology/test_generators.py and tests/topology/test_traces.py.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from annotated_types import Gt
from pydantic import Field, model_validator

from ..base.registry import Items, Options
from ..base.units import Bandwidth, Seconds

Duplex = Literal["full", "half"]
PositiveBandwidth = Annotated[Bandwidth, Gt(0)]
Entry = Items[tuple[Seconds, Bandwidth]]


class LinkOptions(Options):
    """Bandwidth and latency of a link; up is from the client's side towards the cloud."""

    up: PositiveBandwidth
    """Bandwidth towards the cloud."""
    down: PositiveBandwidth | None = None
    """Bandwidth towards the client; as ``up`` when not given."""
    latency: Seconds = 0.0
    """One-way delay."""
    duplex: Duplex = "full"
    """``full``: a channel per direction; ``half``: both directions share ``up``."""
    profile: Items[tuple[Entry, ...]] = ()
    """``[[time, bandwidth], ...]``: from each time on, both directions have that bandwidth; 0 is an outage."""
    period: Annotated[Seconds, Gt(0)] | None = None
    """The profile begins again after this time; without it, its last entry holds."""
    trace: str | None = None
    """A CSV file of seconds,bits per second, instead of ``profile``: a bandwidth per line, held until the next."""
    repeat: bool = False
    """The trace begins again at the time of its last row; without it, the last bandwidth holds."""
    cell: str | None = Field(default=None, min_length=1)
    """Links that name one cell share its air interface, both directions together; ``{edge}`` in the name of a client's
    cell stands for the node it hangs off: a cell per edge server."""
    cell_bandwidth: PositiveBandwidth | None = None
    """What the links of the cell carry together; without it, the largest ``up`` among them."""
    jitter: Seconds = 0.0
    """Standard deviation of the latency, drawn per message (normal, cut at 0)."""
    loss: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability that a packet is lost and sent again."""

    @model_validator(mode="after")
    def _in_order(self) -> LinkOptions:
        fault = profile_fault(self.profile, self.period)
        if self.trace is not None and (self.profile or self.period is not None):
            fault = "a link has either a profile or a trace"
        if self.repeat and self.trace is None:
            fault = "repeat needs a trace"
        if self.cell_bandwidth is not None and self.cell is None:
            fault = "cell_bandwidth needs a cell"
        if fault:
            raise ValueError(fault)
        return self

    def timed(self) -> tuple[tuple[float, float], ...]:
        """The bandwidth profile as floats (s, bit/s)."""
        return tuple((float(time), float(bandwidth)) for time, bandwidth in self.profile)


def profile_fault(profile: tuple[tuple[float, float], ...], period: float | None) -> str | None:
    """What is wrong with a bandwidth profile, or ``None``."""
    times = [t for t, _ in profile]
    if any(b <= a for a, b in itertools.pairwise(times)):
        return "the times of a profile must increase"
    if period is not None and not times:
        return "a period needs a profile"
    if period is not None and period <= times[-1]:
        return f"the period must be longer than the last time of the profile, {times[-1]:g} s"
    if period is not None and times[0] == 0 and not any(bandwidth for _, bandwidth in profile):
        return "a profile that begins again must have a bandwidth above 0 somewhere"
    return None
