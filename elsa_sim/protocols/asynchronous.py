"""Asynchronous training: clients come and go at their own pace, a server merges updates as they arrive.

Shared by FedAsync, FedBuff and AlignFed, which say when to merge and how. A client fetches the newest version, trains, sends
its adapters, and goes on with whatever version is the newest then. Under ``tiers: edges`` every edge server does the same
for its own clients, and sends its adapters to the cloud after every ``edge_merges`` merges. Clients train the whole model, or
(``clients: split``) Part 1 and Part 3 with Part 2 on their server.

While a server merges it hands out nothing, so that clients who arrive together go on together. An update counts once: the
server numbers what it hands out, takes each number once, and rejects the rest with a reason, which the event table keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..base.errors import Fault, Lost
from ..base.units import MOST_COUNT
from ..learning.splits.pattern import WHOLE, StepPattern, u_shaped
from ..world.rounds import run_while_online, wait_until_online
from .aggregators import Aggregator
from .base import TieredProtocol
from .local import SplitTrainer, WholeTrainer
from .versions import ClientUpdate, Server, StalenessOptions

if TYPE_CHECKING:
    from ..learning.execution.work import Ref
    from ..world.client import Client
    from ..world.world import Verb, World


class Asynchronous(TieredProtocol):
    """Base of the asynchronous protocols; see the module."""

    continuous: ClassVar[bool] = True
    evaluate_every: int = Field(1, ge=1, le=MOST_COUNT)
    """Merges of the cloud between two evaluations; ``rounds`` counts evaluations."""
    clients: Literal["whole", "split"] = "whole"
    """Whether a client trains the whole model, or Part 1 and Part 3 with its server."""
    tiers: Literal["flat", "edges"] = "flat"
    """Whether clients send to the cloud, or to their edge servers, which send to the cloud."""
    edge_merges: int = Field(1, ge=1, le=MOST_COUNT)
    """Merges of an edge server between two updates that it sends to the cloud."""
    staleness: StalenessOptions = StalenessOptions()
    """How old an update may be."""
    on_return: Literal["restart", "resume"] = "restart"
    """A client that was away fetches the newest version, or trains on from the version that it has."""
    resend: float = Field(0.0, ge=0, le=1)
    """Chance that a client misses the acknowledgement of its update and sends it a second time."""

    @property
    def pattern(self) -> StepPattern:  # type: ignore[override]
        return WHOLE if self.clients == "whole" else u_shaped("edge" if self.tiers == "edges" else "cloud")

    @property
    def uses_edge_servers(self) -> bool:  # type: ignore[override]
        return self.tiers == "edges"

    def steps(self, clients: int) -> int:
        """Local steps that are merged; those of clients in flight come on top."""
        return self.rounds * self.evaluate_every * self.size(clients) * self.local_steps

    def size(self, members: int) -> int:
        """Updates that a server with so many members waits for before it merges."""
        raise NotImplementedError

    def aggregators(self, clients: Mapping[str, str], cloud: str) -> Iterable[Aggregator]:
        """A server aggregates the updates of a merge."""
        found = self._servers(clients, cloud)
        return (replace(each, members=self.size(each.members), what="updates") for each in found)

    def _servers(self, clients: Mapping[str, str], cloud: str) -> Iterable[Aggregator]:
        """The servers with all their members."""
        flat = (Aggregator(cloud, len(clients), "clients", self.aggregation),)
        return flat if self.tiers == "flat" else super().aggregators(clients, cloud)

    def aggregation_faults(self, clients: Mapping[str, str], cloud: str) -> Iterable[Fault]:
        yield from super().aggregation_faults(clients, cloud)
        if self.tiers == "flat" and self.edge_aggregation is not None and self.unaggregated is None:
            yield Fault("edge_aggregation", "clients send to the cloud; it has an effect with tiers: edges only")

    @property
    def timer_s(self) -> float | None:
        """Time after the last merge (s) after which what is there is merged."""
        return None

    def weights(self, server: Server, updates: Sequence[ClientUpdate]) -> list[float]:
        """What each of ``updates`` counts in the next version."""
        raise NotImplementedError

    def merge(self, world: World, server: Server, updates: Sequence[ClientUpdate], weights: Sequence[float]) -> Verb:
        """The next version, from the present one and ``updates`` with their :meth:`weights`."""
        raise NotImplementedError

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        if world.evaluate(theta, round=0):
            return
        run = _Run(self, world, theta)
        yield run.ended


class _Run:
    """One run: the processes of all members and servers."""

    def __init__(self, options: Asynchronous, world: World, theta: Ref) -> None:
        self.options, self.world, self.ended = options, world, world.env.event()
        optimizer = world.model.optimizer(options.lr, options.weight_decay)
        self.visit: Callable[..., Verb]
        if options.clients == "whole":
            self.visit = WholeTrainer(world, optimizer, options.keep_optimizer).visit
        else:
            self.visit = SplitTrainer(world, optimizer, options.keep_optimizer).train
        weights = {client.name: client.weight for client in world.clients}
        homes = world.homes(failover=False) if options.tiers == "edges" else {}
        shares = {edge: sum(weights[client.name] for client in clients) for edge, clients in homes.items()}
        self.cloud = Server(world.cloud, theta, weights if not homes else shares)
        self.members = len(homes) or len(world.clients)
        self.alive = 0
        for client in world.clients if not homes else ():
            self._spawn(self._client(client, self.cloud), client.name, self.cloud)
        for edge, clients in homes.items():
            server = Server(edge, theta, {client.name: client.weight for client in clients}, parent=self.cloud)
            self._spawn(self._edge(server, clients), edge, self.cloud)

    def _spawn(self, process: Verb, member: str, server: Server) -> None:
        self.alive += 1
        server.left += 1
        self.world.spawn(self._until_gone(process, member, server))

    def _until_gone(self, process: Verb, member: str, server: Server) -> Verb:
        """A member's life; when the last one is gone for good, so is the run."""
        try:
            yield from process
        except Lost as error:
            self.alive -= 1
            server.left -= 1
            server.forget(member)
            if self.ended.triggered:
                return
            if not self.alive:
                self.ended.fail(error)
            elif server.parent is not None and not server.left:  # it will send nothing any more
                server.parent.forget(server.node)
                self._consider(server.parent)
            else:
                self._consider(server)
        else:
            self.alive -= 1

    def _edge(self, server: Server, clients: Sequence[Client]) -> Verb:
        """An edge server fetches the first version, and then serves its clients."""
        parent = server.parent
        assert parent is not None
        while True:
            yield from wait_until_online(self.world, (parent.node,))
            yield from wait_until_online(self.world, (server.node,))
            try:
                server.ticket = parent.hand_out(server.node)
                server.theta = yield from self.world.send(parent.node, server.node, parent.theta, "adapters")
                break
            except Lost:
                continue
        for client in clients:
            self._spawn(self._client(client, server), client.name, server)

    def _client(self, client: Client, server: Server) -> Verb:
        """A client's life: fetch, train, send, and again."""
        world, options, name = self.world, self.options, client.name
        doubts = world.pipeline.streams.numpy("resend", client.index)
        ticket, base, version = 0, server.theta, 0
        fresh = True
        while True:
            for node in (server.node, name):
                yield from wait_until_online(world, (node,))
            while server.reopens is not None:
                yield server.reopens
            if fresh or options.on_return == "restart":
                ticket, base, version = server.hand_out(name), server.theta, server.version
            begun = world.now
            try:
                share = self.visit(client, server.node, base, options.local_steps, round=version + 1)
                trained = yield from run_while_online(world, name, share)
            except Lost as error:
                world.missing(name, begun, str(error), round=version + 1)
                fresh = False
                if options.on_return == "restart":
                    server.forget(name)
                    self._consider(server)  # nobody is to wait for what will not come
                continue
            fresh = True
            self._arrived(server, ticket, name, trained)
            if doubts.random() < options.resend:
                try:
                    copy = world.send(name, server.node, trained, "adapters", round=version + 1)
                    again = yield from run_while_online(world, name, copy)
                    self._arrived(server, ticket, name, again)
                except Lost as error:
                    world.missing(name, begun, str(error), round=version + 1)
            yield world.env.timeout(0)  # whoever arrives at this instant arrives before anybody goes on

    def _arrived(self, server: Server, ticket: int, member: str, adapters: Ref) -> None:
        """An update has arrived; the table says whether it counts."""
        world, staleness = self.world, self.options.staleness
        bound = staleness.bound if staleness.beyond == "reject" else None
        row = world.event_log.begin(
            kind="update", node=server.node, peer=member, round=server.version + 1, detail="update"
        )
        update, version, reason = server.take(ticket, adapters, bound, row)
        if update is None:
            facts: dict[str, Any] = {"ticket": ticket, "reason": reason} | ({"base": version} if version >= 0 else {})
            world.event_log.end(row, status="aborted", metrics=facts)
        else:
            self._consider(server)

    def _consider(self, server: Server) -> None:
        """Merge if it is time to."""
        options, world = self.options, self.world
        if server.merging or not server.buffer or self.ended.triggered:
            return
        bound = options.staleness.bound if options.staleness.beyond == "wait" else None
        wanted = options.size(len(server.weights))
        due = options.timer_s is not None and world.now >= server.opened_s + options.timer_s
        if len(server.buffer) >= wanted or due:
            server.reopens = server.reopens or world.env.event()
            if bound is not None and server.lagging(bound):
                return  # nobody goes on before those have arrived
            server.merging = True
            world.spawn(self._merge(server, server.next(wanted if bound is None and not due else len(server.buffer))))
        elif options.timer_s is not None and not server.ringing:
            server.ringing = True
            world.spawn(self._ring(server, options.timer_s))

    def _ring(self, server: Server, timer_s: float) -> Verb:
        """Wake the server when its timer has ended, counted from the last merge."""
        while self.world.now < server.opened_s + timer_s:
            yield self.world.env.timeout(server.opened_s + timer_s - self.world.now)
        server.ringing = False
        self._consider(server)

    def _merge(self, server: Server, updates: Sequence[ClientUpdate]) -> Verb:
        """Merge ``updates``, evaluate or report if it is time to, and hand out versions again."""
        world, options = self.world, self.options
        try:
            aged = [replace(update, staleness=server.version - update.version) for update in updates]
            weights = options.weights(server, aged)
            for update, weight in zip(aged, weights, strict=True):
                facts = {"ticket": update.ticket, "base": update.version, "staleness": update.staleness}
                world.event_log.end(update.row, metrics=facts | {"weight": weight, "samples": update.weight})
            server.theta = yield from options.merge(world, server, aged, weights)
            server.version += 1
            server.opened_s = world.now
            if server.parent is not None and server.version % options.edge_merges == 0:
                yield from self._report(server)
        except Lost as error:
            if not self.ended.triggered:
                self.ended.fail(error)
            return
        server.merging = False
        assert server.reopens is not None
        server.reopens.succeed()
        server.reopens = None
        if server.parent is None and server.version % options.evaluate_every == 0:
            evaluation = server.version // options.evaluate_every
            if (
                world.evaluate(server.theta, round=evaluation) or evaluation >= options.rounds
            ) and not self.ended.triggered:
                self.ended.succeed()
        self._consider(server)

    def _report(self, server: Server) -> Verb:
        """An edge server sends its version to the cloud and goes on from the cloud's newest one."""
        world, parent = self.world, server.parent
        assert parent is not None
        while True:
            try:
                received = yield from world.send(
                    server.node, parent.node, server.theta, "adapters", round=server.version
                )
                self._arrived(parent, server.ticket, server.node, received)
                yield world.env.timeout(0)
                while parent.reopens is not None:
                    yield parent.reopens
                server.ticket = parent.hand_out(server.node)
                server.theta = yield from world.send(
                    parent.node, server.node, parent.theta, "adapters", round=server.version
                )
            except Lost:
                yield from wait_until_online(world, (parent.node,))
                yield from wait_until_online(world, (server.node,))
            else:
                return
