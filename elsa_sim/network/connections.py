"""Connections between nodes: whose turn it is on each, and the flights in which its messages drain."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..transports import Connection, Transport
from .channels import Channels, Path
from .fluid import slack

if TYPE_CHECKING:
    from .transfer import Transfer


class Route:
    """A path as a connection sees it: the :class:`elsa_sim.transports.Way` of this engine."""

    def __init__(self, channels: Channels, path: Path) -> None:
        self.round_trip = 2.0 * path.latency
        self._channels = channels
        self._path = path
        self._seen = -1
        self._narrowest, self._widest, self._per_byte = (0.0, ""), 0.0, 0.0

    def _look(self) -> None:
        """Look at the channels anew if a bandwidth has changed; connections ask for every flight."""
        channels, path = self._channels, self._path
        if self._seen == channels.changed:
            return
        self._seen = channels.changed
        rates = [min(channels.capacities[c] for c in hop) for hop in path.hops]
        bandwidth, (u, v) = min(zip(rates, path.pairs, strict=True))
        self._narrowest = bandwidth, f"{u}>{v}"
        self._widest = min(channels.most[c] for c in path.channels)
        self._per_byte = math.fsum(8.0 / rate for rate in rates if rate > 0.0)

    def narrowest(self) -> tuple[float, str]:
        """The least bandwidth of the path now (bit/s), and that of which link and direction it is (``u>v``)."""
        self._look()
        return self._narrowest

    def widest(self) -> float:
        """The least bandwidth of the path with every link at its best (bit/s)."""
        self._look()
        return self._widest

    def sending(self, size: float) -> float:
        """For how long ``size`` bytes are sent by one link after another (s)."""
        self._look()
        return size * self._per_byte


class Flights:
    """What of a message its connection has not let go yet. All sizes are bits that drain, all times simulated ones (s)."""

    __slots__ = ("_behind", "_connection", "_scale", "resume", "waiting")

    def __init__(self, connection: Connection, bits: float, scale: float) -> None:
        self._connection = connection
        self._behind = bits
        self._scale = scale  # bits drained per byte of the message: lost packets are sent again
        self.waiting = 0.0
        """The next flight, where it may not begin before ``resume``."""
        self.resume = 0.0

    @property
    def held(self) -> float:
        """What does not drain yet."""
        return self._behind + self.waiting

    def take(self, now: float) -> float:
        """What drains next, from now on; 0 if that is ``waiting``, or if there is nothing left."""
        if self._behind <= 0.0:
            return 0.0
        start, size = self._connection.flight(now, self._behind / self._scale)
        bits = min(self._behind, size * self._scale)
        self._behind = 0.0 if self._behind - bits <= 1e-9 * bits else self._behind - bits
        if start <= now + slack(now):
            return bits
        self.resume, self.waiting = start, bits
        return 0.0

    def go(self) -> float:
        """What was waiting drains now."""
        bits, self.waiting = self.waiting, 0.0
        return bits


class Line:
    """One connection, and the messages that are sent on it, in order."""

    __slots__ = ("begun", "broken", "connection", "opens", "queue", "ready")

    def __init__(self, connection: Connection, now: float) -> None:
        self.queue: list[Transfer] = []
        self.begun: Transfer | None = None
        """The message of which bytes are on their way."""
        self.ready: set[Transfer] = set()
        """Those whose first byte would have arrived by now, had it been their turn."""
        self.connect(connection, now)

    def connect(self, connection: Connection, now: float) -> None:
        """A new connection, which is open after its set-up."""
        self.connection = connection
        self.opens = now + connection.setup
        self.broken = False

    def turn(self, message: Transfer, now: float) -> float:
        """The first byte of a message would arrive now: it begins (0), or is to ask again after so long, as the connection
        was made anew meanwhile (s), or is told when its turn comes (infinite)."""
        wait = self.opens + message.travel_s - now
        if self.queue[0] is not message:
            self.ready.add(message)
            return math.inf
        if wait > slack(now):
            return wait
        self.begun = message
        return 0.0


class Connections:
    """All connections of a network, one for each route, or for each message; none if its transport has none."""

    def __init__(self, transport: Transport, channels: Channels) -> None:
        self._transport = transport
        self._channels = channels
        self._routes: dict[tuple[str, ...], Route] = {}
        self._lines: dict[tuple[str, ...], Line] = {}

    def join(self, message: Transfer, now: float) -> Line | None:
        """The line at whose end a message is that departs now; ``None`` if nothing but links limits it."""
        key = message.path.route
        line = self._lines.get(key)
        if line is None:
            connection = self._connection(message.path)
            if connection is None:
                return None
            line = Line(connection, now)
            if self._transport.persistent:
                self._lines[key] = line
        line.queue.append(message)
        if line.broken:
            self._connect_again(line, now)
        return line

    def leave(self, line: Line, message: Transfer, now: float, whole: bool) -> Transfer | None:
        """A message has arrived ``whole``, or is given up, which closes its connection if it had begun.

        Returns:
            The next one, if its turn has come.
        """
        first, begun = line.queue[0] is message, line.begun is message
        line.queue.remove(message)
        line.ready.discard(message)
        if begun:
            line.begun, line.broken = None, not whole
        if line.broken and line.queue:
            self._connect_again(line, now)
        if not line.queue:
            line.connection.pause(now)
        following = line.queue[0] if first and line.queue else None
        if following not in line.ready:
            return None
        line.ready.remove(following)
        return following

    def _connect_again(self, line: Line, now: float) -> None:
        connection = self._connection(line.queue[0].path, again=True)
        if connection is not None:
            line.connect(connection, now)

    def _connection(self, path: Path, again: bool = False) -> Connection | None:
        route = self._routes.get(path.route)
        if route is None:
            route = self._routes[path.route] = Route(self._channels, path)
        return self._transport.connection(route, again)
