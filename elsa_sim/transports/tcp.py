"""TCP as windows over a fluid: slow start, its restart after idling, handshakes, framing."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Field

from ..base.registry import Items
from ..base.units import Seconds, Size
from .base import Connection, Transport, Way

#: What Linux adds to the smoothed round-trip time for the time-out after which a window begins to shrink, at least (s).
LEAST_RTO_S = 0.2


class Tcp(Transport):
    """TCP whose windows grow as acknowledgements come back: bursts of a window, a round trip apart, until the pipe is full.

    A connection may let go ``initial_window`` segments at once, and after a round trip twice as many, and so on (slow
    start: RFC 5681; ten segments: RFC 6928): no more than W0 (2^(k+1) - 1) after k round trips. Each flight drains at
    the share that the link model allots. The window stops growing where route and queue are full. It does not grow on
    messages that are smaller than half of it (RFC 7661 in spirit, as Linux does it), and halves for each retransmission
    time-out of idling (RFC 2861).

    Does not capture losses that overflow a queue and what congestion control makes of them, HyStart leaving slow start
    early, bufferbloat (queues delay nobody else), delayed acknowledgements, acknowledgements as load, Nagle's algorithm.
    """

    kind: Literal["tcp"] = "tcp"
    connections: Literal["persistent", "per_message"] = "persistent"
    """``persistent``: what one node sends to another is one stream in order, on a connection that is open from the
    beginning; ``per_message``: a new connection for each message, a round trip before its first byte."""
    idle_restart: bool = True
    """Whether windows shrink while a connection idles (Linux: ``tcp_slow_start_after_idle``)."""
    initial_window: Annotated[int, Ge(1), Le(1_000_000)] = 10
    """Segments that a new connection may send at once."""
    receive_window: Annotated[Size, Gt(0)] = 3.0 * 2**20
    """The most that a receiver lets be in flight: half of Linux's largest buffer, which holds headers and slack, too."""
    queue: Seconds = 0.1
    """What fits into the queue before each link, as time at its bandwidth."""
    queue_bytes: Items[Mapping[Annotated[str, Field(pattern=r"^.+>.+$")], Size]] = Field(default_factory=dict)
    """The same in bytes, for links by their direction: ``{"edge0>cloud": 250 kB}``."""

    @property
    def understood(self) -> str:
        windows = "windows that shrink when idle" if self.idle_restart else "windows that stay when idle"
        return f"{self.connections.replace('_', ' ')} connections, {windows}"

    @property
    def directions(self) -> Collection[str]:
        return self.queue_bytes.keys()

    @property
    def persistent(self) -> bool:
        return self.connections == "persistent"

    def connection(self, way: Way, again: bool = False) -> Connection:
        """A connection with an initial window; one for a single message, or in place of another, takes a round trip."""
        return Window(self, way, 0.0 if self.persistent and not again else way.round_trip)

    def room(self, way: Way) -> float:
        """What is in flight when route and queue are full (bytes on the wire)."""
        bandwidth, link = way.narrowest()
        return bandwidth / 8.0 * way.round_trip + self.queue_bytes.get(link, self.queue * bandwidth / 8.0)


class Window:
    """The window of one connection, which moves by flights: what is let go at once, as one burst."""

    def __init__(self, options: Tcp, way: Way, setup: float) -> None:
        packet = options.segment + options.framing
        self._options, self._way = options, way
        self._initial = options.initial_window * packet
        self._most = max(packet, options.receive_window * packet / options.segment)
        self._packet = packet
        self.setup = setup
        self.window = min(self._initial, self._most)
        """Bytes on the wire that may be in flight."""
        self._used = 0.0
        self._began, self._paused = -math.inf, math.inf

    def flight(self, now: float, left: float) -> tuple[float, float]:
        """The rest of this round's window, or that of the next round, which begins when the first packet is acknowledged."""
        over = self._began + self._way.round_trip + self._way.sending(self._packet)
        spent = self._used >= self.window
        if spent or now >= over:
            start = max(now, over) if spent else now
            self._grow()
            self._rest(start)
            self._began, self._used = start, 0.0
        else:
            start = now
        size = left if self.window >= self._never_binds() else min(left, self.window - self._used)
        self._used += size
        self._paused = math.inf
        return start, size

    def pause(self, now: float) -> None:
        """Idling begins."""
        self._paused = now

    def _never_binds(self) -> float:
        """A window that no share of the route can use up in a round trip (bytes)."""
        way = self._way
        return way.widest() / 8.0 * (way.round_trip + way.sending(self._packet))

    def _grow(self) -> None:
        """A round of ``_used`` bytes has been acknowledged: it opens the window as far as half of it was in use."""
        used, before = self._used, self.window
        grown = before + used if used >= before else min(before + used, 2.0 * used)
        self.window = min(self._most, max(before, min(grown, self._options.room(self._way))))

    def _rest(self, now: float) -> None:
        """Halve the window for every time-out since the last byte, down to the initial one."""
        timeout = self._way.round_trip + LEAST_RTO_S
        idle = now - self._paused
        while self._options.idle_restart and idle > timeout and self.window > self._initial:
            self.window = max(self.window / 2.0, self._initial)
            idle -= timeout
