"""The subcarriers of one station in one direction: who has which, with which power, and what they carry.

They are assigned in blocks of equal bandwidth, the subchannels (of OFDMA).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..base.errors import InputError
from .allocation import Allocator, Demand
from .power import Even, PowerControl
from .rate import Floats, rate

Direction = Literal["up", "down"]
EVEN = Even()


class Subcarriers:
    """M subchannels of equal bandwidth (Hz) of one station in one direction.

    A subchannel has at most one owner. In the uplink (``budget`` is ``None``) each client has a power of its own, split
    by the power control unless stated, and all together no more than ``total`` (W); in the downlink the station's ``budget``
    (W) is split evenly over all M.
    """

    def __init__(
        self, station: str, direction: Direction, size: int, bandwidth: float, budget: float | None = None,
        total: float | None = None,
    ) -> None:  # fmt: skip
        self.station, self.direction, self.size, self.bandwidth = station, direction, size, bandwidth
        self.budget, self.total = budget, total
        self.owners: list[str | None] = [None] * size
        self.fixed = False
        """Whether somebody else than the allocator has assigned the subchannels."""
        self._stated: dict[str, Floats] = {}
        self._turn: tuple[str, ...] | None = None  # whom the allocator was last asked for
        self._controlled: Floats | None = None  # what the power control last said

    def of(self, client: str) -> npt.NDArray[np.int64]:
        """The subchannels of a client."""
        return np.flatnonzero(np.array([owner == client for owner in self.owners], dtype=bool))

    def assign(self, subchannels: Mapping[str, Sequence[int]], powers: Mapping[str, Sequence[float]] | None,
               limits: Mapping[str, float]) -> None:  # fmt: skip
        """Give these subchannels to these clients, and the others to nobody, until :meth:`release`.

        ``powers`` (W, per subchannel, uplink only) are within the ``limits`` of their clients (W).

        Raises:
            InputError: subchannels that do not exist, or with two clients, unknown clients, or powers over a limit.
        """
        owners: list[str | None] = [None] * self.size
        for client, indices in subchannels.items():
            if client not in limits:
                raise InputError(f"there is no wireless client {client!r}")
            for i in indices:
                if not 0 <= i < self.size:
                    raise InputError(f"{self.station} has subchannels 0 to {self.size - 1}, {client!r} is given {i}")
                if owners[i] is not None:
                    raise InputError(f"subchannel {i} of {self.station} is given to {owners[i]!r} and to {client!r}")
                owners[i] = client
        stated: dict[str, Floats] = {}
        if powers and self.budget is not None:
            raise InputError("powers are stated for uplinks only; a station's is split evenly")
        for client, watts in (powers or {}).items():
            order = np.argsort(np.asarray(subchannels.get(client, ()), dtype=np.int64))
            given = np.asarray(watts, dtype=np.float64)
            if given.shape != order.shape or not np.isfinite(given).all() or (given < 0.0).any():
                raise InputError(f"{client!r} needs {len(order)} powers of at least 0 W, got {list(watts)!r}")
            if given.sum() > limits[client] * (1.0 + 1e-9):
                raise InputError(f"the powers of {client!r} sum to {given.sum():g} W; it has {limits[client]:g} W")
            stated[client] = given[order]
        if self.total is not None and (sent := sum(s.sum() for s in stated.values())) > self.total * (1.0 + 1e-9):
            raise InputError(f"powers sum to {sent:g} W; clients of {self.station} have {self.total:g} W together")
        self.owners, self._stated, self.fixed, self._controlled = owners, stated, True, None

    def release(self) -> None:
        """Leave the assignment to the allocator again."""
        self.fixed, self._turn, self._stated = False, None, {}

    def allocate(self, members: tuple[str, ...], demand: Demand, allocator: Allocator, block: int,
                 random: Callable[[], np.random.Generator], *, control: PowerControl = EVEN,
                 due: bool = True) -> None:  # fmt: skip
        """Ask allocator and power control, if the members or the gains that they look at have changed.

        Changed gains count only where a new choice is ``due``. If there are more members than subchannels, they take
        turns by blocks: as many as fit, then the next ones.
        """
        if self.fixed:
            return
        turn = np.arange(len(members))
        if len(members) > self.size:
            turn = np.sort((block * self.size + np.arange(self.size)) % len(members))
        names = tuple(members[i] for i in turn)
        controls = self.budget is None
        if names == self._turn and not (due and (allocator.looks or (controls and control.looks))):
            return
        again = names == self._turn and not allocator.looks
        self._turn, before = names, self.owners
        self.owners, self._controlled = [None] * self.size, None
        if not names:
            return
        waits = None if demand.before is None else demand.before[turn]
        mine = replace(demand, gain=demand.gain[turn], need=demand.need[turn], power=demand.power[turn], before=waits)
        if again:
            self.owners = before
        else:
            self.owners = [names[i] if i >= 0 else None for i in allocator.allocate(mine, random())]
        if controls:
            owners = np.array([-1 if owner is None else names.index(owner) for owner in self.owners])
            self._controlled = control.control(mine, owners, names).watts

    def powers(self, limits: Mapping[str, float]) -> Floats:
        """The transmit power on every subchannel, given the power of every client (W)."""
        if self.budget is not None:
            return np.full(self.size, self.budget / self.size)
        if self._controlled is not None:
            return self._controlled
        count = Counter(self.owners)  # assigned by hand: evenly, where nothing is stated
        watts = np.array([0.0 if owner is None else limits[owner] / count[owner] for owner in self.owners])
        for client, stated in self._stated.items():
            watts[self.of(client)] = stated
        return watts

    def rates(self, members: Sequence[str], demand: Demand, limits: Mapping[str, float]) -> Floats:
        """The rate of every member (bit/s)."""
        number = {name: k for k, name in enumerate(members)}
        owner = np.array([-1 if name is None else number.get(name, -1) for name in self.owners])
        used = np.flatnonzero(owner >= 0)
        gain, power = demand.gain[owner[used], used], self.powers(limits)[used]
        each = rate(gain, self.bandwidth, power, demand.noise, demand.cap)
        return np.bincount(owner[used], each, len(members)).astype(np.float64)

    def check(self, limits: Mapping[str, float]) -> list[str]:
        """The invariants that do not hold: one owner per subchannel, and powers within their limits."""
        wrong = []
        where = f"the {self.direction}link of {self.station}"
        if len(self.owners) != self.size:
            wrong.append(f"{where} has {len(self.owners)} assigned subchannels of {self.size}")
        powers = self.powers(limits)
        if self.budget is not None and powers.sum() > self.budget * (1.0 + 1e-9):
            wrong.append(f"{where} is sent with {powers.sum():g} W of {self.budget:g} W")
        if self.total is not None and powers.sum() > self.total * (1.0 + 1e-9):
            wrong.append(f"in {where}, clients send with {powers.sum():g} W of {self.total:g} W together")
        for client in dict.fromkeys(owner for owner in self.owners if owner is not None and self.budget is None):
            if powers[self.of(client)].sum() > limits[client] * (1.0 + 1e-9):
                wrong.append(
                    f"in {where}, {client} sends with {powers[self.of(client)].sum():g} W of {limits[client]:g} W"
                )
        return wrong
