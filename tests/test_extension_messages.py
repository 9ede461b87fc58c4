"""A plugin protocol with a kind of message of its own, and a chain of codecs for it: one file, held to the laws."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest
import yaml
from protocol_laws import LAWS
from small_runs import known, loaded, played, transfers, work, world_of

from elsa_sim.base.errors import ScenarioError
from elsa_sim.protocols.base import Protocol
from elsa_sim.run import checks
from elsa_sim.scenario.dump import dump
from elsa_sim.scenario.schema import schema

PLUGIN = '''
"""Prototypes: clients train the whole model; what they make of public texts tells how much their adapters count.

A prototype is the mean hidden state of a text after the last layer. The cloud weights a client with exp(-d), d the mean
distance of its prototypes from those of all.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch

from elsa_sim.plugins import Part, Protocol, TensorSpec, Work, retry, run_round, weighted_mean


class Prototypes(Protocol):
    """Clients count by how near their prototypes of public texts are to those of all."""

    kind: Literal["prototypes"] = "prototypes"
    messages: ClassVar[tuple[str, ...]] = ("prototypes",)
    texts: int = 4
    """Public texts."""

    def run(self, world):
        theta, before = world.model.initial(), {}
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            tasks = {client.name: partial(self._train, world, client, theta, before, g) for client in world.clients}
            arrived = yield from run_round(world, tasks, self.wait, round=g, at=world.cloud)
            if arrived:
                adapters, prototypes = zip(*arrived.values())
                flops = 2.0 * sum(spec.numel for ref in adapters for spec in ref.spec.values())
                work = Work("weigh", weighted, (*adapters, *prototypes), (theta.spec,), flops)
                theta = yield from retry(world, world.cloud, work, round=g)
            if world.evaluate(theta, round=g):
                return

    def _train(self, world, client, theta, before, g):
        name, model = client.name, world.model
        theta = yield from world.send(world.cloud, name, theta, "adapters", round=g)
        trained = model.take(model.whole, theta, before.get(name))
        optimizer = model.optimizer(self.lr, self.weight_decay)
        for step in range(1, self.local_steps + 1):
            batch = next(client.batches)
            _, *after, loss = yield from world.compute(
                name, model.learn(trained, batch, batch, optimizer), round=g, step=step
            )
            trained = trained.stepped(*after)
            world.stepped(loss)
        texts = world.public(self.texts)
        body = model.take(Part("body", 0, model.layers, first=True), trained.adapters)
        states, _ = yield from world.compute(name, model.forward(body, texts, texts.lengths), round=g)
        spec = TensorSpec((self.texts, model.hidden))
        pool = partial(pooled, lengths=texts.lengths.tolist())
        mine = yield from world.compute(name, Work("pool", pool, (states,), (spec,), float(states.spec.numel)), round=g)
        seen = yield from world.send(name, world.cloud, mine, "prototypes", round=g)
        received = yield from world.send(name, world.cloud, trained.adapters, "adapters", round=g)
        if self.keep_optimizer:
            before[name] = trained
        return received, seen


def pooled(states, lengths):
    return (torch.stack([text.mean(0) for text in states.split(lengths)]),)


