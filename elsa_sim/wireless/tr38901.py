"""Path loss, line of sight and shadowing of 3GPP TR 38.901: street canyon, urban and rural macro cell, indoor office.

Path loss is Table 7.4.1-1, the probability of line of sight Table 7.4.2-1, the distances over which shadowing and the state of
sight decorrelate Tables 7.5-6 and 7.6.3.1-2, of version 16.1.0, to which later versions add other scenarios. Losses are in dB,
f is the carrier in GHz, lengths are in m: d2D on the map, d3D = sqrt(d2D^2 + (hBS - hUT)^2) between the antennas. Without sight
the loss is the larger one of that with sight and of a formula of its own. The standard's c is 3e8 m/s.

Nearer than the standard's least distance, the loss is that of this distance; beyond its longest one the formulas go on, and a note
says so. Does not capture walls and cars around a client (O2I), oxygen and rain, antenna patterns, clusters and Doppler (fading is
``wireless.fading``), shadowing that is alike for neighbours or for one client's stations, or the standard's soft change of state.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..base.units import bounded
from .propagation import NEAREST_M, PathLoss, ShadowSpread
from .rate import Floats

#: The speed of light as the standard has it (Table 7.4.1-1, notes 1 and 5), in m/s.
LIGHT_M_S = 3.0e8
#: Effective height of what stands around, in a street and around users below 13 m (note 1), in m.
ENVIRONMENT_M = 1.0

RANGE = "the range of TR 38.901"
Carrier = Annotated[float, *bounded("frequency", 0.5e9, 100e9, RANGE)]
RuralCarrier = Annotated[float, *bounded("frequency", 0.5e9, 30e9, "the range of TR 38.901 for RMa")]
Mast = Annotated[
    float, *bounded("distance", 2.0, 150.0, "above what stands around, and no higher than a mast of TR 38.901")
]
RuralMast = Annotated[float, *bounded("distance", 10.0, 150.0, RANGE)]
Ceiling = Annotated[float, *bounded("distance", 0.5, 20.0, "within a hall")]
StreetUser = Annotated[float, *bounded("distance", 1.5, 22.5, RANGE)]
#: TR 38.901 goes up to 22.5 m, but draws the height of what stands around those above 13 m, who are indoors.
UrbanUser = Annotated[float, *bounded("distance", 1.5, 13.0, "higher ones are indoors, which is not captured")]
RuralUser = Annotated[float, *bounded("distance", 1.0, 10.0, RANGE)]
Around = Annotated[float, *bounded("distance", 5.0, 50.0, RANGE)]
Sight = Literal["drawn", "always", "never"]
#: Offices: sight is certain up to the first distance (m), then fades over the second; from the third on it is so likely as the
#: fifth says, and fades over the fourth.
OFFICES = {"mixed": (1.2, 4.7, 6.5, 32.6, 0.32), "open": (5.0, 70.8, 49.0, 211.7, 0.54)}


class _Environment(PathLoss):
    """What the environments of the standard have in common."""

    frequency: Carrier = 3.5e9
    """Carrier."""
    station_height: float
    user_height: float
    los: Sight = "drawn"
    """Whether clients have line of sight: drawn for each pair of client and station by their distance, and again as the client
    moves; or always, or never."""

    called: ClassVar[str]
    """What the standard calls it."""
    least: ClassVar[float] = 10.0
    """The shortest distance on the map that the formulas are for (m)."""
    most: ClassVar[tuple[float, float]] = (5000.0, 5000.0)
    """The longest one with sight and without (m)."""
    usual_height: ClassVar[float | None] = None
    """The one height of a station that the standard's formulas are for (m), if there is one."""
    sigmas: ClassVar[tuple[float, float]]
    """Standard deviation of shadowing with sight and without (dB)."""
    shadow_distances: ClassVar[tuple[float, float]]
    """Distance over which shadowing decorrelates with sight and without (m)."""
    state_distance: ClassVar[float]
    """Distance over which the state of sight decorrelates (m)."""

    def decibels(self, distance: npt.ArrayLike, los: npt.ArrayLike = True) -> Floats:
        flat = np.maximum(np.asarray(distance, dtype=np.float64), self.least)
        space = np.maximum(np.hypot(flat, self.station_height - self.user_height), NEAREST_M)
        seen = self._seen(flat, space)
        return np.asarray(np.where(los, seen, np.maximum(seen, self._unseen(space))))

    def los_probability(self, distance: npt.ArrayLike) -> Floats:
        flat = np.asarray(distance, dtype=np.float64)
        if self.los != "drawn":
            return np.full_like(flat, float(self.los == "always"))
        return self._sight(flat)

    @property
    def los_distance(self) -> float | None:
        return self.state_distance if self.los == "drawn" else None

    def shadowing(self, distance: npt.ArrayLike, los: npt.ArrayLike) -> ShadowSpread:
        return ShadowSpread(np.where(los, self._sigma_seen(np.asarray(distance, dtype=np.float64)), self.sigmas[1]),
                      np.where(los, *self.shadow_distances))  # fmt: skip

    def notes(self, farthest: float) -> tuple[str, ...]:
        found = []
        if self.usual_height is not None and self.station_height != self.usual_height:
            found.append(f"path loss {self.called} of TR 38.901 is for stations at {self.usual_height:g} m; these are at "
                         f"{self.station_height:g} m")  # fmt: skip
        most = self.most[0] if self.los == "always" else min(self.most)
        if farthest > most:
            found.append(f"clients come to be {farthest:.4g} m from a station that serves them, or farther; path loss "
                         f"{self.called} of TR 38.901 is for up to {most:g} m")  # fmt: skip
        return tuple(found)

    @property
    def understood(self) -> str:
        sight = {
            "drawn": "line of sight drawn by distance",
            "always": "always line of sight",
            "never": "never line of sight",
        }
        with_sight, without = self.sigmas
        return (f"{self.called} of TR 38.901 at {self.frequency / 1e9:g} GHz, stations at {self.station_height:g} m, clients "
                f"at {self.user_height:g} m, {sight[self.los]}; shadowing, unless stated otherwise, of {with_sight:g} dB with "
                f"sight and {without:g} dB without")  # fmt: skip

    def _seen(self, flat: Floats, space: Floats) -> Floats:
        """The loss with line of sight (dB), of distances on the map and between the antennas (m)."""
        raise NotImplementedError

    def _unseen(self, space: Floats) -> Floats:
        """The standard's PL': the loss without, where that is more (dB)."""
        raise NotImplementedError

    def _sight(self, flat: Floats) -> Floats:
        """The probability of line of sight at these distances on the map (m)."""
        raise NotImplementedError

    def _sigma_seen(self, flat: Floats) -> Floats:
        return np.full_like(flat, self.sigmas[0])

    @property
    def _carrier(self) -> float:
        """20 log10(f / GHz)."""
        return 20.0 * math.log10(self.frequency / 1e9)


