"""The side of an asynchronous server: the versions that it hands out, and the updates that wait to be merged.

Tested in tests/protocols/test_asynchronous.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import simpy
from pydantic import Field

from ..base.registry import Options
from ..base.units import MOST_COUNT

if TYPE_CHECKING:
    from ..learning.execution.work import Ref


class StalenessOptions(Options):
    """Semi-synchronous training: how many versions an update may lag behind."""

    bound: int | None = Field(default=None, ge=0, le=MOST_COUNT)
    """Versions t - v that an update may be old, at most."""
    beyond: Literal["reject", "wait"] = "reject"
    """An older update is rejected; or nobody goes on before it has arrived (stale synchronous parallel, Ho et al. 2013)."""


@dataclass(frozen=True, eq=False)
class ClientUpdate:
    """What a member sent: trained adapters, and the version v that they were trained from."""

    ticket: int
    member: str
    version: int
    base: Ref
    adapters: Ref
    weight: float
    row: int
    """Of the event table: from its arrival to its merge."""
    staleness: int = 0


@dataclass(eq=False)
class Server:
    """A server's side: the present version, those that members in flight began from, and the updates that wait."""

    node: str
    theta: Ref
    weights: Mapping[str, float]
    parent: Server | None = None
    version: int = 0
    buffer: list[ClientUpdate] = field(default_factory=list)
    """Updates that wait to be merged."""
    counts: Counter[str] = field(default_factory=Counter)
    """Member -> updates that were accepted."""
    left: int = 0
    """Members that are not gone for good."""
    merging: bool = False
    reopens: simpy.Event | None = None
    """While nothing is handed out: happens when a merge has ended."""
    opened_s: float = 0.0
    """When the last merge ended."""
    ticket: int = 0
    """Of an edge server: the number under which it trains for its parent."""
    ringing: bool = False
    _handed: dict[int, tuple[str, int, Ref]] = field(default_factory=dict)
    _tickets: int = 0

    def hand_out(self, member: str) -> int:
        """A new number for ``member``, under which it trains the present version."""
        self.forget(member)  # it may have come back without an update
        self._tickets += 1
        self._handed[self._tickets] = (member, self.version, self.theta)
        return self._tickets

    @property
    def versions(self) -> dict[int, Ref]:
        """The versions that are kept: the present one, and those that members in flight or waiting updates refer to."""
        held = {version: theta for _, version, theta in self._handed.values()}
        return {**held, **{u.version: u.base for u in self.buffer}, self.version: self.theta}

    def take(self, ticket: int, adapters: Ref, bound: int | None, row: int) -> tuple[ClientUpdate | None, int, str]:
        """The update of a number if it counts, else ``None``; its base version, and the reason."""
        if ticket not in self._handed:
            return None, -1, "it had been counted already"
        member, version, base = self._handed.pop(ticket)
        if bound is not None and self.version - version > bound:
            return None, version, f"it is {self.version - version} versions old; at most {bound} are allowed"
        update = ClientUpdate(ticket, member, version, base, adapters, self.weights[member], row)
        self.buffer.append(update)
        self.counts[member] += 1
        return update, version, ""

    def next(self, count: int) -> list[ClientUpdate]:
        """Take ``count`` waiting updates, the first to arrive."""
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def forget(self, member: str) -> None:
        """``member`` is gone for good."""
        self._handed = {ticket: handed for ticket, handed in self._handed.items() if handed[0] != member}

    def lagging(self, bound: int) -> bool:
        """Whether a member in flight would be beyond ``bound`` after the next merge."""
        return any(self.version + 1 - version > bound for _, version, _ in self._handed.values())