def weighted(*shares):
    adapters, prototypes = shares[: len(shares) // 2], torch.stack(shares[len(shares) // 2 :])
    distances = (prototypes - prototypes.mean(0)).norm(dim=2).mean(1)
    return (weighted_mean(adapters, (-distances).exp().tolist()),)
'''
NAME = "prototypes_plugin"
KIND = "{kind: prototypes, rounds: 2, local_steps: 2, lr: 5.0e-3}"
SHORT = "codec={prototypes: [int8]}"


@pytest.fixture(autouse=True, scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The plugin, imported from a folder; afterwards it is forgotten."""
    place = tmp_path_factory.mktemp("plugins") / f"{NAME}.py"
    place.write_text(dedent(PLUGIN).lstrip(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(place.parent), *sys.path])
        importlib.import_module(NAME)
        yield place
    del Protocol.members["prototypes"]
    sys.modules.pop(NAME, None)


def test_it_is_one_short_file(plugin: Path) -> None:
    assert len(plugin.read_text().splitlines()) < 100


def test_its_messages_are_coded_and_shrink() -> None:
    plain, short = known(f"protocol={KIND}"), known(f"protocol={KIND}", SHORT)
    sent, coded = (transfers(made.events, "prototypes")["bytes"] - 66 for made in (plain, short))
    assert len(sent) == len(coded) == 2 * 3
    assert set(sent) == {4 * 32 * 4}
    assert set(coded) == {4 * (32 + 4)}  # a row of codes, and its scale
    others = [
        {k: v for k, v in made.summary["bytes"]["by_kind"].items() if k != "prototypes"} for made in (plain, short)
    ]
    assert others[0] == others[1]
    assert {"prototypes.encode", "prototypes.decode"} <= set(work(short.events)["detail"])
    assert short.summary["loss"] != plain.summary["loss"]
    timing = played(f"protocol={KIND}", SHORT, "execution.mode=timing")
    assert timing.summary["timeline_sha256"] == short.summary["timeline_sha256"]


def test_the_chain_may_be_written_in_every_way() -> None:
    for change in ("codec.prototypes=int8", "codec={prototypes: {kind: int8}}", "codec.prototypes=[{kind: int8}]"):
        chains = loaded(f"protocol={KIND}", change).scenario.codec.chains
        assert {kind: [codec.kind for codec in chain] for kind, chain in chains.items() if chain} == {
            "prototypes": ["int8"]
        }
    _, world = world_of(f"protocol={KIND}", SHORT, "execution.mode=timing")
    assert [codec.kind for codec in world.pipeline.chains["prototypes"]] == ["int8"]


def test_a_kind_that_it_does_not_send_is_a_fault() -> None:
    with pytest.raises(ScenarioError) as caught:
        loaded(f"protocol={KIND}", "codec={prototype: int8}")
    (fault,) = caught.value.faults
    assert fault.path == "codec.prototype"
    assert fault.message.startswith(
        "unknown key 'prototype'; did you mean 'prototypes'? valid: activation, gradient, adapters, prototypes; "
        "protocol 'prototypes' does not send it"
    )
    with pytest.raises(
        ScenarioError, match=r"codec\.prototypes: unknown key 'prototypes'; valid: .*'fedavg' does not send"
    ):
        loaded("protocol=fedavg", SHORT)


def test_a_chain_that_cannot_be_is_a_fault_at_its_place() -> None:
    with pytest.raises(ScenarioError) as caught:
        checks.check(loaded(f"protocol={KIND}", "codec={prototypes: [int8, sketch, ssop]}"))
    assert {fault.path for fault in caught.value.faults} == {"codec.prototypes.1", "codec.prototypes.2"}
    with pytest.raises(ScenarioError, match=r"codec\.prototypes\.0\.rows: must be >= 1, got 0"):
        loaded(f"protocol={KIND}", "codec={prototypes: [{kind: sketch, rows: 0}]}")


def test_it_is_written_out_and_in_the_schema() -> None:
    written = dump(loaded(f"protocol={KIND}", SHORT))
    assert yaml.safe_load(written)["codec"] == {"activation": [], "gradient": [], "adapters": [],
                                                "prototypes": [{"kind": "int8", "scale": "float32"}]}  # fmt: skip
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(schema())))
    validator.validate(yaml.safe_load(written))
    for chain in ("int8", {"kind": "int8"}, ["int8"]):
        validator.validate({"protocol": "prototypes", "codec": {"prototypes": chain}})
    assert not validator.is_valid({"protocol": "prototypes", "codec": {"prototypes": [3]}})


def test_the_written_scenario_repeats_the_run(tmp_path: Path) -> None:
    from elsa_sim.run import simulation
    from elsa_sim.scenario import model

    first = played(f"protocol={KIND}", SHORT, folder=tmp_path / "run")
    again = simulation.run(model.load(tmp_path / "run" / "scenario.yaml"))
    assert again.summary["trace_sha256"] == first.summary["trace_sha256"]


@pytest.mark.parametrize("name", LAWS)
def test_it_obeys_the_laws(name: str, tmp_path: Path) -> None:
    needs = {"folder": tmp_path} if "folder" in inspect.signature(LAWS[name]).parameters else {}
    LAWS[name](KIND, **needs)
