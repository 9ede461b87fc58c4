"""From a distance to a power gain: path loss by distance, shadowing by place, fading by time.

The gain of a pair of client and station is 10^((antennas - loss(d) - shadow) / 10) * fading. Each pair draws from
streams of its own, so that another client or station changes nothing for those that are there.
Does not capture antenna patterns, heights, line of sight by geometry, or shadowing that is alike for neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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


class PathLoss(Component):
    """The mean loss of power over a distance."""

    family: ClassVar[str] = "path_loss"

    def decibels(self, distance: npt.ArrayLike) -> Floats:
        """The loss in dB at these distances (m); never less for a longer one."""
        raise NotImplementedError


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

    def decibels(self, distance: npt.ArrayLike) -> Floats:
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

    def decibels(self, distance: npt.ArrayLike) -> Floats:
        far = np.asarray(distance, dtype=np.float64)
        further = np.maximum(far / self.breakpoint, 1.0)
        near = self._sloped(np.minimum(far, self.breakpoint), self.exponent)
        return np.asarray(near + 10.0 * self.beyond * np.log10(further))


class Shadowing:
    """Log-normal shadowing of every pair: normal in dB, with mean 0 and standard deviation ``sigma`` (dB).

    With a correlation distance D (m), a client that moves by d keeps exp(-d / D) of it (Gudmundson 1991), as a
    first-order autoregression over its steps; without, it is fixed for the run.
    """

    def __init__(self, sigma: float, correlation: float | None, clients: Sequence[str], stations: Sequence[str],
                 streams: Streams) -> None:  # fmt: skip
        self._sigma, self._correlation = sigma, correlation
        names = [(c, s) for c in clients for s in stations] if sigma else []
        self._draws = [streams.numpy("shadowing", *name) for name in names]
        self._shape = (len(clients), len(stations))
        self._steps = 0
        self._block: Floats = np.zeros((0, *self._shape))
        self.decibels: Floats = sigma * self._next()

    def _next(self) -> Floats:
        """The next standard normal number of every pair."""
        if not self._sigma:
            return np.zeros(self._shape)
        at = self._steps % _CHUNK
        if at == 0:
            drawn = np.array([draw.standard_normal(_CHUNK) for draw in self._draws])
            self._block = drawn.T.reshape(_CHUNK, *self._shape)
        self._steps += 1
        return np.asarray(self._block[at])

    def move(self, steps: Floats) -> None:
        """The clients have moved by these distances (m)."""
        if self._sigma and self._correlation is not None:
            kept = np.exp(-steps / self._correlation)[:, None]
            self.decibels = kept * self.decibels + np.sqrt(1.0 - kept**2) * self._sigma * self._next()


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
