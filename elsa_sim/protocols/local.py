"""Local training on a client: the four crossings of a split step, and the unsplit step.

Shared by the protocols; each returns what was trained, and says nothing about aggregation.
Tested in tests/protocols/test_protocol_laws.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ..learning.execution.work import Work
from ..world.replica import Replica
from ..world.rounds import retry
from .selecting import Selecting, Turnout

if TYPE_CHECKING:
    from ..learning.execution.work import Ref
    from ..learning.training.model import Trained
    from ..learning.training.optim import Optimizer
    from ..world.client import Client, SplitClient
    from ..world.world import Verb, World
    from .base import Protocol

    C = TypeVar("C", bound=Client)


def average(
    world: World,
    clients: Sequence[C],
    options: Protocol,
    theta: Ref,
    train: Callable[[C], Verb],
    *,
    round: int,
    selecting: Selecting | None = None,
) -> Verb:
    """One round of the cloud: ``clients`` ``train``, the cloud aggregates what arrived, weighted by samples.

    How long it waits, and by which rule it aggregates, is what the protocol's ``options`` say; ``selecting``, which a protocol
    makes when it begins, says who of the clients takes part, all without it. Returns the new adapters, or ``theta`` if nobody
    arrived.
    """
    selecting = Selecting(world, options) if selecting is None else selecting
    turnout: Turnout = yield from selecting.round(clients, train, round=round, at=world.cloud)
    if not turnout.arrived:
        return theta
    work = turnout.aggregated(world, options.aggregation, list(turnout.arrived.values()), turnout.masses, theta)
    return (yield from retry(world, world.cloud, work, round=round))


def outgoing(world: World, client: Client, received: Ref, trained: Ref, *, round: int, upload: bool = True) -> Verb:
    """The adapters that leave ``client``: those it ``trained`` from what it ``received``, unless it misbehaves."""
    yield from ()
    if client.misbehaviour is None:
        return trained
    sent = client.misbehaviour.sent(received, trained, upload=upload)
    if not isinstance(sent, Work):
        return sent
    return (yield from world.compute(client.name, sent, round=round))


def trains(world: World, client: Client, steps: int) -> int:
    """How many of ``steps`` local steps ``client`` makes: a free rider makes none."""
    if client.misbehaviour is None or client.misbehaviour.trains:
        return steps
    world.skipped(steps)
    return 0


class SplitTrainer:
    """Split training of clients with a server: Parts 1 and 3 on the client, Part 2 (one replica per client) on the server.

    It trains after the ``u_shaped`` patterns; a protocol with another pattern has a step of its own.

    Keeps each client's optimizer moments between calls if ``keep`` says so: those of Parts 1 and 3 belong to the
    client, those of Part 2 to its server, so a client that comes to another server starts them afresh.
    """

    def __init__(self, world: World, optimizer: Optimizer, keep: bool) -> None:
        if not world.split_clients[0].pattern.tail:
            raise TypeError(
                "SplitTrainer trains Parts 1 and 3 on the client: the protocol's step pattern must be u_shaped"
            )
        self.world, self.optimizer, self.keep = world, optimizer, keep
        #: That of Part 2.
        self.serving = optimizer
        #: Client -> the server it last trained with, and what it trained: Part 1, Part 2, Part 3.
        self._before: dict[str, tuple[str, Trained, Trained, Trained]] = {}

    def own(self, client: SplitClient) -> tuple[str, ...]:
        """Names of the tensors that live on the client."""
        return self.world.model.names(client.own)

    def replica(self, client: SplitClient, theta: Ref, before: Trained | None) -> Replica:
        """Part 2 of ``client`` as its server trains it from ``theta``, with the moments of ``before``."""
        return Replica(self.world.env, self.world.model.take(client.served, theta, before))

    def train(self, client: SplitClient, server: str, theta: Ref, steps: int, *, round: int) -> Verb:
        """Fetch ``theta``'s client parts from ``server``, train, return them: one client's share of a round.

        Returns the client's adapters of all layers: its own parts as the server received them, and the server's copy
        of Part 2.
        """
        world, model = self.world, self.world.model
        fetched = yield from world.send(server, client.name, theta.pick(self.own(client)), "adapters", round=round)
        first, last = client.own
        there, *before = self._before.get(client.name, (None, None, None, None))
        bottom, top = model.take(first, fetched, before[0]), model.take(last, fetched, before[2])
        served = self.replica(client, theta, before[1] if there == server else None)
        for step in range(1, trains(world, client, steps) + 1):
            bottom, top = yield from self.step(client, server, bottom, served, top, round=round, step=step)
        world.trained(client.name, bottom.adapters, served.trained.adapters, top.adapters)
        mine = bottom.adapters.merge([bottom.adapters, top.adapters])
        mine = yield from outgoing(world, client, fetched, mine, round=round)
        received = yield from world.send(client.name, server, mine, "adapters", round=round)
        if self.keep:  # moments and adapters go together: those of work that did not arrive are dropped
            self._before[client.name] = (server, bottom, served.trained, top)
        return received.merge([received, served.trained.adapters])

    def step(
        self, client: Client, server: str, bottom: Trained, served: Replica, top: Trained, *, round: int, step: int
    ) -> Verb:
        """One step: activation up, activation down, gradient up, gradient down; each crossing is a transfer.

        Returns Part 1 and Part 3 after it.
        """
        world, model, node, optimizer = self.world, self.world.model, client.name, self.optimizer
        compute = partial(world.compute, round=round, step=step)
        send = partial(world.send, round=round, step=step)
        batch = next(client.batches)
        lengths = batch.lengths

        def forward(middle: Trained) -> Verb:
            return (yield from compute(server, model.forward(middle, h1, lengths)))

        def backward(middle: Trained) -> Verb:
            g1, *after = yield from compute(server, model.backward(middle, saved2, g2, lengths, self.serving))
            return g1, middle.stepped(*after)

        h1, saved1 = yield from compute(node, model.forward(bottom, batch, lengths))
        h1 = yield from send(node, server, h1, "activation", attached=lengths)
        h2, saved2 = yield from served.read(forward)
        h2 = yield from send(server, node, h2, "activation")
        g2, *after3, loss = yield from compute(node, model.learn(top, h2, batch, optimizer))
        g2 = yield from send(node, server, g2, "gradient")
        g1 = yield from served.step(backward)
        g1 = yield from send(server, node, g1, "gradient")
        _, *after1 = yield from compute(node, model.backward(bottom, saved1, g1, lengths, optimizer))
        world.stepped(loss, client.name)
        return bottom.stepped(*after1), top.stepped(*after3)


class WholeTrainer:
    """Training of the unsplit model on one node, with LoRA adapters on all layers.

    Keeps each client's optimizer moments if ``keep`` says so, from the last training that was ``done``.
    """

    def __init__(self, world: World, optimizer: Optimizer, keep: bool) -> None:
        self.world, self.optimizer, self.keep = world, optimizer, keep
        self._before: dict[str, Trained] = {}

    def train(self, client: Client, node: str, theta: Ref, steps: int, *, round: int) -> Verb:
        """``steps`` steps on ``client``'s batches on the device of ``node``; returns the part as it is then."""
        world, model = self.world, self.world.model
        trained = model.take(model.whole, theta, self._before.get(client.name))
        for step in range(1, trains(world, client, steps) + 1):
            batch = next(client.batches)
            work = model.learn(trained, batch, batch, self.optimizer)
            _, *after, loss = yield from world.compute(node, work, round=round, step=step)
            trained = trained.stepped(*after)
            world.stepped(loss, client.name)
        return trained

    def visit(self, client: Client, server: str, theta: Ref, steps: int, *, round: int) -> Verb:
        """Fetch ``theta`` from ``server``, train on the client, return it: one client's share of a round.

        Returns the adapters as the server received them.
        """
        world, node = self.world, client.name
        fetched = yield from world.send(server, node, theta, "adapters", round=round)
        trained = yield from self.train(client, node, fetched, steps, round=round)
        world.trained(node, trained.adapters)
        mine = yield from outgoing(world, client, fetched, trained.adapters, round=round)
        received = yield from world.send(node, server, mine, "adapters", round=round)
        self.done(client, trained)
        return received

    def done(self, client: Client, trained: Trained) -> None:
        """What ``client`` has trained arrived: it goes on from these moments."""
        if self.keep:
            self._before[client.name] = trained
