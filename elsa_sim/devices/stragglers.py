"""What makes a device slower than stated: a factor on the compute time of a piece of work, by when the work starts.

Each device draws from a stream of its own, so that two protocols under one seed meet the same slow devices. A factor
is that of the moment the work starts; what changes while it runs is not captured.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Le
from pydantic import model_validator

from ..base.intervals import alternation
from ..base.registry import Component, Items
from ..base.units import Seconds
from ..populations import Drawable
from ..topology.limits import MeanTime

Factor = Annotated[float, Ge(1e-6), Le(1e6)]


class Straggler(Component):
    """A slowdown of the pieces of work of one device."""

    family: ClassVar[str] = "straggler"
    #: Whether its factors are drawn at random.
    random: ClassVar[bool] = False

    def start(self, random: np.random.Generator) -> Callable[[float], float]:
        """The factor of each piece of work, given the time it starts (s, never decreasing); for one device's run."""
        raise NotImplementedError


class LogNormal(Straggler):
    """A log-normal factor per piece of work: its median is 1, its logarithm has the standard deviation ``sigma``."""

    kind: Literal["lognormal"] = "lognormal"
    random: ClassVar[bool] = True
    sigma: Drawable[Annotated[float, Ge(0.0), Le(10.0)]] = 0.5
    """Standard deviation of the logarithm; its mean is exp(sigma^2 / 2)."""

    def start(self, random: np.random.Generator) -> Callable[[float], float]:
        return lambda t: math.exp(self.sigma * float(random.standard_normal()))


class ShiftedExponential(Straggler):
    """A factor of 1 plus an exponential per piece of work (Lee et al. 2018, arXiv 1512.02673, section III)."""

    kind: Literal["shifted_exponential"] = "shifted_exponential"
    random: ClassVar[bool] = True
    mean: Drawable[Annotated[float, Ge(0.0), Le(1e6)]] = 0.5
    """Mean of the exponential part."""

    def start(self, random: np.random.Generator) -> Callable[[float], float]:
        return lambda t: 1.0 + self.mean * float(random.standard_exponential())


class Background(Straggler):
    """A background load that comes and goes: on and off for exponential times (a two-state Markov chain)."""

    kind: Literal["background"] = "background"
    random: ClassVar[bool] = True
    factor: Drawable[Factor] = 3.0
    """Factor while the load is on."""
    on: Drawable[MeanTime] = 30.0
    """Mean time for which it is on."""
    off: Drawable[MeanTime] = 90.0
    """Mean time for which it is off."""

    def start(self, random: np.random.Generator) -> Callable[[float], float]:
        times = alternation(random, self.off, self.on)
        state = [next(times)]

        def factor(t: float) -> float:
            while state[0][1] <= t:
                state[0] = next(times)
            return self.factor if state[0][0] <= t else 1.0

        return factor


class Throttling(Straggler):
    """Periodic throttling, as of a device that heats up: slow for the last ``share`` of every period."""

    kind: Literal["throttling"] = "throttling"
    factor: Drawable[Factor] = 2.0
    """Factor while throttled."""
    period: Drawable[MeanTime] = 60.0
    """Time from one end of throttling to the next."""
    share: Drawable[Annotated[float, Ge(0.0), Le(1.0)]] = 0.5
    """Share of the period that is throttled."""
    phase: Drawable[Seconds] = 0.0
    """How far into its period the device is at time 0."""

    def start(self, random: np.random.Generator) -> Callable[[float], float]:
        begin = self.period * (1.0 - self.share)
        return lambda t: self.factor if math.fmod(t + self.phase, self.period) >= begin else 1.0


class Scripted(Straggler):
    """Factors at stated times: from each time on, that factor; 1 before the first."""

    kind: Literal["scripted"] = "scripted"
    steps: Items[tuple[Items[tuple[Seconds, Factor]], ...]] = ()
    """``[[time, factor], ...]`` in increasing order of time."""

    @model_validator(mode="after")
    def _in_order(self) -> Scripted:
        times = [time for time, _ in self.steps]
        if sorted(set(times)) != times:
            raise ValueError("the times of the steps must increase")
        return self

    def start(self, random: np.random.Generator) -> Callable[[float], float]:
        times, factors = [time for time, _ in self.steps], [1.0, *(factor for _, factor in self.steps)]
        return lambda t: factors[bisect.bisect_right(times, t)]
