"""What a scenario may say about one link."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from annotated_types import Gt
from pydantic import Field, model_validator

from ..registry import Items, Options
from ..units import Bandwidth, Seconds

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
    cell: str | None = Field(default=None, min_length=1)
    """Links that name one cell share one air interface in both directions; its capacity is ``up``."""
    jitter: Seconds = 0.0
    """Standard deviation of the latency, drawn per message (normal, cut at 0)."""
    loss: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability that a packet is lost and sent again."""

    @model_validator(mode="after")
    def _in_order(self) -> LinkOptions:
        fault = profile_fault(self.profile, self.period)
        if fault:
            raise ValueError(fault)
        return self

    def timed(self) -> dict[str, Any]:
        """The fields of a link that tell its bandwidth over time."""
        return {"profile": tuple((float(t), float(b)) for t, b in self.profile), "period": self.period}


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
