"""When a device is away: crashes, on and off by chance, or by a trace.

Downtimes are intervals of time that depend on the device's own random stream only, never on what the device does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.intervals import Interval, alternation
from ..base.registry import Component
from ..base.units import Seconds
from ..populations import Drawable
from ..topology.limits import Duration, MeanTime
from ..topology.trace_files import read_columns


class Downtime(Component):
    """Intervals in which a device neither computes nor communicates; what it was doing is lost."""

    family: ClassVar[str] = "downtime"

    @property
    def random(self) -> bool:
        """Whether it is drawn at random."""
        return False

    def intervals(self, random: np.random.Generator) -> Iterator[Interval]:
        """The times from and to which the device is away (s), in order; the last may be infinite."""
        raise NotImplementedError

    def loaded(self, context: Context, key: str) -> Downtime:
        """This downtime with its files read.

        Raises:
            InputFaults: a file is missing or wrong; the faults are at ``key``.
        """
        return self


class Crash(Downtime):
    """One crash at a stated time, and perhaps a comeback."""

    kind: Literal["crash"] = "crash"
    at: Drawable[Seconds]
    """When the device goes away."""
    duration: Drawable[Duration] | None = None
    """How long it stays away; for good without it."""

    def intervals(self, random: np.random.Generator) -> Iterator[Interval]:
        yield self.at, math.inf if self.duration is None else self.at + self.duration


class OnOff(Downtime):
    """Present and away in turn, for exponential or fixed times."""

    kind: Literal["on_off"] = "on_off"
    on: Drawable[MeanTime] = 600.0
    """Mean time for which the device is present."""
    off: Drawable[MeanTime] = 60.0
    """Mean time for which it is away."""
    times: Literal["exponential", "fixed"] = "exponential"
    """Exponential times begin in a random state; fixed ones with the device present."""
    phase: Drawable[Seconds] = 0.0
    """Of fixed times: how far into its cycle, of which it is present first, the device is at time 0."""

    @model_validator(mode="after")
    def _phase_of_fixed_times(self) -> OnOff:
        if self.phase != 0.0 and self.times != "fixed":
            raise ValueError("phase is of fixed times; exponential ones begin in a random state")
        return self

    @property
    def random(self) -> bool:
        return self.times == "exponential"

    def intervals(self, random: np.random.Generator) -> Iterator[Interval]:
        phase = math.fmod(self.phase, self.on + self.off)
        for begin, end in alternation(random, self.on, self.off, fixed=self.times == "fixed"):
            if end > phase:
                yield max(0.0, begin - phase), end - phase


class AvailabilityTrace(Downtime):
    """A file of a time and a state per line: 0 is away, anything else present, from then on. Times are in s, unless a header says
    ``time_ms`` or the like."""

    kind: Literal["trace"] = "trace"
    file: str
    """Path of the CSV file."""
    repeat: bool = False
    """The trace begins again at the time of its last row."""
    _rows: tuple[Interval, ...] = ()

    def loaded(self, context: Context, key: str) -> AvailabilityTrace:
        rows = read_columns(context, self.file, f"{key}.file", {}, "state")
        if self.repeat and len(rows) < 2:
            raise InputFaults(
                [Fault(f"{key}.file", f"{self.file} has {len(rows)} row; one that repeats needs 2 or more")]
            )
        copy = self.model_copy()
        copy._rows = rows
        return copy

    def intervals(self, random: np.random.Generator) -> Iterator[Interval]:
        rows, begin = (self._rows[:-1] if self.repeat else self._rows), 0.0
        away: float | None = None
        while True:
            for time, state in rows:
                if state == 0.0 and away is None:
                    away = begin + time
                elif state != 0.0 and away is not None:
                    yield away, begin + time
                    away = None
            if not self.repeat or not any(state == 0.0 for _, state in rows) or not any(state for _, state in rows):
                break
            begin += self._rows[-1][0]
        if away is not None:
            yield away, math.inf
