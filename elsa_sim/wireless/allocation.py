"""Who gets which subchannel: allocators as components, pure functions of what the cell knows.

With at least as many subchannels as clients, every allocator gives each client one or more; a cell with more clients
than subchannels lets them take turns (see :class:`.radio.Radio`). Power is not allocated here (see :mod:`.power`): where
rates are compared, a client splits its own evenly over its subchannels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..base.registry import Component
from .rate import Floats, rate

Owners = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Demand:
    """What an allocator knows of K clients and M subchannels."""

    gain: Floats
    """Linear power gains, K x M."""
    need: Floats
    """What each client wants to send, above 0; K. In bits, or in any unit where ``before`` is not given."""
    power: Floats
    """Transmit power of each client (W) at most; evenly split over its subchannels, unless power is controlled; K."""
    bandwidth: float
    """Of one subchannel (Hz)."""
    noise: float
    """Noise density (W/Hz)."""
    cap: float | None = None
    """Highest spectral efficiency (bit/s/Hz)."""
    split: bool = True
    """If not, ``power`` is that of every single subchannel: the case of a downlink."""
    before: Floats | None = None
    """How long each client needs until it begins to send, its latency included (s); K. By default, nothing."""
    total: float | None = None
    """Transmit power of all clients together (W) at most; by default, as much as each of them has."""

    @property
    def waits(self) -> Floats:
        """``before``, zeros if it is not given (s); K."""
        return np.zeros(len(self.need)) if self.before is None else self.before

    @property
    def even(self) -> Floats:
        """What each client sends with if none is preferred (W): its own power, all scaled down to ``total``; K."""
        if self.total is None or not self.split:
            return self.power
        return np.asarray(self.power * min(1.0, self.total / float(self.power.sum())))

    def rate_of(self, client: int, subchannels: npt.ArrayLike) -> float:
        """The rate of a client with these subchannels and even powers (bit/s)."""
        mine = np.asarray(subchannels, dtype=np.int64)
        if not len(mine):
            return 0.0
        power = self.even[client] / (len(mine) if self.split else 1)
        return float(rate(self.gain[client, mine], self.bandwidth, power, self.noise, self.cap).sum())


class Allocator(Component):
    """The assignment of subchannels to the clients of a cell."""

    family: ClassVar[str] = "allocator"
    looks: ClassVar[bool] = False
    """Whether gains matter: if so, it is asked anew whenever they change."""

    def allocate(self, demand: Demand, random: np.random.Generator) -> Owners:
        """The index of the client of each of the M subchannels, -1 for nobody; each client has one or more if M >= K >= 1."""
        raise NotImplementedError


class Equal(Allocator):
    """Round robin: subchannel i to client i mod K, whatever they are worth."""

    kind: Literal["equal"] = "equal"

    def allocate(self, demand: Demand, random: np.random.Generator) -> Owners:
        clients, subchannels = demand.gain.shape
        return np.asarray(np.arange(subchannels) % clients)


class ByNeed(Allocator):
    """Numbers of subchannels in proportion to need: the next one to the highest need per subchannel (D'Hondt)."""

    kind: Literal["proportional"] = "proportional"

    def allocate(self, demand: Demand, random: np.random.Generator) -> Owners:
        clients, subchannels = demand.gain.shape
        seats = np.full(clients, 1 if subchannels >= clients else 0)
        for _ in range(subchannels - int(seats.sum())):
            seats[np.argmax(demand.need / np.maximum(seats, 0.5))] += 1
        return np.repeat(np.arange(clients), seats)


class Random(Allocator):
    """At random: first one for each client, then each other one to anybody."""

    kind: Literal["random"] = "random"

    def allocate(self, demand: Demand, random: np.random.Generator) -> Owners:
        clients, subchannels = demand.gain.shape
        some = random.permutation(clients)[:subchannels]
        rest = random.integers(0, clients, subchannels - len(some))
        return random.permutation(np.concatenate([some, rest]))


class Best(Allocator):
    """Each subchannel to the client that hears it best; who is left with none takes its best one from the rich.

    The highest sum of rates for equal powers per subchannel (Jang and Lee 2003), and the least fair.
    """

    kind: Literal["best"] = "best"
    looks: ClassVar[bool] = True

    def allocate(self, demand: Demand, random: np.random.Generator) -> Owners:
        clients = len(demand.gain)
        owners: Owners = np.argmax(demand.gain, axis=0)
        for client in range(clients):
            spare = np.bincount(owners, minlength=clients)[owners] > 1
            if client not in owners and spare.any():
                owners[np.argmax(np.where(spare, demand.gain[client], -1.0))] = client
        return owners


class Greedy(Allocator):
    """The next subchannel, its best of those left, to the client that is now the slowest: latest before + need / rate.

    SflLLM's subchannel step (arXiv:2504.14667); without ``before``, the slowest has the highest need over rate. With
    power split evenly, one more subchannel can cost a client rate, if it hears it badly or its power is what limits it:
    such a client gets no more, and what nobody gains from stays free.
    """

    kind: Literal["greedy"] = "greedy"
    looks: ClassVar[bool] = True

    def allocate(self, demand: Demand, random: np.random.Generator) -> Owners:
        clients, subchannels = demand.gain.shape
        owners: Owners = np.full(subchannels, -1)
        rates, content = np.zeros(clients), np.zeros(clients, dtype=bool)
        while (owners < 0).any() and not content.all():
            idle = (rates <= 0.0) & ~content
            slowness = demand.need / np.where(idle, 1.0, np.maximum(rates, 1e-300)) + np.where(idle, 0.0, demand.waits)
            client = int(np.argmax(np.where(idle if idle.any() else ~content, slowness, -1.0)))
            best = int(np.argmax(np.where(owners < 0, demand.gain[client], -1.0)))
            more = demand.rate_of(client, np.append(np.flatnonzero(owners == client), best))
            if client in owners and more <= rates[client]:
                content[client] = True
                continue
            owners[best], rates[client] = client, more
            content[client] = more <= 0.0
        return owners
