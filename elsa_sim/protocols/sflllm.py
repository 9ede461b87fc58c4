"""SflLLM (arXiv:2504.14667): split federated learning in which all clients' activations are one batch of the main server.

Clients hold the embeddings and the first p layers; the *main server* (the cloud) holds the rest with the head, and a
*fed server* averages the clients' adapters every ``local_steps`` steps. One round:

    1. the fed server sends every client the adapters of its layers;
    2. ``local_steps`` times: every client runs its layers and sends the activations, with its labels, to the main server;
       that joins all of them into one batch, takes one step on its adapters, and sends each client the gradient of its
       own activations; every client takes a step on its adapters;
    3. every client sends its adapters to the fed server, which takes their mean, weighted by samples.

The paper's: the two servers, the joint batch and its one update, the interval, and a delay (see ``elsa_sim.joint``) in which
clients begin every phase together; ``barrier: false`` lets each go on as soon as it can. Our reading: the gradient is that of
the mean loss over the joint batch; labels (classes, or the token ids of a language model) cross with the activations, 4
bytes each. Clients with different cuts share a Part 2, and a joint batch, with those of the same cut. A client that is lost
is missing from the joint batches that follow, not from the steps the main server has made. With ``wait``, a round
ends when so many have uploaded their adapters; the steps themselves are everybody's. Does not capture: labels that are
secret, and a main server that overlaps its forward pass with clients that are still sending.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..base.errors import Fault
from ..learning.splits.pattern import StepPattern, head_at
from ..world.barrier import Barrier
from ..world.replica import Replica
from ..world.rounds import retry
from .base import Protocol
from .local import outgoing, trains
from .selecting import Selecting, Turnout

if TYPE_CHECKING:
    from ..learning.backbone.options import Part
    from ..learning.execution.work import Ref
    from ..learning.tasks.base import Task
    from ..learning.tasks.data import Batch
    from ..learning.training.model import Trained
    from ..learning.training.optim import Optimizer
    from ..topology import Topology
    from ..world.client import Client, SplitClient
    from ..world.world import Verb, World


class SflLLM(Protocol):
    """Split training with one joint batch of all clients per step, and a fed server (SflLLM, arXiv:2504.14667)."""

    selects: ClassVar[bool] = True
    pattern: ClassVar[StepPattern] = head_at("cloud", shared=True, joint=True)
    kind: Literal["sflllm"] = "sflllm"
    federated: str | None = None
    """Name of the node that averages the clients' adapters; the cloud by default."""
    barrier: bool = True
    """Clients begin every phase (forward pass, backward pass, upload) together, as in the paper's delay."""

    def faults(self, topology: Topology, task: Task) -> Iterable[Fault]:
        servers = (*topology.names("cloud"), *topology.names("edge"))
        if self.federated is not None and self.federated not in servers:
            yield Fault("federated", f"there is no server {self.federated!r}; valid: {', '.join(servers)}")

    @property
    def aggregator(self) -> str | None:
        return self.federated

    @property
    def in_phase(self) -> bool:
        return self.barrier

    def cut_faults(self, cuts: Collection[tuple[int, int]]) -> Iterable[Fault]:
        if self.federated is not None and len(cuts) > 1:
            what = "with different cuts, layers of clients and of the main server are averaged, which one node must do"
            yield Fault("federated", f"{what}; leave it out, or give all clients one cut")

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        trainer = JointTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            theta = yield from trainer.round(theta, g)
            if world.evaluate(theta, round=g):
                return


