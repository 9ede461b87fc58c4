"""From a distance to a power gain: path loss by distance and line of sight, shadowing by place, fading by time.

The gain of a pair of client and station is 10^((antennas - loss(d, sight) - shadow) / 10) * fading. Each pair draws from
streams of its own, so that another client or station changes nothing for those that are there.
Does not capture antenna patterns, line of sight by geometry, or sight and shadowing that are alike for neighbours, or for one
client towards several stations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from ..base.registry import Component
from ..base.streams import Streams
from ..base.units import Decibels, Distance, Frequency
from .rate import Floats

LIGHT_M_S = 299_792_458.0
NEAREST_M = 1.0
"""Closer than this (m), path loss is that of this distance: the formulas are of the far field."""

Exponent = Annotated[float, Ge(1.0), Le(10.0)]
#: Blocks of random numbers that are drawn at once.
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class ShadowSpread:
    """How wide shadowing is, and how far it reaches; each a number, or one per pair (clients x stations)."""

    sigma: npt.ArrayLike = 0.0
    """Standard deviation (dB). The number 0 is no shadowing at all: nothing is drawn."""
    distance: npt.ArrayLike = math.inf
    """Distance over which it decorrelates to 1/e as a client moves (m); infinite: it never changes."""


class PathLoss(Component):
    """The mean loss of power over a distance.

    Distances are those on the map (m). A pair may be in one of two states, in line of sight or not: a member that tells them
    apart says how likely the first is. By default there is sight everywhere.
    """

    family: ClassVar[str] = "path_loss"

    def decibels(self, distance: npt.ArrayLike, los: npt.ArrayLike = True) -> Floats:
        """The loss in dB at these distances of pairs with line of sight or without; never less for a longer one or
        without sight."""
        raise NotImplementedError

    def los_probability(self, distance: npt.ArrayLike) -> Floats:
        """How likely pairs at these distances have line of sight."""
        return np.ones_like(np.asarray(distance, dtype=np.float64))

    @property
    def los_distance(self) -> float | None:
        """Distance over which line of sight decorrelates to 1/e as a client moves (m); ``None`` where it is certain."""
        return None

    def shadowing(self, distance: npt.ArrayLike, los: npt.ArrayLike) -> ShadowSpread:
        """The shadowing of such pairs, where the scenario states none of its own."""
        return ShadowSpread()

    def notes(self, farthest: float) -> tuple[str, ...]:
        """What to know if clients are up to so far from their stations (m)."""
        return ()

    @property
    def understood(self) -> str:
        """What it was understood to be, defaults included; nothing for those that are a formula without any."""
        return ""


def free_space(frequency: float, distance: float = NEAREST_M) -> float:
    """Friis: the loss of isotropic antennas in free space, 20 log10(4 pi d f / c), in dB; f in Hz, d in m."""
    return 20.0 * math.log10(4.0 * math.pi * distance * frequency / LIGHT_M_S)


class _Sloped(PathLoss):
    reference: Decibels | None = None
    """Loss at 1 m; without it, that of free space at ``frequency``."""
    frequency: Annotated[Frequency, Ge(1.0)] = 3.5e9
    """Carrier, for the loss at 1 m."""

    def _sloped(self, distance: npt.ArrayLike, exponent: float) -> Floats:
        far = np.maximum(np.asarray(distance, dtype=np.float64), NEAREST_M)
        reference = free_space(self.frequency) if self.reference is None else self.reference
        return np.asarray(reference + 10.0 * exponent * np.log10(far))


class LogDistance(_Sloped):
    """Log-distance: L(d) = L(1 m) + 10 n log10(d / 1 m); n = 2 is free space, 3 to 4 a city (Rappaport 2002, 4.9).

    3GPP's macro cell, 128.1 + 37.6 log10(d / km) dB, is ``reference: 15.3 dB, exponent: 3.76``.
    """

    kind: Literal["log_distance"] = "log_distance"
    exponent: Exponent = 3.0
    """Path loss exponent n."""

    def decibels(self, distance: npt.ArrayLike, los: npt.ArrayLike = True) -> Floats:
        return self._sloped(distance, self.exponent)


class DualSlope(_Sloped):
    """Log-distance up to a breakpoint, and a steeper one beyond, as 3GPP's line of sight in a street (TR 38.901)."""

    kind: Literal["dual_slope"] = "dual_slope"
    exponent: Exponent = 2.1
    """Path loss exponent n up to the breakpoint."""
    beyond: Exponent = 4.0
    """Exponent from the breakpoint on."""
    breakpoint: Annotated[Distance, Ge(NEAREST_M)] = 200.0
    """Where the slope changes."""

    def decibels(self, distance: npt.ArrayLike, los: npt.ArrayLike = True) -> Floats:
        far = np.asarray(distance, dtype=np.float64)
        further = np.maximum(far / self.breakpoint, 1.0)
        near = self._sloped(np.minimum(far, self.breakpoint), self.exponent)
        return np.asarray(near + 10.0 * self.beyond * np.log10(further))


