"""What client selection is: a server is told who is there, and says who trains in this round, and what each counts.

A *selection* (options) starts a *selector* for each server at the beginning of a run: the cloud, or every edge server for its own
clients. A selector sees candidates (members that are there when a round begins), what is known of them beforehand, and what was
reported of earlier rounds; it has neither clock nor values. Adding one is adding one file: a subclass of :class:`Selection` (or of
:class:`CohortSelection`, for a stated number of clients) with ``kind``, its options as fields, and ``start``.

Does not model: clients that decline, and what it costs to ask them.
Tested in tests/selection/test_selections.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from ..base.errors import Fault
from ..base.registry import Component
from ..base.units import MOST_COUNT


def _count(value: int | float) -> int | float:
    if isinstance(value, int):
        if not 1 <= value <= MOST_COUNT:
            raise ValueError(f"a number of clients is from 1 to {MOST_COUNT}, got {value}")
    elif not 0.0 < value <= 1.0:
        raise ValueError(f"a share of the clients is above 0.0 and at most 1.0 (a number is an integer), got {value:g}")
    return value


#: A number of clients (an integer), or a share of a server's members (a number with a decimal point, at most 1.0), rounded up.
Count = Annotated[int | float, AfterValidator(_count)]


def counted(count: int | float, members: int) -> int:
    """How many of so many ``members`` a :data:`Count` is, at least 1 and at most all of them."""
    wanted = count if isinstance(count, int) else math.ceil(count * members - 1e-9)
    return min(max(1, wanted), members)


class Prospect(NamedTuple):
    """How long a member's share of a round is expected to take (s), by static rates and speeds, with nobody beside it."""

    download: float
    work: float
    """Its local steps, with what crosses in them where the model is cut."""
    upload: float

    @property
    def time(self) -> float:
        """All of it (s)."""
        return self.download + self.work + self.upload


@dataclass(frozen=True, eq=False)
class Roster:
    """What a server knows of clients before it has heard from them."""

    samples: Mapping[str, float]
    """Client -> its number of samples |D_n|."""
    prospect: Callable[[str], Prospect]
    """Client -> how long it will take."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Who can be chosen now."""

    names: Sequence[str]
    """Those that are there, at least one, in natural order."""
    members: int
    """How many members the server has, those that are away included."""
    round: int
    """Number of this choice of the server, from 1."""
    random: np.random.Generator
    """A random stream of this choice alone."""


@dataclass(frozen=True)
class Report:
    """What a server learned from a member that took part: the loss of each local step, and how long it took (s)."""

    name: str
    losses: Sequence[float]
    """Empty where the selection needs none; that of a client that made no step is 0."""
    duration: float


class Selector:
    """One server's choice, round after round."""

    def choose(self, candidates: Candidates) -> Mapping[str, float]:
        """Those who take part, each with a factor on what it weighs (1.0, but for unbiased selections)."""
        raise NotImplementedError

    def observe(self, report: Report) -> None:
        """A member took part; told before the next choice. The default forgets it."""


class Selection(Component):
    """Who takes part in a round of a synchronous protocol."""

    family: ClassVar[str] = "selection"
    #: Whether all who are members take part, and nothing is chosen.
    everyone: ClassVar[bool] = False
    #: Whether chance has a say.
    random: ClassVar[bool] = True
    #: Whether it looks at the losses of local steps, which takes arithmetic.
    needs_losses: ClassVar[bool] = False
    #: Whether factors are inverse probabilities: the aggregate is then theta + sum_n p_n factor_n (theta_n - theta), p_n being
    #: the shares of all candidates in the samples, in the place of the mean of those who arrived.
    unbiased: ClassVar[bool] = False
    kind: str

    def asked(self, members: int) -> int:
        """How many of so many members it chooses, at most."""
        return members

    def closes(self, members: int) -> int | None:
        """With how many arrivals a round closes; ``None``: as the protocol's ``wait`` says."""
        return None

    def most(self, members: int) -> int:
        """Of how many members a round has a result, at most."""
        first = self.closes(members)
        return self.asked(members) if first is None else min(first, self.asked(members))

    def faults(self, homes: Mapping[str, Sequence[str]]) -> Iterable[Fault]:
        """What of these options cannot be where servers have these clients; paths are relative to the selection."""
        return ()

    def start(self, roster: Roster) -> Selector:
        """The selector of one server, at the beginning of a run."""
        raise NotImplementedError


class CohortSelection(Selection):
    """A selection of a stated number m of clients, or of more of whom the first m count."""

    clients: Count = 0.1
    """Clients m of a server that count in a round: a number, or a share of its members such as 0.1."""
    over_commit: float = Field(1.0, ge=1.0, le=100.0)
    """Choose so many times more (rounded up), and close the round when m have arrived; those who are late have worked in vain."""

    def asked(self, members: int) -> int:
        return min(members, math.ceil(counted(self.clients, members) * self.over_commit - 1e-9))

    def closes(self, members: int) -> int | None:
        return counted(self.clients, members) if self.over_commit > 1.0 else None

    def faults(self, homes: Mapping[str, Sequence[str]]) -> Iterable[Fault]:
        yield from too_many("clients", self.clients, homes)


def too_many(key: str, count: int | float, homes: Mapping[str, Sequence[str]]) -> Iterable[Fault]:
    """A fault at ``key`` if no server has as many clients as ``count``."""
    most = max((len(names) for names in homes.values()), default=0)
    if isinstance(count, int) and count > most > 0:
        yield Fault(key, f"no server has more than {most} clients to choose from, got {count}")


def drawn(
    random: np.random.Generator, weights: npt.NDArray[np.float64] | Sequence[float], count: int
) -> npt.NDArray[np.int64]:
    """Indices of ``count`` drawn one after another without replacement, each in proportion to the ``weights`` left.

    By the keys of Efraimidis and Spirakis (2006): the smallest of E_n / w_n, E_n exponential. Who weighs nothing comes last; where
    nobody weighs anything, all are alike.
    """
    weight = np.asarray(weights, dtype=np.float64)
    if not weight.any():
        weight = np.ones_like(weight)
    with np.errstate(divide="ignore"):
        keys = random.standard_exponential(len(weight)) / weight
    return np.argsort(keys, kind="stable")[:count]


def alike(names: Iterable[str]) -> dict[str, float]:
    """``names`` in this order, each with factor 1."""
    return dict.fromkeys(names, 1.0)


def valued(names: Sequence[str], value: Callable[[str], Any]) -> npt.NDArray[np.float64]:
    """A number for each of ``names``."""
    return np.fromiter((value(name) for name in names), dtype=np.float64, count=len(names))
