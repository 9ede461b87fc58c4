"""A message under way, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import simpy

from .channels import Path
from .fluid import Flow


@dataclass(frozen=True, slots=True)
class Delivery:
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
    """Latency of the last attempt; the rest of the time was spent sending, stalled, or waiting to retry."""


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
        self.latency_s = 0.0
        self.flow: Flow | None = None
        self.failed_bytes = 0.0
        """Sent in attempts that failed."""


@dataclass(slots=True)
class Tally:
    """What became of all messages of a network."""

    transfers: int = 0
    delivered: int = 0
    aborted: int = 0
    retries: int = 0
    sent_bytes: float = 0.0
    wasted_bytes: float = 0.0