class _Urban(_Environment):
    """A loss that is steeper from the breakpoint d'BP = 4 (hBS - 1) (hUT - 1) f / c on."""

    seen_loss: ClassVar[tuple[float, float]]
    """At 1 m and 1 GHz (dB), and per decade of d3D up to the breakpoint; beyond it 40 dB."""
    sight_fades: ClassVar[float]
    """How fast line of sight becomes less likely (m)."""

    @property
    def breakpoint(self) -> float:
        """d'BP (m)."""
        above = (self.station_height - ENVIRONMENT_M) * (self.user_height - ENVIRONMENT_M)
        return 4.0 * above * self.frequency / LIGHT_M_S

    def _seen(self, flat: Floats, space: Floats) -> Floats:
        at_1_m, slope = self.seen_loss
        decades = np.log10(space)
        bend = math.log10(self.breakpoint**2 + (self.station_height - self.user_height) ** 2)
        beyond = 40.0 * decades - (40.0 - slope) / 2.0 * bend
        return np.asarray(at_1_m + self._carrier + np.where(flat <= self.breakpoint, slope * decades, beyond))

    def _sight(self, flat: Floats) -> Floats:
        share = 18.0 / np.maximum(flat, 18.0)
        return np.asarray(share + np.exp(-np.maximum(flat, 18.0) / self.sight_fades) * (1.0 - share))


class UrbanMicro(_Urban):
    """Street canyon of 3GPP TR 38.901 (UMi): stations below the roofs; 0.5 to 100 GHz, 10 m to 5 km."""

    kind: Literal["umi"] = "umi"
    station_height: Mast = 10.0
    """Height of stations (hBS)."""
    user_height: StreetUser = 1.5
    """Height of clients (hUT)."""

    called: ClassVar[str] = "UMi"
    usual_height: ClassVar[float | None] = 10.0
    sigmas: ClassVar[tuple[float, float]] = (4.0, 7.82)
    shadow_distances: ClassVar[tuple[float, float]] = (10.0, 13.0)
    state_distance: ClassVar[float] = 50.0
    seen_loss: ClassVar[tuple[float, float]] = (32.4, 21.0)
    sight_fades: ClassVar[float] = 36.0

    def _unseen(self, space: Floats) -> Floats:
        carrier = 21.3 * math.log10(self.frequency / 1e9)
        return np.asarray(35.3 * np.log10(space) + 22.4 + carrier - 0.3 * (self.user_height - 1.5))


class UrbanMacro(_Urban):
    """Urban macro cell of 3GPP TR 38.901 (UMa): stations above the roofs; 0.5 to 100 GHz, 10 m to 5 km."""

    kind: Literal["uma"] = "uma"
    station_height: Mast = 25.0
    """Height of stations (hBS)."""
    user_height: UrbanUser = 1.5
    """Height of clients (hUT)."""

    called: ClassVar[str] = "UMa"
    usual_height: ClassVar[float | None] = 25.0
    sigmas: ClassVar[tuple[float, float]] = (4.0, 6.0)
    shadow_distances: ClassVar[tuple[float, float]] = (37.0, 50.0)
    state_distance: ClassVar[float] = 50.0
    seen_loss: ClassVar[tuple[float, float]] = (28.0, 22.0)
    sight_fades: ClassVar[float] = 63.0

    def _unseen(self, space: Floats) -> Floats:
        return np.asarray(13.54 + 39.08 * np.log10(space) + self._carrier - 0.6 * (self.user_height - 1.5))


