"""The joint optimiser: subchannels, powers, cut and rank in turn, until the delay changes no more.

After SflLLM (arXiv:2504.14667): greedy subchannels, convex power control, exhaustive cut and rank, alternated until T
changes by less than epsilon. The paper's three steps are kept; ours are: a local search after the greedy step and from
other starts; powers that are adapted to every cut and rank before these are compared (by water-filling), and subchannels,
too, for the most promising that a lower bound does not rule out; and that no step is taken that would raise T, so that T
never rises. The two uplinks have subcarriers and budgets of their own and are independent of each other, given cut and rank
(:mod:`..wireless.uplink`).

The answer is a local optimum: the problem is a mixed-integer one, and nothing here proves a distance to its optimum.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..base.errors import InputError
from ..wireless.allocation import Owners
from ..wireless.power import refuse, within
from ..wireless.search import greedy, improved, starts
from ..wireless.uplink import Allocation, UplinkSubproblem
from .delay import Breakdown, delay
from .problem import Decision, Pair, Problem, Uplink
from .uplinks import subproblems


@dataclass(frozen=True, eq=False)
class Held:
    """What is not to be optimised: baselines, and systems that do not decide it."""

    main: Owners | None = None
    """Subchannels of the main uplink; M."""
    fed_server: Owners | None = None
    """Subchannels of the federated uplink; N."""
    even: bool = False
    """Power is split evenly."""
    cut: int | None = None
    rank: int | None = None

    def pairs(self, problem: Problem) -> list[Pair]:
        """The cuts and ranks to choose from, in order.

        Raises:
            InputError: none is left.
        """
        found = [(cut, rank) for cut, rank in sorted(problem.loads)
                 if self.cut in (None, cut) and self.rank in (None, rank)]  # fmt: skip
        if not found:
            held = ", ".join(f"{k} {v}" for k, v in (("cut", self.cut), ("rank", self.rank)) if v is not None)
            raise InputError(f"{held} is not among the {len(problem.loads)} cuts and ranks that fit everybody's memory")
        return found


@dataclass(frozen=True)
class Step:
    """One step of the optimiser and the delay after it."""

    name: str
    """``start``, ``power``, ``cut and rank`` or ``subchannels``."""
    total_s: float
    """T (s)."""


@dataclass(frozen=True, eq=False)
class Result:
    """What the optimiser found, and how."""

    decision: Decision
    breakdown: Breakdown
    history: tuple[Step, ...]
    """T after each step; it never rises."""
    host_s: float
    """What it took, of the host's time (s)."""
    in_time: bool
    """Whether it ended by itself, not by its time limit."""

    @property
    def total_s(self) -> float:
        """T (s)."""
        return self.breakdown.total_s


def optimise(
    problem: Problem,
    start: Decision | None = None,
    held: Held = Held(),
    *,
    epsilon: float = 1e-4,
    time_limit_s: float = float("inf"),
    breadth: int = 6,
    starts: int = 4,
) -> Result:
    """The decision of least delay that alternation finds, from ``start`` if one is given.

    ``epsilon`` is relative, ``breadth`` is how many (cut, rank) get subchannels of their own before they are dismissed,
    ``starts`` is from how many subchannel assignments each of them is searched, beside the present one.
    After ``time_limit_s`` of host time it answers with the best so far, at the next end of a step.

    Raises:
        InputError: a client can never send (its name, and why), or what is held cannot be.
    """
    began = time.perf_counter()
    search = _Search(problem, held, breadth, starts, lambda: time.perf_counter() - began >= time_limit_s)
    search.begin(start)
    moves = (("power", search.power), ("cut and rank", search.pair), ("subchannels", search.subchannels))
    in_time = True
    while in_time:
        before = search.total
        for name, move in moves:
            if search.late():
                in_time = False
                break
            move()
            search.history.append(Step(name, search.total))
        if before - search.total <= epsilon * before:
            break
    found = search.decision
    return Result(found, delay(problem, found), tuple(search.history), time.perf_counter() - began, in_time)


