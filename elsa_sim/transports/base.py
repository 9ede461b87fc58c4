"""The family of transports: between a message and the links that it crosses."""

from __future__ import annotations

import math
import typing
from collections.abc import Collection
from typing import ClassVar, Literal

from ..base.registry import Component
from ..topology.limits import Header, Segment


class Way(typing.Protocol):
    """What a connection knows of its route, as it is now."""

    round_trip: float
    """Latency there and back, without queues (s)."""

    def narrowest(self) -> tuple[float, str]:
        """The least bandwidth of the route now (bit/s), 0 during an outage; and which link and direction it is of: ``u>v``."""

    def widest(self) -> float:
        """The least bandwidth of the route whenever each of its links is at its best (bit/s); infinite if nobody knows."""

    def sending(self, size: float) -> float:
        """For how long ``size`` bytes are sent by one link of the route after another (s), links that are down left out."""


class Connection(typing.Protocol):
    """What one connection may have in flight. All sizes are bytes on the wire, all times those of arrival (s)."""

    setup: float
    """How long it takes to make the connection, before anything is sent (s)."""

    def flight(self, now: float, left: float) -> tuple[float, float]:
        """The next bytes of a message of which ``left`` have not been let go: from when on they may arrive, and how many.

        All that was let go before has arrived by ``now``.
        """

    def pause(self, now: float) -> None:
        """A message has arrived in full, and no other waits."""


class Transport(Component):
    """How a message is carried over its route.

    Every packet carries ``segment`` bytes of payload at most, and ``framing`` bytes beside them. Does not capture packets
    that carry no payload (acknowledgements, handshakes) as load on links.
    """

    family: ClassVar[str] = "transport"
    windows: ClassVar[bool] = True
    """Whether connections may hold a part of a message back."""
    kind: str
    segment: Segment = 1448.0
    """Payload of a packet: an Ethernet frame of 1,500 bytes less the headers of IPv4 (20) and of TCP with time stamps (32)."""
    framing: Header = 66.0
    """Bytes on the wire for each packet beside its payload: these headers and Ethernet's (14)."""

    def wire_bytes(self, payload: float) -> int:
        """Bytes on the wire of a message of ``payload`` bytes; an empty one is a packet, too."""
        packets = max(1, math.ceil(payload / self.segment))
        return math.ceil(payload + self.framing * packets)

    def connection(self, way: Way, again: bool = False) -> Connection | None:
        """A new connection over a route, in place of one that broke if ``again``; ``None`` if only links limit messages."""
        raise NotImplementedError

    @property
    def understood(self) -> str:
        """What else is to be printed of it before a run, in few words."""
        return ""

    @property
    def directions(self) -> Collection[str]:
        """The links by direction, ``u>v``, of which it says something."""
        return ()

    @property
    def persistent(self) -> bool:
        """Whether messages from one node to another follow one another on one connection, instead of one each."""
        return False


class Fluid(Transport):
    """A message drains as its links let it, from its first moment on: connections that are open, warm and never idle.

    Does not capture windows: over long round trips messages of a few kB to MB arrive too soon (slow start).
    """

    kind: Literal["fluid"] = "fluid"
    windows: ClassVar[bool] = False

    def connection(self, way: Way, again: bool = False) -> None:
        """None."""