class LineOfSight:
    """Which pairs see each other: those whose number u, uniform in [0, 1), is below their probability of line of sight.

    A client keeps its u for a distance that is exponential with mean ``distance`` (m) and then draws another, so that after a
    way d it has the same one with probability exp(-d / D), which is the autocorrelation of TR 38.901, 7.6.3.1, for the
    state. At rest nothing changes. The state is hard: TR 38.901's soft transition (7.6.3.3) is not captured. Without
    ``distance`` nothing is drawn, and pairs see each other whose probability is above a half.
    """

    def __init__(
        self, distance: float | None, clients: Sequence[str], stations: Sequence[str], streams: Streams
    ) -> None:
        self._distance = distance
        self._uniform: Floats = np.full((len(clients), len(stations)), 0.5)
        self._left: Floats = np.full_like(self._uniform, math.inf)
        if distance is not None:
            self._draws = [[streams.numpy("line of sight", c, s) for s in stations] for c in clients]
            self._left[:] = -1.0
            self._renew(distance)

    def move(self, steps: Floats) -> None:
        """The clients have moved by these distances (m)."""
        if self._distance is not None:
            self._left -= steps[:, None]
            self._renew(self._distance)

    def where(self, probability: Floats) -> npt.NDArray[np.bool_]:
        """Whether each pair sees each other."""
        return np.asarray(self._uniform < probability)

    def _renew(self, distance: float) -> None:
        """Draw anew for those who have gone as far as theirs holds. What is left after several is as long as after one."""
        for row, column in np.argwhere(self._left < 0.0).tolist():
            draw = self._draws[row][column]
            self._uniform[row, column] = draw.random()
            self._left[row, column] = distance * draw.standard_exponential()


class Shadowing:
    """Log-normal shadowing of every pair: normal in dB, with mean 0 and the standard deviation of its spread.

    With a correlation distance D (m), a client that moves by d keeps exp(-d / D) of it (Gudmundson 1991), as a
    first-order autoregression over its steps; without, it is fixed for the run. It widens and narrows with its spread, and is
    another one, independent, once line of sight is gained or lost (TR 38.901, 7.6.3.4).
    """

    def __init__(self, spread: ShadowSpread, clients: Sequence[str], stations: Sequence[str], streams: Streams) -> None:
        self._there = np.ndim(spread.sigma) > 0 or bool(spread.sigma)
        names = [(c, s) for c in clients for s in stations] if self._there else []
        self._draws = [streams.numpy("shadowing", *name) for name in names]
        self._shape = (len(clients), len(stations))
        self._steps = 0
        self._block: Floats = np.zeros((0, *self._shape))
        self._sigma: Floats = np.broadcast_to(np.asarray(spread.sigma, dtype=np.float64), self._shape)
        self.decibels: Floats = self._sigma * self._next()

    def _next(self) -> Floats:
        """The next standard normal number of every pair."""
        if not self._there:
            return np.zeros(self._shape)
        at = self._steps % _CHUNK
        if at == 0:
            drawn = np.array([draw.standard_normal(_CHUNK) for draw in self._draws])
            self._block = drawn.T.reshape(_CHUNK, *self._shape)
        self._steps += 1
        return np.asarray(self._block[at])

    def move(self, steps: Floats, spread: ShadowSpread, anew: npt.ArrayLike = False) -> None:
        """The clients have moved by these distances (m), to where their shadowing has this spread; ``anew`` are those
        pairs whose line of sight has changed."""
        sigma, distance = (np.asarray(given, dtype=np.float64) for given in (spread.sigma, spread.distance))
        same = np.isinf(distance).all() and not np.any(anew) and bool((sigma == self._sigma).all())
        if not self._there or same:
            return
        sigma = np.broadcast_to(sigma, self._shape)
        kept = np.where(np.asarray(anew) | (self._sigma == 0.0), 0.0, np.exp(-steps[:, None] / distance))
        wider = np.divide(sigma, self._sigma, out=np.ones(self._shape), where=self._sigma > 0.0)
        self.decibels = kept * wider * self.decibels + np.sqrt(1.0 - kept**2) * sigma * self._next()
        self._sigma = sigma


class Fading:
    """Rayleigh block fading: power gains that are exponential with mean 1, constant within a block and independent
    from one block to the next; one per pair (``flat``), or one per subchannel of it (``selective``).

    The gains of a block depend on the names of the pair and the number of the block only, not on which were asked for.
    """

    def __init__(self, kind: Literal["none", "flat", "selective"], streams: Streams) -> None:
        self.kind = kind
        self._streams = streams
        self._chunks: dict[tuple[str, ...], tuple[int, Floats]] = {}

    def gains(self, pair: tuple[str, str], subchannels: int, block: int) -> Floats:
        """Linear power gains of the subchannels from the first of ``pair`` to the second, in block number ``block``."""
        if self.kind == "none":
            return np.ones(subchannels)
        number, drawn = self._chunks.get(pair, (-1, np.zeros((0, 0))))
        width = 1 if self.kind == "flat" else subchannels
        if number != block // _CHUNK or drawn.shape[1] != width:
            number = block // _CHUNK
            drawn = self._streams.numpy("fading", *pair, number).standard_exponential((_CHUNK, width))
            self._chunks[pair] = number, drawn
        row: Floats = drawn[block % _CHUNK]
        return row if width == subchannels else np.broadcast_to(row, subchannels)
