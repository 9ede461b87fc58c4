"""A protocol with a step of its own as a plugin: split training with a local loss. One file, outside the package."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol_laws import LAWS
from small_runs import loaded, played, transfers, work

from elsa_sim.base.errors import ScenarioError
from elsa_sim.protocols.base import Protocol
from elsa_sim.run import checks

PLUGIN = '''
"""Split training with a local loss (Han et al. 2021): clients learn from a head of their own, no gradient comes down.

A step of client n: Part 1 forward, its states and labels up, a step of its auxiliary head and of Part 1 on its own loss, and
meanwhile a step of the server's part on the states. Auxiliary heads stay with their clients.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import numpy as np

from elsa_sim.plugins import Protocol, StepPattern, average, local_loss, outgoing, trains


class LocalLoss(Protocol):
    """Split training in which clients learn from a local loss (Han et al. 2021)."""

    kind: Literal["local_loss"] = "local_loss"
    pattern: ClassVar[StepPattern] = local_loss("cloud")

    def run(self, world):
        theta = world.model.initial()
        before = {}
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            train = partial(self.train, world, theta, before, g)
            theta = yield from average(world, world.split_clients, self, theta, train, round=g)
            if world.evaluate(theta, round=g):
                return

    def train(self, world, theta, before, g, client):
        """One client's share of a round; returns its adapters of all layers."""
        model, node, server = world.model, client.name, world.cloud
        optimizer = model.optimizer(self.lr, self.weight_decay)
        first, head = client.own
        fetched = yield from world.send(server, node, theta.pick(model.names([first])), "adapters", round=g)
        bottom, rest, local = before.get(node, (None, None, model.take(head, theta)))
        bottom, rest = model.take(first, fetched, bottom), model.take(client.served, theta, rest)
        for step in range(1, trains(world, client, self.local_steps) + 1):
            batch = next(client.batches)
            compute = partial(world.compute, round=g, step=step)
            h, saved = yield from compute(node, model.forward(bottom, batch, batch.lengths))
            there = np.concatenate([batch.lengths, batch.truth])
            sent = yield from world.send(node, server, h, "activation", round=g, step=step, attached=there)
            gradient, *after, _ = yield from compute(node, model.learn(local, h, batch, optimizer))
            local = local.stepped(*after)
            _, *after = yield from compute(node, model.backward(bottom, saved, gradient, batch.lengths, optimizer))
            bottom = bottom.stepped(*after)
            _, *after, loss = yield from compute(server, model.learn(rest, sent, batch, optimizer))
            rest = rest.stepped(*after)
            world.stepped(loss)
        mine = yield from outgoing(world, client, fetched, bottom.adapters, round=g)
        received = yield from world.send(node, server, mine, "adapters", round=g)
        before[node] = (bottom, rest, local) if self.keep_optimizer else (None, None, local)
        return received.merge([received, rest.adapters])
'''
LOCAL = "{kind: local_loss, rounds: 2, local_steps: 2, lr: 5.0e-3}"


@pytest.fixture(scope="module", autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    place = tmp_path_factory.mktemp("plugins")
    (place / "local_loss_plugin.py").write_text(PLUGIN.lstrip(), encoding="utf-8")
    assert len(PLUGIN.splitlines()) < 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(place), *sys.path])
        importlib.import_module("local_loss_plugin")
        yield
    Protocol.members.pop("local_loss")
    sys.modules.pop("local_loss_plugin", None)


@pytest.mark.parametrize("name", LAWS)
def test_it_obeys_the_laws(name: str, tmp_path: Path) -> None:
    needs = {"folder": tmp_path} if "folder" in inspect.signature(LAWS[name]).parameters else {}
    LAWS[name](LOCAL, **needs)


def test_no_gradient_crosses() -> None:
    results = played(f"protocol={LOCAL}")
    assert len(transfers(results.events, "activation")) == 2 * 2 * 3
    assert not len(transfers(results.events, "gradient"))


def test_it_learns() -> None:
    rounds = played("protocol={kind: local_loss, rounds: 3, local_steps: 12, lr: 5.0e-2}").rounds
    assert rounds["loss"].iloc[-1] < rounds["loss"].iloc[0] - 0.02
    assert rounds["accuracy"].iloc[-1] > rounds["accuracy"].iloc[0]


def test_memory_counts_the_auxiliary_head() -> None:
    with pytest.raises(ScenarioError, match="Part 1 and an auxiliary head on 'client0', 'client1', 'client2' takes"):
        checks.check(loaded(f"protocol={LOCAL}", "devices.client.memory=1 KiB"))


def test_the_latency_policy_knows_its_step() -> None:
    """The time it states for a step is that of a run with one client, full sequences and no codec."""
    one = ("topology={kind: tree, clients: 1, edges: 1, access: {up: 10 Mbit/s, latency: 5 ms}, "
           "backhaul: {up: 1 Gbit/s, latency: 1 ms}}", "split={policy: latency}", "execution.mode=timing")  # fmt: skip
    plan = checks.check(loaded(f"protocol={LOCAL}", *one))
    assert plan.cuts is not None
    (cut,) = plan.cuts.values()
    assert (cut.q, "s a step: client" in cut.why) == (0, True)
    rows = work(played(f"protocol={LOCAL}", *one).events)
    assert set(rows.loc[rows["step"] > 0, "detail"].astype(str)) == {
        "part1.forward", "activation", "auxiliary.learn", "part1.backward", "part2.learn"}  # fmt: skip