class IndoorOffice(_Environment):
    """Indoor office of 3GPP TR 38.901 (InH): stations at the ceiling of one floor; 0.5 to 100 GHz, 1 to 150 m."""

    kind: Literal["inh"] = "inh"
    station_height: Ceiling = 3.0
    """Height of stations (hBS)."""
    user_height: Ceiling = 1.0
    """Height of clients (hUT)."""
    office: Literal["mixed", "open"] = "mixed"
    """Mixed offices have walls and corridors, open ones see farther."""

    called: ClassVar[str] = "InH"
    least: ClassVar[float] = 0.0
    most: ClassVar[tuple[float, float]] = (150.0, 150.0)
    sigmas: ClassVar[tuple[float, float]] = (3.0, 8.03)
    shadow_distances: ClassVar[tuple[float, float]] = (10.0, 6.0)
    state_distance: ClassVar[float] = 10.0

    def _seen(self, flat: Floats, space: Floats) -> Floats:
        return np.asarray(32.4 + 17.3 * np.log10(space) + self._carrier)

    def _unseen(self, space: Floats) -> Floats:
        return np.asarray(38.3 * np.log10(space) + 17.30 + 24.9 * math.log10(self.frequency / 1e9))

    def _sight(self, flat: Floats) -> Floats:
        near, fades, far, beyond, share = OFFICES[self.office]
        within = flat < far if self.office == "mixed" else flat <= far  # at that distance itself the standard differs
        close = np.exp(-np.maximum(flat - near, 0.0) / fades)
        return np.where(within, close, share * np.exp(-np.maximum(flat - far, 0.0) / beyond))


class RuralMacro(_Environment):
    """Rural macro cell of 3GPP TR 38.901 (RMa): 0.5 to 30 GHz, 10 m to 5 km, with line of sight to 10 km.

    The standard's two formulas with sight do not quite meet at the breakpoint: the loss may fall there by up to 0.01 dB.
    """

    kind: Literal["rma"] = "rma"
    frequency: RuralCarrier = 3.5e9
    """Carrier."""
    station_height: RuralMast = 35.0
    """Height of stations (hBS)."""
    user_height: RuralUser = 1.5
    """Height of clients (hUT)."""
    building_height: Around = 5.0
    """Average height of buildings (h)."""
    street_width: Around = 20.0
    """Average width of streets (W)."""

    called: ClassVar[str] = "RMa"
    most: ClassVar[tuple[float, float]] = (10_000.0, 5000.0)
    sigmas: ClassVar[tuple[float, float]] = (4.0, 8.0)
    sigma_beyond: ClassVar[float] = 6.0
    """Standard deviation of shadowing with sight, beyond the breakpoint (dB)."""
    shadow_distances: ClassVar[tuple[float, float]] = (37.0, 120.0)
    state_distance: ClassVar[float] = 60.0

    @property
    def breakpoint(self) -> float:
        """dBP = 2 pi hBS hUT f / c (m)."""
        return 2.0 * math.pi * self.station_height * self.user_height * self.frequency / LIGHT_M_S

    def _seen(self, flat: Floats, space: Floats) -> Floats:
        bend = self.breakpoint
        beyond = self._near(np.asarray(bend)) + 40.0 * np.log10(space / bend)
        return np.asarray(np.where(flat <= bend, self._near(space), beyond))

    def _near(self, space: Floats) -> Floats:
        """PL1: up to the breakpoint."""
        h = self.building_height
        slope, less = min(0.03 * h**1.72, 10.0), min(0.044 * h**1.72, 14.77)
        open_air = 20.0 * np.log10(40.0 * math.pi * space * (self.frequency / 1e9) / 3.0)
        return np.asarray(open_air + slope * np.log10(space) - less + 0.002 * math.log10(h) * space)

    def _unseen(self, space: Floats) -> Floats:
        h, mast = self.building_height, math.log10(self.station_height)
        around = 161.04 - 7.1 * math.log10(self.street_width) + 7.5 * math.log10(h)
        over = (24.37 - 3.7 * (h / self.station_height) ** 2) * mast
        user = 3.2 * math.log10(11.75 * self.user_height) ** 2 - 4.97
        return np.asarray(around - over + (43.42 - 3.1 * mast) * (np.log10(space) - 3.0) + self._carrier - user)

    def _sight(self, flat: Floats) -> Floats:
        return np.asarray(np.exp(-np.maximum(flat - 10.0, 0.0) / 1000.0))

    def _sigma_seen(self, flat: Floats) -> Floats:
        return np.where(flat <= self.breakpoint, self.sigmas[0], self.sigma_beyond)