class _Search:
    """The decision so far, and the steps that may better it."""

    decision: Decision

    def __init__(self, problem: Problem, held: Held, breadth: int, count: int, late: Callable[[], bool]) -> None:
        self.problem, self.held, self.breadth, self.starts, self.late = problem, held, breadth, count, late
        self.pairs = held.pairs(problem)
        self.subproblems = {pair: subproblems(problem, problem.loads[pair]) for pair in self.pairs}
        self.lowest = {
            pair: problem.rounds[pair[1]] * (first.lowest() + second.lowest() + rest)
            for pair, (first, second, rest) in self.subproblems.items()
        }  # s; no subchannels and powers make a pair better
        self.total = np.inf
        self.history: list[Step] = []
        self.known: dict[Pair, tuple[Owners, Owners]] = {}  # the best subchannels found at each cut and rank

    def begin(self, start: Decision | None) -> None:
        """From the given decision, made to fit; else greedy subchannels, even power, and the cut and rank best for these."""
        first = self.pairs[0]
        for subproblem, owners in zip(self.subproblems[first][:2], self._held(), strict=True):
            refuse(
                subproblem.demand, greedy(subproblem) if owners is None else owners, subproblem.names, subproblem.where
            )
        if start is not None and start.pair in self.subproblems:
            main, fed_server = (
                Allocation(a.owners, within(a.power, a.owners, link.limit, link.total))
                for a, link in zip((start.main, start.fed_server), self._links(), strict=True)
            )
            self._take(Decision(start.cut, start.rank, main, fed_server))
        if not np.isfinite(self.total):
            for pair in self.pairs:
                self._take(
                    self._of(
                        pair,
                        lambda subproblem, owners: subproblem.evenly(greedy(subproblem) if owners is None else owners),
                    )
                )
        self.history.append(Step("start", self.total))

    def power(self) -> None:
        """The convex step."""
        if not self.held.even:
            main, fed_server, _ = self.subproblems[self.decision.pair]
            now = self.decision
            self._take(
                replace(now, main=main.solved(now.main.owners), fed_server=fed_server.solved(now.fed_server.owners))
            )

    def subchannels(self) -> None:
        """Greedy and local search, for this cut and rank, from the present subchannels and from greedy ones."""
        self._take(self._searched(self.decision.pair))

    def pair(self) -> None:
        """The exhaustive step: every cut and rank, with the present subchannels and powers of its own."""
        now = self.decision
        values = {pair: self._value(pair, now.main.owners, now.fed_server.owners) for pair in self.pairs}
        order = sorted(self.pairs, key=lambda pair: (values[pair], pair))
        if order[0] != now.pair:
            self._take(self._powered(order[0], now.main.owners, now.fed_server.owners))
        for pair in [pair for pair in order if self.lowest[pair] < self.total][: self.breadth]:
            if pair != self.decision.pair and not self.late():
                self._take(self._searched(pair))

    def _value(self, pair: Pair, main: Owners, fed_server: Owners) -> float:
        """About the least T with these subchannels (s)."""
        first, second, rest = self.subproblems[pair]
        return self.problem.rounds[pair[1]] * (self._least(first, main) + self._least(second, fed_server) + rest)

    def _least(self, subproblem: UplinkSubproblem, owners: Owners) -> float:
        return subproblem.value(subproblem.evenly(owners)) if self.held.even else subproblem.bound(owners)[0]

    def _powered(self, pair: Pair, main: Owners, fed_server: Owners) -> Decision:
        first, second, _ = self.subproblems[pair]
        if self.held.even:
            return Decision(*pair, first.evenly(main), second.evenly(fed_server))
        return Decision(*pair, first.filled(main), second.filled(fed_server))

    def _searched(self, pair: Pair) -> Decision:
        """This cut and rank with the best subchannels found so far, or from the present ones."""
        known = self.known.get(pair)
        found = []
        for i, (subproblem, owners, now) in enumerate(zip(self.subproblems[pair][:2], self._held(),
                                                     (self.decision.main, self.decision.fed_server), strict=True)):  # fmt: skip
            if owners is None:
                fresh = starts(subproblem, self.starts) if known is None else []
                seen: set[bytes] = set()
                tried = [improved(subproblem, each, self.held.even, seen) for each in (now.owners, *fresh)]
                tried += [] if known is None else [known[i]]
                owners = min(tried, key=lambda each: self._least(subproblem, each))
            found.append(owners)
        self.known[pair] = found[0], found[1]
        return self._powered(pair, *found)

    def _held(self) -> tuple[Owners | None, Owners | None]:
        return self.held.main, self.held.fed_server

    def _links(self) -> tuple[Uplink, Uplink]:
        return self.problem.main, self.problem.fed_server

    def _of(self, pair: Pair, allocate: Callable[[UplinkSubproblem, Owners | None], Allocation]) -> Decision:
        first, second, _ = self.subproblems[pair]
        return Decision(*pair, allocate(first, self.held.main), allocate(second, self.held.fed_server))

    def _take(self, decision: Decision) -> None:
        """Take a decision if it does not raise T."""
        total = delay(self.problem, decision).total_s
        if total <= self.total:
            self.decision, self.total = decision, total