class JointTrainer:
    """Clients and main server of SflLLM."""

    def __init__(self, world: World, optimizer: Optimizer, options: SflLLM) -> None:
        self.world, self.optimizer, self.options = world, optimizer, options
        self.fed_server = world.cloud if options.federated is None else options.federated
        self._selecting = Selecting(world, options)
        #: Part 2 -> its one copy; what clients keep between rounds.
        self._replicas: dict[Part, Replica] = {}
        self._before: dict[str, Trained] = {}

    def round(self, theta: Ref, number: int) -> Verb:
        """One round from the adapters ``theta``; returns the adapters after it."""
        world, model = self.world, self.world.model
        clients, before = world.split_clients, self._replicas if self.options.keep_optimizer else {}
        self._replicas = {
            part: Replica(world.env, model.take(part, theta, before[part].trained if part in before else None))
            for part in dict.fromkeys(client.served for client in clients)
        }
        steps = Barrier(world, partial(self._joint_step, round=number))
        phases = Barrier(world) if self.options.barrier else None
        train = partial(self._train, theta=theta, steps=steps, phases=phases, round=number)
        turnout: Turnout = yield from self._selecting.round(clients, train, round=number, at=world.cloud)
        if not turnout.arrived:
            return theta
        contributions, masses = list(turnout.arrived.values()), list(turnout.masses)
        trained = {part: replica.trained.adapters for part, replica in self._replicas.items()}
        if len(trained) > 1:  # a layer may be a client's and the main server's
            weights: defaultdict[Part, float] = defaultdict(float)
            for client in self._selecting.of(clients, turnout.present):
                weights[client.served] += client.weight
            contributions += [trained[part] for part in weights]
            masses += weights.values()
        work = turnout.aggregated(world, self.options.aggregation, contributions, masses, theta)
        mean: Ref = yield from retry(world, self.fed_server, work, round=number)
        if len(trained) > 1:
            return mean
        (served,) = trained
        own = [name for name in _names(mean) if name not in set(model.names([served]))]
        return mean.merge([mean if len(own) == len(_names(mean)) else mean.pick(own), *trained.values()])

    def _train(self, client: SplitClient, theta: Ref, steps: Barrier, phases: Barrier | None, *, round: int) -> Verb:
        """One client's share of a round; returns its adapters as the fed server received them."""
        world, model, node = self.world, self.world.model, client.name
        (bottom,) = client.own
        count = trains(world, client, self.options.local_steps)
        barriers = [each for each in (steps, phases) if each is not None and count]
        for each in barriers:
            each.join(node)
        try:
            own = theta.pick(model.names([bottom]))
            fetched = yield from world.send(self.fed_server, node, own, "adapters", round=round)
            trained = model.take(bottom, fetched, self._before.get(node))
            for step in range(1, count + 1):
                if phases is not None:
                    yield from phases.wait(node)
                trained = yield from self._step(client, trained, steps, phases, round=round, step=step)
            if phases is not None and count:
                yield from phases.wait(node)
        finally:
            for each in barriers:
                each.leave(node)
        world.trained(node, trained.adapters, self._replicas[client.served].trained.adapters)
        mine = yield from outgoing(world, client, fetched, trained.adapters, round=round)
        received = yield from world.send(node, self.fed_server, mine, "adapters", round=round)
        if self.options.keep_optimizer:
            self._before[node] = trained
        return received

    def _step(
        self, client: SplitClient, trained: Trained, steps: Barrier, phases: Barrier | None, *, round: int, step: int
    ) -> Verb:
        """One step of a client: activations and labels up, gradient down."""
        world, model, node, server = self.world, self.world.model, client.name, self.world.cloud
        compute, send = (
            partial(world.compute, node, round=round, step=step),
            partial(world.send, round=round, step=step),
        )
        batch = next(client.batches)
        h, saved = yield from compute(model.forward(trained, batch, batch.lengths))
        h = yield from send(node, server, h, "activation", attached=np.concatenate([batch.lengths, batch.truth]))
        gradient, loss = yield from steps.wait(node, (client, h, batch, step))
        gradient = yield from send(server, node, gradient, "gradient")
        _, *after = yield from compute(model.backward(trained, saved, gradient, batch.lengths, self.optimizer))
        world.stepped(loss)
        return trained.stepped(*after)

    def _joint_step(self, arrived: Mapping[str, Any], *, round: int) -> Verb:
        """One step of the main server on what has arrived, per Part 2; returns gradient and loss for each client."""
        found: dict[str, tuple[Ref, Ref]] = {}
        together: defaultdict[Part, list[tuple[Client, Ref, Batch, int]]] = defaultdict(list)
        for share in sorted(arrived.values(), key=lambda share: share[0].index):
            together[share[0].served].append(share)
        for part, shares in together.items():
            clients, states, batches, numbers = zip(*shares, strict=True)
            *gradients, loss = yield from self._replicas[part].step(
                partial(self._learned, states, batches, round=round, step=max(numbers))
            )
            found |= {c.name: (gradient, loss) for c, gradient in zip(clients, gradients, strict=True)}
        return found

    def _learned(
        self, states: Sequence[Ref], batches: Sequence[Batch], rest: Trained, *, round: int, step: int
    ) -> Verb:
        """The joint batch through the main server's part: the gradient of each client and the loss, and the part after."""
        world = self.world
        work = world.model.learn_jointly(rest, states, batches, self.optimizer)
        *gradients, adapters, moments, loss = yield from world.compute(world.cloud, work, round=round, step=step)
        return (*gradients, loss), rest.stepped(adapters, moments)


def _names(adapters: Ref) -> Mapping[str, Any]:
    assert isinstance(adapters.spec, Mapping)
    return adapters.spec
