"""The cells of all stations: their subcarriers in both directions, what clients have to send over them, and the rates.

Pure bookkeeping: which clients are members of a cell, their mean gains, and the block of fading come with every question.

Tested in tests/wireless/test_radio.py and tests/wireless/test_reallocation.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from ..base.errors import InputError
from ..base.streams import Streams
from .allocation import Demand
from .layout import Layout
from .options import NodeRadio, WirelessOptions
from .propagation import Fading
from .rate import Floats
from .subcarriers import Direction, Subcarriers


class Cells:
    """What stations and clients have to share, and how it is shared."""

    def __init__(self, options: WirelessOptions, layout: Layout, streams: Streams) -> None:
        self.options, self.layout = options, layout
        self.subcarriers_of: dict[tuple[str, Direction], Subcarriers] = {}
        self.needs = {(c, s): 1.0 for c in layout.clients for s in layout.stations}
        """What each client has to send to each station, and how long it takes until it does (s); for allocators."""
        self.waits = dict.fromkeys(self.needs, 0.0)
        self.fading = Fading(options.fading, streams)
        self._streams = streams
        own = {name: options.nodes.get(name, NodeRadio()) for name in (*layout.clients, *layout.stations)}
        self.limits = {name: own[name].power or options.power for name in layout.clients}
        """Transmit power of every client (W)."""
        for name in layout.stations:
            size, width = own[name].subchannels or options.subchannels, own[name].bandwidth or options.bandwidth
            self.subcarriers_of[name, "up"] = options.subcarriers(name)
            options.assign(self.subcarriers_of[name, "up"], options.assigned.get(name, {}), self.limits)
            self.subcarriers_of[name, "down"] = Subcarriers(
                name, "down", size, width, own[name].power or options.station_power
            )

    def set_needs(self, needs: Mapping[str, float], waits: Mapping[str, float], station: str | None) -> None:
        """See :meth:`.radio.Radio.set_needs`; whatever is not assigned by hand is allocated anew."""
        for client, need in needs.items():
            self._known(client)
            if not (need > 0.0 and math.isfinite(need)):
                raise InputError(f"the need of {client!r} must be a finite number above 0, got {need!r}")
        for client, wait in waits.items():
            self._known(client)
            if not (wait >= 0.0 and math.isfinite(wait)):
                raise InputError(f"the wait of {client!r} must be a finite number of seconds, got {wait!r}")
        for each in self.layout.stations if station is None else (station,):
            self.needs.update({(client, each): need for client, need in needs.items()})
            self.waits.update({(client, each): wait for client, wait in waits.items()})
        for subcarriers in self.subcarriers_of.values():
            if not subcarriers.fixed:
                subcarriers.release()

    def demand(self, members: tuple[str, ...], mean: Floats, subcarriers: Subcarriers, block: int) -> Demand:
        """What an allocator is told of these members in a block, ``mean`` being their mean gains [K, 1]."""
        options, up = self.options, subcarriers.budget is None
        pairs = [(c, subcarriers.station) if up else (subcarriers.station, c) for c in members]
        gain = mean * np.array([self.fading.gains(pair, subcarriers.size, block) for pair in pairs])
        each = [
            self.limits[c] if subcarriers.budget is None else subcarriers.budget / subcarriers.size for c in members
        ]
        ways = [(c, subcarriers.station) for c in members]
        waits = np.array([self.waits[way] for way in ways]) if up else None
        return Demand(gain, np.array([self.needs[way] for way in ways]), np.array(each), subcarriers.bandwidth,
                      options.noise_density(), options.efficiency_cap, split=up, before=waits, total=subcarriers.total)  # fmt: skip

    def rates(self, members: tuple[str, ...], mean: Floats, subcarriers: Subcarriers, block: int,
              begun: int | None) -> Iterable[tuple[str, float]]:  # fmt: skip
        """The members with their rates in this block (bit/s).

        A choice by changed gains is made if it began in a block, ``begun``, by whose gains it is.
        """
        options, now = self.options, self.demand(members, mean, subcarriers, block)
        known = now if begun is None or begun == block else self.demand(members, mean, subcarriers, begun)
        subcarriers.allocate(members, known, options.allocator, block,
                      lambda: self._streams.numpy("subchannels", subcarriers.station, subcarriers.direction, block),
                      control=options.power_control, due=begun is not None)  # fmt: skip
        return zip(members, subcarriers.rates(members, now, self.limits).tolist(), strict=True)

    def check(self) -> list[str]:
        """The invariants that do not hold: one client per subchannel, powers within their limits."""
        return [wrong for subcarriers in self.subcarriers_of.values() for wrong in subcarriers.check(self.limits)]

    def _known(self, client: str) -> None:
        if client not in self.limits:
            raise InputError(f"there is no wireless client {client!r}")
