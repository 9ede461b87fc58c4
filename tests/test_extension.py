"""A protocol, a codec and a link model as plugins: one file each, found by the whole program, held to the laws."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import jsonschema
import numpy as np
import pytest
from protocol_laws import LAWS
from small_runs import TEXT, loaded, played, transfers, work

from elsa_sim.base.errors import ScenarioError
from elsa_sim.cli import commands
from elsa_sim.codecs.base import Codec
from elsa_sim.links import LinkModel
from elsa_sim.protocols.base import Protocol
from elsa_sim.results import metrics

PROTOCOL = '''
"""Ring: clients train the whole model one after another; each hands its adapters to the next through the cloud."""

from __future__ import annotations

from typing import Literal

from elsa_sim.plugins import Protocol, WholeTrainer


class Ring(Protocol):
    """Clients train one after another (incremental learning)."""

    kind: Literal["ring"] = "ring"
    turns: int = 1
    """How often it goes round in a round."""

    def steps(self, clients):
        return super().steps(clients) * self.turns

    def run(self, world):
        theta = world.model.initial()
        trainer = WholeTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self.keep_optimizer)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            for client in world.clients * self.turns:
                theta = yield from world.send(world.cloud, client.name, theta, "adapters", round=g)
                trained = yield from trainer.train(client, client.name, theta, self.local_steps, round=g)
                theta = yield from world.send(client.name, world.cloud, trained.adapters, "adapters", round=g)
                trainer.done(client, trained)
            if world.evaluate(theta, round=g):
                return
'''
CODEC = '''
"""Every other coordinate, twice: half the bytes, much of the information."""

from __future__ import annotations

from typing import Literal

from elsa_sim.plugins import Codec, Encoded, EncodedSpec, TensorSpec


class EveryOther(Codec):
    """Keep every other coordinate."""

    kind: Literal["every_other"] = "every_other"

    def encoded(self, spec):
        return EncodedSpec(TensorSpec((spec.shape[0], (spec.shape[1] + 1) // 2), spec.dtype))

    def encode(self, x, state, context):
        return Encoded(x[:, ::2].contiguous()), state

    def decode(self, encoded, spec, state, context):
        return encoded.main.repeat_interleave(2, dim=1)[:, : spec.shape[1]], state
'''
LINKS = '''
"""Halves: a flow gets half of the tightest channel it crosses, shared equally."""

from __future__ import annotations

from typing import Literal

import numpy as np

from elsa_sim.plugins import LinkModel


class Halves(LinkModel):
    """Half of every channel is lost, the rest is shared equally."""

    kind: Literal["halves"] = "halves"

    def allocate(self, flows, capacities):
        count = np.zeros(len(capacities))
        for route in flows.routes:
            for channel in route:
                count[channel] += 1
        return np.array([min((capacities[c] / 2 / count[c] for c in route), default=np.inf) for route in flows.routes])
'''
FILES = {"ring_plugin": PROTOCOL, "codec_plugin": CODEC, "links_plugin": LINKS}
RING = "{kind: ring, rounds: 2, local_steps: 2, turns: 1}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the plugins; afterwards they are forgotten."""
    place = tmp_path_factory.mktemp("plugins")
    (place / "small.yaml").write_text(TEXT, encoding="utf-8")
    for name, text in FILES.items():
        (place / f"{name}.py").write_text(dedent(text).lstrip(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(place), *sys.path])
        for name in FILES:
            importlib.import_module(name)
        yield place
    for family in (Protocol, Codec, LinkModel):
        for kind in [kind for kind, member in family.members.items() if member.__module__ in FILES]:
            del family.members[kind]
    for name in FILES:
        sys.modules.pop(name, None)


def elsa(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["elsa-sim", *args])
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr("elsa_sim.cli.run.write_figures", lambda results, folder: [])
        with pytest.raises(SystemExit) as end:
            commands.main()
    out, err = capsys.readouterr()
    assert end.value.code in (0, None), err
    return out


@pytest.mark.parametrize("name", FILES)
def test_each_is_one_short_file(folder: Path, name: str) -> None:
    assert len((folder / f"{name}.py").read_text().splitlines()) < 100


def test_it_runs_from_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    elsa(capsys, "run", "small.yaml", "--out", "out", "--quiet", *(f"--plugin={name}" for name in FILES),
         "--set", f"protocol={RING}", "--set", "codec.adapters=[every_other]", "--set", "network.model=halves")  # fmt: skip
    made = metrics.load(folder / "out")
    assert (made.protocol, made.summary["rounds"], made.summary["invariants"]) == ("ring", 2, "hold")
    assert len(transfers(made.events, "adapters")) == 2 * 2 * 3


def test_it_is_listed_and_in_the_schema(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = elsa(capsys, "list")
    for family, kind, text in (("protocol", "ring", "Clients train one after another (incremental learning)."),
                               ("codec", "every_other", "Keep every other coordinate."),
                               ("link_model", "halves", "Half of every channel is lost")):  # fmt: skip
        assert any(line.split()[:2] == [family, kind] and text in line for line in said.splitlines())
    schema = json.loads(elsa(capsys, "schema"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate({"protocol": {"kind": "ring", "turns": 2}, "codec": {"adapters": [{"kind": "every_other"}]},
                        "network": {"model": "halves"}})  # fmt: skip
    assert not validator.is_valid({"protocol": {"kind": "ring", "turn": 2}})
    (ring,) = (each for name, each in schema["$defs"].items() if "turns" in each.get("properties", ()))
    assert ring["properties"]["turns"]["description"].startswith("How often")
    assert ring["required"] == ["kind"]  # although a topology's class has the same name


def test_its_options_are_checked(folder: Path) -> None:
    with pytest.raises(ScenarioError, match=r"protocol\.turn.*did you mean 'turns'"):
        loaded("protocol={kind: ring, turn: 2}")


@pytest.mark.parametrize("name", LAWS)
def test_it_obeys_the_laws(folder: Path, name: str, tmp_path: Path) -> None:
    needs = {"folder": tmp_path} if "folder" in inspect.signature(LAWS[name]).parameters else {}
    LAWS[name](RING, **needs)


def test_codec_and_link_model_do_what_they_say(folder: Path) -> None:

    plain, half = (played(f"protocol={RING}", *codec) for codec in ((), ("codec={adapters: [every_other]}",)))
    assert half.summary["bytes"]["total"] < 0.6 * plain.summary["bytes"]["total"]
    assert half.summary["sim_time_s"] < plain.summary["sim_time_s"]
    slow = played(f"protocol={RING}", "network.model=halves")
    rows, slower = work(plain.events), work(slow.events)
    latency = rows["route"].astype(str).str.count(">").where(rows["kind"] == "transfer", 0) * 0.0075
    assert slow.summary["loss"] == plain.summary["loss"]
    drain, twice = (t["t_end_s"] - t["t_start_s"] - latency for t in (rows, slower))
    sent = (rows["kind"] == "transfer").to_numpy()
    np.testing.assert_allclose(twice[sent], 2 * drain[sent], rtol=1e-6)
