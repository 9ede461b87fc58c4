"""The bandwidth of one direction of a link over time, as its profile says.

Tested in tests/network/test_channels.py.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BandwidthProfile:
    """From each of ``times`` (s) on the bandwidth of the same index (bit/s); all over again after ``period`` (s)."""

    times: tuple[float, ...] = ()
    bandwidths: tuple[float, ...] = ()
    period: float | None = None

    def at(self, now: float, static: float) -> float:
        """The bandwidth at ``now`` (bit/s), which is ``static`` before the first entry."""
        step = bisect.bisect_right(self.times, self._phase(now)) - 1
        return self.bandwidths[step] if step >= 0 else static

    def next_change(self, now: float) -> float:
        """When the bandwidth may change next after ``now`` (s; infinite if never)."""
        times, period = self.times, self.period
        index = bisect.bisect_right(times, self._phase(now))
        begin = 0.0 if period is None else math.floor(now / period) * period
        if index < len(times):
            return begin + times[index]
        return math.inf if period is None else begin + period

    def _phase(self, now: float) -> float:
        return now if self.period is None else math.fmod(now, self.period)


class SharedProfiles:
    """Profiles as data made into such objects, once each: thousands of links may share a long trace."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, float | None], BandwidthProfile] = {}

    def of(self, given: tuple[tuple[tuple[float, float], ...], float | None]) -> BandwidthProfile:
        """The object for these entries and this period (s)."""
        profile, period = given
        key = id(profile), period  # the links keep it, so that no other takes its identity
        if key not in self._made:
            self._made[key] = BandwidthProfile(tuple(t for t, _ in profile), tuple(b for _, b in profile), period)
        return self._made[key]
