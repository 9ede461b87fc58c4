"""The mean gains between clients and stations as clients move, and which station each of them should have.

Tested in tests/wireless/test_radio.py.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..base.streams import Streams
from .layout import Layout
from .options import WirelessOptions
from .propagation import LineOfSight, Shadowing, ShadowSpread
from .rate import Floats, from_db, to_db


class ChannelState:
    """Positions, mean gains and associations at one time; clients and stations by index.

    The serving station is the one with the highest received power at first (of its downlink, averaged over fading). It
    changes to the strongest of those that have been better than it by the margin, at every update, for the time to
    trigger (3GPP TS 38.331, event A3).
    """

    def __init__(self, options: WirelessOptions, layout: Layout, streams: Streams) -> None:
        self.options, self.layout = options, layout
        powers = [options.nodes[s].power if s in options.nodes else None for s in layout.stations]
        self._power_db = to_db([options.station_power if power is None else power for power in powers])
        self._paths = [options.mobility.start(name, streams.numpy("mobility", name), layout.positions[name], options.area)
                       for name in layout.clients]  # fmt: skip
        self._stations = np.array([layout.positions[name] for name in layout.stations], dtype=np.float64)
        self.silent: npt.NDArray[np.bool_] = np.zeros(len(layout.stations), dtype=bool)
        """The stations that are off the air."""
        self._since = np.full((len(layout.clients), len(layout.stations)), math.inf)
        self.positions: Floats = self._at(0.0)
        self._apart: Floats = self.distances()
        self._sight = LineOfSight(options.path_loss.los_distance, layout.clients, layout.stations, streams)
        self.los: npt.NDArray[np.bool_] = self._seen()
        """Which clients see which stations."""
        self._shadowing = Shadowing(self._spread(), layout.clients, layout.stations, streams)
        self.gains: Floats = self._mean_gains()
        """Linear mean power gains, clients x stations."""
        self.serving: npt.NDArray[np.int64] = np.argmax(self._received(), axis=1)

    def move(self, now: float) -> bool:
        """Bring positions and gains up to date; whether anybody has moved."""
        positions = self._at(now)
        steps = np.hypot(*(positions - self.positions).T)
        self.positions = positions
        if steps.any():
            self._apart = self.distances()
        self._sight.move(steps)
        before, self.los = self.los, self._seen()
        self._shadowing.move(steps, self._spread(), self.los != before)
        if steps.any():
            self.gains = self._mean_gains()
        return bool(steps.any())

    def associate(self, now: float) -> list[tuple[int, int, int]]:
        """Change stations that are due; (client, old, new) for each that was changed."""
        received, rows = self._received(), np.arange(len(self.serving))
        mine = received[rows, self.serving][:, None]
        better = received > mine + self.options.handover.margin
        better[rows, self.serving] = False
        self._since = np.where(better, np.minimum(self._since, now), math.inf)
        waited = now - self._since >= self.options.handover.time_to_trigger - 1e-9
        due = better & (waited | ~np.isfinite(mine))
        best = np.argmax(np.where(due, received, -math.inf), axis=1)
        found = [(int(c), int(self.serving[c]), int(best[c])) for c in np.flatnonzero(due.any(axis=1))]
        for client, _, new in found:
            self.serving[client] = new
            self._since[client] = math.inf
        return found

    def distances(self) -> Floats:
        """Clients x stations (m)."""
        apart = self.positions[:, None, :] - self._stations[None, :, :]
        return np.asarray(np.hypot(apart[..., 0], apart[..., 1]))

    def _at(self, now: float) -> Floats:
        return np.array([path(now) for path in self._paths], dtype=np.float64).reshape(-1, 2)

    def _seen(self) -> npt.NDArray[np.bool_]:
        return self._sight.where(self.options.path_loss.los_probability(self._apart))

    def _spread(self) -> ShadowSpread:
        """The shadowing that the scenario states; for what it leaves out, that of the path loss."""
        own = self.options.path_loss.shadowing(self._apart, self.los)
        sigma, distance = self.options.shadowing, self.options.shadowing_distance
        return ShadowSpread(own.sigma if sigma is None else sigma, own.distance if distance is None else distance)

    def _mean_gains(self) -> Floats:
        loss = self.options.path_loss.decibels(self._apart, self.los)
        return from_db(self.options.antenna_gain - loss - self._shadowing.decibels)

    def _received(self) -> Floats:
        """Mean received power of every client from every station that is on the air (dBW)."""
        return np.asarray(np.where(self.silent, -math.inf, to_db(self.gains) + self._power_db))
