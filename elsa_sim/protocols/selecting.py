"""Rounds among selected clients: servers choose when a round begins, hear how it went, and weigh who arrived.

A protocol makes one :class:`Selecting` when its run begins and plays each round of a server by it; with the selection of everyone
that is :func:`..world.rounds.run_round`, and nothing else. Candidates are the members whose device is there when the round begins.
Rows of the event table: a ``selection`` for each client that was chosen, from the choice to the end of the round; aborted: it did
not arrive. Tested in tests/protocols/test_selection.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..selection.base import Candidates, Report, Roster, Selector
from ..world.rounds import present, run_round
from .prospects import prospects

if TYPE_CHECKING:
    from ..learning.aggregation.base import Aggregation
    from ..learning.execution.work import Ref, Work
    from ..world.client import Client
    from ..world.world import Verb, World
    from .base import Protocol

    C = TypeVar("C", bound=Client)


@dataclass(frozen=True, eq=False)
class Turnout:
    """Who arrived in a round, in the order of the members, and what each counts."""

    arrived: Mapping[str, Any]
    masses: Sequence[float]
    """Of each who arrived: its samples, times the factor of its selection."""
    present: Sequence[str]
    """Who speaks for the data in this round: who arrived, or all candidates where factors make up for those not chosen."""
    total: float | None = None
    """Samples of all candidates, where factors are inverse probabilities."""

    def aggregated(
        self, world: World, rule: Aggregation, contributions: Sequence[Ref], masses: Sequence[float], theta: Ref
    ) -> Work:
        """What a server makes of contributions with these masses by its rule, which it had sent out ``theta``."""
        if self.total is None:
            return world.model.aggregate(rule, contributions, masses, theta)
        updates = [(theta, each, None) for each in contributions]
        return world.model.merge_changes(rule, theta, updates, [mass / self.total for mass in masses])


@dataclass(eq=False)
class _Server:
    """A server that chooses."""

    selector: Selector
    rounds: int = 0
    heard: list[tuple[str, Sequence[Ref], float]] = field(default_factory=list)
    """Who took part since it last chose: name, losses of the steps, and duration (s)."""


class _Choice:
    """What a server chose in one round."""

    def __init__(self) -> None:
        self.begun = 0.0
        self.candidates: Sequence[str] = ()
        self.factors: Mapping[str, float] = {}
        self.rows: dict[str, int] = {}
        self.arrivals: dict[str, float] = {}


def _not_chosen() -> Verb:
    """The task of a member before its server has chosen; it is never begun."""
    raise AssertionError("its server has not chosen yet")


class Selecting:
    """The selections of all servers of a run."""

    def __init__(self, world: World, options: Protocol) -> None:
        self.world, self.options, self.selection = world, options, options.selection
        self.samples = {client.name: client.weight for client in world.clients}
        self._leaving = any(world.devices[name].options.downtimes for name in self.samples)
        self._roster = Roster(self.samples, prospects(world, options))
        self._servers: dict[str, _Server] = {}
        self._losses: dict[str, list[Ref]] = {}
        if self.selection.needs_losses:
            world.on_step(self._stepped)

    @property
    def everyone(self) -> Turnout:
        """All clients of the run, for a server above those that choose: it hears from some, and they speak for all of theirs."""
        total = sum(self.samples.values()) if self.selection.unbiased else None
        return Turnout({}, (), tuple(self.samples), total)

    def round(self, clients: Sequence[C], train: Callable[[C], Verb], *, round: int, at: str) -> Verb:
        """One round of the server ``at``, whose members are ``clients`` and ``train``; returns the :class:`Turnout`."""
        world, wait, choice = self.world, self.options.wait, _Choice()
        if self.selection.everyone:
            tasks = {client.name: partial(train, client) for client in clients}
            arrived = yield from run_round(world, tasks, wait, round=round, at=at)
            return Turnout(arrived, [self.samples[name] for name in arrived], tuple(arrived))
        members = {client.name: client for client in clients}
        first = self.selection.closes(len(members))
        if first is not None:
            wait = wait.model_copy(update={"first": first})
        try:
            choose = partial(self._chosen, choice, members, train, round, at)
            idle = dict.fromkeys(members, _not_chosen)
            arrived = yield from run_round(world, idle, wait, round=round, at=at, choose=choose)
        except Exception:  # an interrupt: the server's own round was lost
            self._closed(choice, {}, at)
            raise
        return self._closed(choice, arrived, at)

    def _chosen(
        self, choice: _Choice, members: Mapping[str, C], train: Callable[[C], Verb], round: int, at: str
    ) -> dict[str, Callable[[], Verb]]:
        """The tasks of those who are chosen now, in the order of the members."""
        world = self.world
        names = [name for name in members if present(world, name)] if self._leaving else list(members)
        chosen: list[str] = []
        if names:
            server = self._servers.get(at)
            if server is None:
                server = self._servers[at] = _Server(self.selection.start(self._roster))
            self._report(server)
            server.rounds += 1
            random = world.pipeline.streams.numpy("selection", at, server.rounds)
            choice.factors = server.selector.choose(Candidates(names, len(members), server.rounds, random))
            chosen = [name for name in names if name in choice.factors]
        choice.begun, choice.candidates = world.now, names
        left_out = (len(members) - len(chosen)) * self.options.local_steps
        if left_out:
            world.skipped(left_out)
        for name in chosen:
            choice.rows[name] = world.event_log.begin(
                kind="selection", node=at, peer=name, round=round, detail=self.selection.kind
            )
            if self.selection.needs_losses:
                self._losses[name] = []
        return {name: partial(self._timed, choice, members[name], train) for name in chosen}

    def _timed(self, choice: _Choice, client: C, train: Callable[[C], Verb]) -> Verb:
        found = yield from train(client)
        choice.arrivals[client.name] = self.world.now
        return found

    def _stepped(self, client: str, loss: Ref) -> None:
        if client in self._losses:
            self._losses[client].append(loss)

    def _report(self, server: _Server) -> None:
        """Have the selector hear of those who took part."""
        if not server.heard:
            return
        names, losses, durations = zip(*server.heard, strict=True)
        server.heard.clear()
        values = [[] for _ in names]  # type: list[list[float]]
        if self.selection.needs_losses:
            read = lambda: [[float(loss.value) for loss in each] for each in losses]  # noqa: E731
            values = [each or [0.0] for each in self.world.read("selection", read) or values]
        for report in zip(names, values, durations, strict=True):
            server.selector.observe(Report(*report))

    def _closed(self, choice: _Choice, arrived: Mapping[str, Any], at: str) -> Turnout:
        """The round is over: note what each counts, and what the server learned."""
        unbiased = self.selection.unbiased
        masses = [self.samples[name] * choice.factors[name] for name in arrived]
        total = sum(self.samples[name] for name in choice.candidates) if unbiased else None
        whole = sum(masses) if total is None else total
        counts = dict(zip(arrived, masses, strict=True))
        for name, row in choice.rows.items():
            losses = self._losses.pop(name, [])
            if name not in counts:
                self.world.event_log.end(row, status="aborted")
                continue
            facts = {"weight": counts[name] / whole, "samples": self.samples[name]}
            self.world.event_log.end(row, metrics=facts)
            self._servers[at].heard.append((name, losses, choice.arrivals[name] - choice.begun))
        return Turnout(arrived, masses, choice.candidates if unbiased else tuple(arrived), total)

    def of(self, clients: Sequence[C], names: Sequence[str]) -> list[C]:
        """Those of ``clients`` with these ``names``, in their own order."""
        among = set(names)
        return [client for client in clients if client.name in among]
