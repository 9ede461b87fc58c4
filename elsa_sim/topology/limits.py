"""Which quantities and names a network may have: one place for the bounds, and for why they are there.

They are far beyond any real network. What lies outside is a slip of the pen (a wrong unit, a number without one), or ends
in infinite times and runs without end.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

from annotated_types import Ge, Gt, Le

from ..base.units import Bandwidth, Seconds, Size

LEAST_BANDWIDTH, MOST_BANDWIDTH = 1.0, 1e15
"""bit/s; all fibres of one cable carry some 1e15."""
MOST_LATENCY = 1e5
"""s; light takes 8e4 s to the farthest probe in space."""
MOST_TIME = 1e8
"""s; three years of simulated time. Clock times since 1970 are larger."""
MOST_LOSS = 0.99
"""Each byte is then sent 1 / (1 - 0.99) = 100 times on average."""
LEAST_CHANGE = 1e-5
"""s; a bandwidth that changes forever, and faster than this on average, makes more events than a run can play."""
MOST_PACKET = 65_535.0
"""bytes; the longest IP packet."""
MOST_BYTES = 1e18
"""bytes of one message."""
MOST_NAME = 255
"""Characters of a name."""

PositiveBandwidth = Annotated[Bandwidth, Ge(LEAST_BANDWIDTH), Le(MOST_BANDWIDTH)]
"""Of a link that carries something."""
BandwidthOrOutage = Annotated[Bandwidth, Le(MOST_BANDWIDTH)]
"""An entry of a profile; 0 is an outage."""
Latency = Annotated[Seconds, Le(MOST_LATENCY)]
Moment = Annotated[Seconds, Le(MOST_TIME)]
Duration = Annotated[Seconds, Gt(0), Le(MOST_TIME)]
Loss = Annotated[float, Ge(0.0), Le(MOST_LOSS)]
Header = Annotated[Size, Le(MOST_PACKET)]
Segment = Annotated[Size, Ge(1), Le(MOST_PACKET)]


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
    return f"must be a probability of at least 0 and at most {MOST_LOSS:g}, got {value:g}: each byte is sent 1 / (1 - loss) times"


def profile_fault(profile: tuple[tuple[float, float], ...], period: float | None) -> str | None:
    """What is wrong with a bandwidth profile (s, bit/s) and the period in which it begins again (s), or ``None``."""
    times = [time for time, _ in profile]
    if any(not 0.0 <= time <= MOST_TIME for time in times):
        return f"the times of a profile are at least 0 and at most {MOST_TIME:g} s, counted from the start of the run"
    if any(not 0.0 <= bandwidth <= MOST_BANDWIDTH for _, bandwidth in profile):
        return f"the bandwidths of a profile are at least 0 and at most {MOST_BANDWIDTH:g} bit/s"
    if any(0.0 < bandwidth < LEAST_BANDWIDTH for _, bandwidth in profile):
        return f"a bandwidth of a profile is 0 (an outage) or at least {LEAST_BANDWIDTH:g} bit/s"
    if any(after <= before for before, after in zip(times, times[1:], strict=False)):
        return "the times of a profile must increase"
    if period is not None and not times:
        return "a period needs a profile"
    if period is not None and not (times[-1] < period <= MOST_TIME):
        return (
            f"the period must be longer than the last time of the profile, {times[-1]:g} s, and at most {MOST_TIME:g} s"
        )
    if period is not None and period < LEAST_CHANGE * len(times):
        return (f"{len(times)} bandwidths in a period of {period:g} s change the link more than {1 / LEAST_CHANGE:g} times a second, "
                f"forever; the period must be at least {LEAST_CHANGE * len(times):g} s")  # fmt: skip
    if times and times[0] == 0 and not any(bandwidth for _, bandwidth in profile):
        return (
            "a profile that is 0 from the start on never carries anything; it must have a bandwidth above 0 somewhere"
        )
    return None


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
