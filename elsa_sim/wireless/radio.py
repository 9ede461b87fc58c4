"""Wireless access in simulated time: the bandwidth of access links from radio conditions, and handovers.

The engine asks for the rates of a block of fading when flows are under way and the block is new; otherwise rates change
only when clients have moved (every ``interval``), subchannels are assigned anew, or a station falls silent. A link has its
rate whether it is used or not: subchannels of clients that send nothing are not lent to others.

Subchannels and powers that are chosen by gains are chosen anew in every block or by rounds, which may take time; until it is
over the last choice holds. Does not capture interference between cells (but as noise), retransmissions, control channels, or
the time that a handover takes; up and down fade independently (frequency division).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from ..base.errors import InputError
from ..base.streams import Streams
from ..network import Network, Transfer
from .allocation import Demand
from .cells import Cells
from .channel_state import ChannelState
from .layout import Layout
from .options import WirelessOptions
from .subcarriers import Direction


@dataclass(frozen=True, slots=True)
class Handover:
    """A client has gone from one station to another."""

    client: str
    old: str
    new: str
    t_s: float


class Radio:
    """The air interface of all wireless clients, in one SimPy environment; it sets bandwidths of ``network``.

    ``network`` is that of ``layout.extended``. If clients move, a process runs for as long as the environment does: run
    it until a time or an event.
    """

    def __init__(self, env: simpy.Environment, network: Network, options: WirelessOptions, layout: Layout,
                 streams: Streams) -> None:  # fmt: skip
        self.env, self.network, self.options, self.layout = env, network, options, layout
        self.handovers: list[Handover] = []
        self.state = ChannelState(options, layout, streams)
        self.cells = Cells(options, layout, streams)
        self.subcarriers_of = self.cells.subcarriers_of
        self.limits = self.cells.limits
        """Transmit power of every client (W)."""
        self.highest: dict[tuple[str, str], float] = {}
        """The highest bandwidth so far of every link that there has been, per direction (bit/s)."""
        self._number = {name: i for i, name in enumerate(layout.clients)}
        self._column = {name: i for i, name in enumerate(layout.stations)}
        self._listeners: list[Callable[[Handover], None]] = []
        self._staying: dict[tuple[str, str], None] = {}  # links that finish what is under way
        self._block = -1
        self._stale = True
        self._due = 0.0  # when the next choice by changed gains takes effect (s)
        self._begun = 0  # the block in which that choice began
        self._members: dict[str, tuple[str, ...]] = {}
        self._timed = False  # whether blocks make a difference
        self._rates: dict[tuple[str, str], float] = {}  # of the links that are there
        self._told = {pair: math.nan for c in layout.clients for s in layout.stations for pair in ((c, s), (s, c))}
        network.follow(self)
        if options.mobility.moves:
            env.process(self._moving())

    # -- what a protocol sees -----------------------------------------------------------------------------------------

    def __contains__(self, name: object) -> bool:
        """Whether this is a wireless client."""
        return name in self._number

    def serving(self, client: str) -> str:
        """The station that serves a client now."""
        return self.layout.stations[int(self.state.serving[self._index(client)])]

    def members(self, station: str) -> tuple[str, ...]:
        """The clients with a link to a station, those included that only finish messages under way."""
        everybody = self.options.association == "all"
        column = self._column[station]
        return tuple(c for c, s in zip(self.layout.clients, self.state.serving.tolist(), strict=True)
                     if everybody or s == column or (c, station) in self._staying)  # fmt: skip

    def route(self, src: str, dst: str) -> tuple[str, ...]:
        """The node names from ``src`` to ``dst``: wireless ends by their serving station (or straight to a station, if
        clients have links to all), the rest by the topology's own route."""
        if src == dst:
            return (src,)
        first, last = self._gate(src, dst), self._gate(dst, src)
        wired = self.layout.topology.route(first, last)
        return (*((src,) if first != src else ()), *wired, *((dst,) if last != dst else ()))

    def rate(self, src: str, dst: str) -> float:
        """The bandwidth now of the link between a client and a station, in this direction (bit/s)."""
        self._update(self.env.now)
        return self._rates.get((src, dst), 0.0)

    def position(self, client: str) -> tuple[float, float]:
        """Where a client was at the last update (m)."""
        x, y = self.state.positions[self._index(client)].tolist()
        return x, y

    def on_handover(self, listener: Callable[[Handover], None]) -> None:
        """Call ``listener`` at every handover, once the new link is there."""
        self._listeners.append(listener)

    # -- what an optimiser does ---------------------------------------------------------------------------------------

    def assign(self, station: str, subchannels: Mapping[str, Sequence[int]], direction: Direction = "up",
               powers: Mapping[str, Sequence[float]] | None = None) -> None:  # fmt: skip
        """Assign subchannels by hand, until :meth:`release`: ``{client: [0, 3], ...}``, with ``powers`` (W) of each.

        Raises:
            InputError: what cannot be; nothing is changed then.
        """
        self.subcarriers_of[station, direction].assign(subchannels, powers, self.limits)
        self._renew()

    def release(self, station: str, direction: Direction = "up") -> None:
        """Leave the assignment to the allocator again."""
        self.subcarriers_of[station, direction].release()
        self._renew()

    def set_needs(self, needs: Mapping[str, float], waits: Mapping[str, float] | None = None,
                  station: str | None = None) -> None:  # fmt: skip
        """What clients want to send to a station (to any), for allocators that look at it; in one unit for all, 1 at first.

        With ``waits``, how long each needs until it begins to send (s), needs are in bits.

        Raises:
            InputError: an unknown client, a need that is not above 0, a wait that is below.
        """
        self.cells.set_needs(needs, waits or {}, station)
        self._renew()

    def reallocate(self) -> None:
        """A round has ended: if subchannels and powers are chosen by rounds, they are chosen anew."""
        if self.options.reallocate == "round":
            self._due, self._begun = self.env.now + self.options.reallocation_time, self._block_of(self.env.now)
            self._stale = True
            self.network.refresh()

    def demand(self, station: str, direction: Direction = "up") -> tuple[tuple[str, ...], Demand]:
        """The members of a station, and what an allocator is told of them now."""
        members = self.members(station)
        mean = self.state.gains[[self._number[c] for c in members], self._column[station]][:, None]
        block = self._block_of(self.env.now)
        return members, self.cells.demand(members, mean, self.subcarriers_of[station, direction], block)

    def silence(self, station: str, silent: bool = True) -> None:
        """A station goes off the air (its clients change to the next best at once), or comes back."""
        self.state.silent[self._column[station]] = silent
        self._stale = True
        self._associate()

    def check(self) -> list[str]:
        """The invariants that do not hold: one client per subchannel, powers within their limits."""
        return self.cells.check()

    # -- what the engine asks -----------------------------------------------------------------------------------------

    def changes(self, now: float) -> Mapping[tuple[str, str], float]:
        """The bandwidths that have changed since this was last asked; see :class:`..network.channels.Bandwidths`."""
        self._update(now)
        told, rates = self._told, self._rates
        if told is rates:
            return {}
        self._told = rates
        changed = {pair: rate for pair, rate in rates.items() if told.get(pair) != rate}
        return changed | dict.fromkeys((pair for pair in told if pair not in rates), 0.0)

    def next_change(self, now: float) -> float:
        """When the next block begins (s), or the next choice takes effect, if it makes a difference."""
        block = (self._block_of(now) + 1) * self.options.coherence if self._timed else math.inf
        return min(block, self._due) if self._due > now and self._choices else block

    @property
    def _choices(self) -> bool:
        """Whether anything is chosen by gains, so that it matters when."""
        return self.options.allocator.looks or self.options.power_control.looks

    def _block_of(self, now: float) -> int:
        return math.floor(now / self.options.coherence * (1.0 + 1e-12) + 1e-9)

    def _update(self, now: float) -> None:
        """Bring the rates up to date, if something has changed."""
        block = self._block_of(now)
        if self.options.reallocate == "block" and (self._stale or (self._timed and block != self._block)):
            begin = now if self._stale else block * self.options.coherence
            self._due, self._begun = min(self._due, begin + self.options.reallocation_time), block
        due = self._due <= now * (1.0 + 1e-12) + 1e-12
        if not self._stale and not (due and self._choices) and (block == self._block or not self._timed):
            return
        if self._stale:
            self._members = {station: self.members(station) for station in self.layout.stations}
        self._stale, self._block = False, block
        self._due = math.inf if due else self._due
        self._timed = self.options.fading != "none"
        begun = self._begun if due else None
        rates: dict[tuple[str, str], float] = {}
        for column, station in enumerate(self.layout.stations):
            members = self._members[station]
            if not members or self.state.silent[column]:
                continue
            mean = self.state.gains[[self._number[c] for c in members], column][:, None]
            up, down = self.subcarriers_of[station, "up"], self.subcarriers_of[station, "down"]
            self._timed |= len(members) > up.size
            rates |= {(c, station): rate for c, rate in self.cells.rates(members, mean, up, block, begun)}
            if self.options.downlink is not None:
                rates |= dict.fromkeys(((station, c) for c in members), self.options.downlink)
            else:
                rates |= {(station, c): rate for c, rate in self.cells.rates(members, mean, down, block, begun)}
        self._rates = rates
        highest = self.highest
        highest.update({pair: rate for pair, rate in rates.items() if rate > highest.get(pair, -1.0)})

    # -- movement -----------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        self._stale = True
        self.network.refresh()

    def _moving(self) -> Generator[simpy.Event, Any, None]:
        for step in itertools.count(1):
            yield self.env.timeout(max(0.0, step * self.options.interval - self.env.now))
            self._stale |= self.state.move(self.env.now)
            if self._staying:
                kept = [link for link in self._staying if self._under_way(*link)]
                self._stale |= len(kept) < len(self._staying)
                self._staying = dict.fromkeys(kept)
            self._associate()

    def _associate(self) -> None:
        """Let clients change their stations; the new rates hold when listeners hear of it."""
        stations, found = self.layout.stations, []
        for number, old, new in self.state.associate(self.env.now):
            event = Handover(self.layout.clients[number], stations[old], stations[new], self.env.now)
            found.append(event)
            self._staying.pop((event.client, event.new), None)
            under_way = self._under_way(event.client, event.old)
            if self.options.association == "all" or not under_way:
                continue
            if self.options.handover.under_way == "finish":
                self._staying[event.client, event.old] = None
            else:
                for message in under_way:
                    self.network.abort(message, f"handover of {event.client} from {event.old} to {event.new}")
        if found or self._stale:
            self._renew()
        self.handovers += found
        for event in found:
            for listener in self._listeners:
                listener(event)

    def _under_way(self, client: str, station: str) -> list[Transfer]:
        """The messages that are to cross this link and have not ended."""
        pairs = {(client, station), (station, client)}
        return [message for message in self.network.in_flight if not pairs.isdisjoint(message.path.pairs)]

    def _index(self, client: str) -> int:
        if client not in self._number:
            raise InputError(f"there is no wireless client {client!r}")
        return self._number[client]

    def _gate(self, name: str, other: str) -> str:
        """The first node on the way from ``name``: its station if it is wireless."""
        if name not in self._number:
            return name
        return other if self.options.association == "all" and other in self._column else self.serving(name)
