"""Which quantities and names a network may have: one place for the bounds, and for why they are there.

They are far beyond any real network. What lies outside is a slip of the pen (a wrong unit, a number without one), or ends
in infinite times and runs without end.
"""

from __future__ import annotations

import itertools
import unicodedata
from typing import Annotated

from annotated_types import Gt
from pydantic import AfterValidator, WithJsonSchema

from ..base.units import CABLE, MOST_BANDWIDTH, MOST_TIME, Seconds, bounded

LEAST_BANDWIDTH = 1.0  # bit/s
MOST_LATENCY = 1e5  # s
MOST_LOSS = 0.99
LEAST_CHANGE = 1e-5  # s
MOST_PACKET = 65_535.0  # bytes
MOST_NAME = 255  # characters

DEAD = "0 bit/s from the start of the run on never carries anything; a profile or trace must have a bandwidth above 0 somewhere"
_EVENTS = "what changes forever, and faster, makes more events than a run can play"

PositiveBandwidth = Annotated[
    float, *bounded("bandwidth", LEAST_BANDWIDTH, MOST_BANDWIDTH, f"{CABLE}; an outage is a profile entry of 0")
]
"""Of a link that carries something."""
Latency = Annotated[float, *bounded("time", 0.0, MOST_LATENCY, "light takes 8e4 s to the farthest probe in space")]
"""Latency or jitter."""
Duration = Annotated[Seconds, Gt(0)]
MeanTime = Annotated[float, *bounded("time", LEAST_CHANGE, MOST_TIME, _EVENTS)]
"""Between changes that never end."""
Header = Annotated[float, *bounded("size", 0.0, MOST_PACKET, "the longest IP packet")]
Segment = Annotated[float, *bounded("size", 1.0, MOST_PACKET, "the longest IP packet")]


def _loss(value: float) -> float:
    fault = loss_fault(value)
    if fault:
        raise ValueError(fault)
    return value


Loss = Annotated[float, AfterValidator(_loss), WithJsonSchema({"type": "number", "minimum": 0.0, "maximum": MOST_LOSS})]
"""Probability that a packet is lost."""


def bandwidth_fault(value: float) -> str | None:
    """What is wrong with the bandwidth of a link (bit/s), or ``None``."""
    if LEAST_BANDWIDTH <= value <= MOST_BANDWIDTH:
        return None
    return (f"must be a finite number of {LEAST_BANDWIDTH:g} to {MOST_BANDWIDTH:g} bit/s, got {value:g} "
            "(an outage is a profile entry of 0)")  # fmt: skip


def time_fault(value: float, most: float) -> str | None:
    """What is wrong with a latency or a jitter (s), or ``None``."""
    return (
        None if 0.0 <= value <= most else f"must be a finite number of at least 0 and at most {most:g} s, got {value:g}"
    )


def loss_fault(value: float) -> str | None:
    """What is wrong with the probability that a packet is lost, or ``None``."""
    if 0.0 <= value <= MOST_LOSS:
        return None
    return f"must be a probability of at least 0 and at most {MOST_LOSS:g}, got {value!r} (each byte is sent 1 / (1 - loss) times)"


def profile_fault(profile: tuple[tuple[float, float], ...], period: float | None) -> str | None:
    """What is wrong with a bandwidth profile (s, bit/s) and the period in which it begins again (s), or ``None``."""
    times = [time for time, _ in profile]
    if any(not 0.0 <= time <= MOST_TIME for time in times):
        return f"the times of a profile are at least 0 and at most {MOST_TIME:g} s, counted from the start of the run"
    if any(not 0.0 <= bandwidth <= MOST_BANDWIDTH for _, bandwidth in profile):
        return f"the bandwidths of a profile are at least 0 and at most {MOST_BANDWIDTH:g} bit/s"
    if any(0.0 < bandwidth < LEAST_BANDWIDTH for _, bandwidth in profile):
        return f"a bandwidth of a profile is 0 (an outage) or at least {LEAST_BANDWIDTH:g} bit/s"
    if any(after <= before for before, after in itertools.pairwise(times)):
        return "the times of a profile must increase"
    if period is not None and not times:
        return "a period needs a profile"
    if period is not None and not (times[-1] < period <= MOST_TIME):
        return (
            f"the period must be longer than the last time of the profile, {times[-1]:g} s, and at most {MOST_TIME:g} s"
        )
    if period is not None and period < LEAST_CHANGE * len(times):
        return (f"the period must be at least {LEAST_CHANGE * len(times):g} s for {len(times)} bandwidths, got {period:g} s "
                f"({_EVENTS})")  # fmt: skip
    return DEAD if period is not None and is_dead(profile) else None


def is_dead(profile: tuple[tuple[float, float], ...]) -> bool:
    """Whether a link with this profile never carries anything."""
    return bool(profile) and profile[0][0] == 0 and not any(bandwidth for _, bandwidth in profile)


def name_fault(name: str) -> str | None:
    """What is wrong with the name of a node, or ``None``. Names are printed, drawn, and joined to routes with ``>``."""
    if not name:
        return "a name must not be empty"
    if len(name) > MOST_NAME:
        return f"a name has at most {MOST_NAME} characters, got {len(name)}: {name[:40]!r}..."
    if ">" in name:
        return f"a name must not have a '>', which joins the names of a route; got {name!r}"
    strange = next((each for each in name if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")), None)
    if strange is not None:
        return f"a name must be of printable characters; {name!r} has {strange!a}"
    return None
