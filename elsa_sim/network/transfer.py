"""A message under way, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import simpy

from .channels import Path
from .connections import Line
from .fluid import Flow


class Delivery(NamedTuple):
    """How a transfer ended.

    ``sent_bytes`` is what the sender put on its wire in all ``attempts``, packets sent again because of loss included;
    ``wasted_bytes`` is the part of it beyond the message itself, all of it if the message was aborted.
    """

    src: str
    dst: str
    nbytes: float
    route: tuple[str, ...]
    t_start_s: float
    t_end_s: float
    status: Literal["ok", "aborted"] = "ok"
    reason: str = ""
    sent_bytes: float = 0.0
    wasted_bytes: float = 0.0
    attempts: int = 1
    latency_s: float = 0.0
    """Latency of the last attempt and set-up of its connection; the rest was spent sending, stalled, or waiting to retry."""
    sending_s: float = 0.0
    """This message's share of the time in which its sender was sending, in all attempts; see :class:`.airtime.AirtimeCounter`."""
    receiving_s: float = 0.0
    """The same at its receiver."""


class Transfer(simpy.Event):  # type: ignore[misc]
    """A message under way; as an event it happens when the message has ended, with its :class:`Delivery` as value."""

    def __init__(self, env: simpy.Environment, path: Path, nbytes: float) -> None:
        super().__init__(env)
        self.path = path
        self.nbytes = nbytes
        self.t_start_s: float = env.now
        self.attempt = 0
        self.epoch = 0
        """Raised when an attempt ends: what was planned for it is void."""
        self.hop = 0
        self.travel_s = 0.0
        """Latency of this attempt, without the set-up of a connection."""
        self.latency_s = 0.0
        self.flow: Flow | None = None
        self.line: Line | None = None
        self.failed_bytes = 0.0
        """Sent in attempts that failed."""
        self.sending_s = self.receiving_s = 0.0

    def end(self, status: Literal["ok", "aborted"], reason: str) -> Delivery:
        """The message has ended, now."""
        path, sent = self.path, self.failed_bytes
        if status == "ok":
            sent += self.nbytes * path.inflation
        wasted = sent - (self.nbytes if status == "ok" else 0.0)
        delivery = Delivery(path.src, path.dst, self.nbytes, path.route, self.t_start_s, self.env.now, status, reason,
                            sent, wasted, self.attempt, self.latency_s, self.sending_s, self.receiving_s)  # fmt: skip
        self.succeed(delivery)
        return delivery


@dataclass(slots=True)
class Tally:
    """What became of all messages of a network."""

    transfers: int = 0
    delivered: int = 0
    aborted: int = 0
    retries: int = 0
    sent_bytes: float = 0.0
    wasted_bytes: float = 0.0

    def count(self, delivery: Delivery) -> None:
        """A message has ended."""
        if delivery.status == "ok":
            self.delivered += 1
        else:
            self.aborted += 1
        self.sent_bytes += delivery.sent_bytes
        self.wasted_bytes += delivery.wasted_bytes
