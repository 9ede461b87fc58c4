"""An aggregation rule, a misbehaviour and an attack on privacy as plugins: one file each, found by the whole program."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest
from protocol_laws import TIMING, adapters_of, norm, timeline
from small_runs import TEXT, loaded, played
from typer.testing import CliRunner

from elsa_sim.base.errors import ScenarioError
from elsa_sim.base.registry import Component
from elsa_sim.cli.commands import app
from elsa_sim.learning.aggregation.base import Aggregation
from elsa_sim.learning.misbehaviour.base import Misbehaviour
from elsa_sim.privacy.base import PrivacyAttack
from elsa_sim.results import metrics
from elsa_sim.run import checks

RULE = '''
"""The geometric median (Weiszfeld 1937; RFA, Pillutla et al., arXiv:1912.13445)."""

from __future__ import annotations

from typing import Literal

from elsa_sim.plugins import Aggregation, distance, weighted_mean


class GeometricMedian(Aggregation):
    """The point of least weighted distance to all members."""

    kind: Literal["geometric_median"] = "geometric_median"
    iterations: int = 20
    """Steps of Weiszfeld's iteration."""

    @property
    def least(self):
        return 3

    def combine(self, contributions, weights, base):
        found = weighted_mean(contributions, weights)
        for _ in range(self.iterations):
            apart = [max(distance(found, each), 1e-6) for each in contributions]
            found = weighted_mean(contributions, [w / d for w, d in zip(weights, apart)])
        return found

    def flops(self, members, elements):
        return 2.0 * members * elements + self.iterations * 5.0 * members * elements
'''
BEHAVIOUR = '''
"""Replacement: what one client sends is so large that the mean becomes what it wants (Bagdasaryan et al., arXiv:1807.00459)."""

from __future__ import annotations

from typing import Literal

from elsa_sim.plugins import Misbehaviour, Work


class Replacement(Misbehaviour):
    """Sends the adapters it received plus a large multiple of the opposite of its change."""

    kind: Literal["replacement"] = "replacement"
    boost: float = 10.0
    """How many times the change."""

    def send(self, received, trained):
        def function(before, after):
            return ({name: before[name] + self.boost * (before[name] - tensor) for name, tensor in after.items()},)

        return Work("replacement", function, (received, trained), (trained.spec,), 1000.0)
'''
SPY = '''
"""The most frequent token of public text, whatever is seen: the floor that an attack has to beat."""

from __future__ import annotations

from typing import Literal

from elsa_sim.plugins import PrivacyAttack


class MostFrequent(PrivacyAttack):
    """Guesses the most frequent public token."""

    kind: Literal["most_frequent"] = "most_frequent"

    def guess(self, knowledge, seen):
        known = knowledge.known
        return known.classes[known.counts.argmax()].expand(len(seen.payload))
'''
FILES = {"rule_plugin": RULE, "behaviour_plugin": BEHAVIOUR, "spy_plugin": SPY}
FAMILIES: tuple[type[Component], ...] = (Aggregation, Misbehaviour, PrivacyAttack)
SMALL = "rounds: 2, local_steps: 2, lr: 5.0e-3"
FIVE = "topology={kind: tree, clients: 5, edges: 1, access: {up: 10 Mbit/s}, backhaul: {up: 10 Mbit/s}}"
ATTACK = "unreliable={clients: {client1: {kind: replacement, boost: 100.0}}}"


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the plugins; afterwards they are forgotten."""
    place = tmp_path_factory.mktemp("plugins")
    (place / "small.yaml").write_text(TEXT, encoding="utf-8")
    for name, text in FILES.items():
        (place / f"{name}.py").write_text(dedent(text).lstrip(), encoding="utf-8")
    before = [dict(family.members) for family in FAMILIES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(place), *sys.path])
        for name in FILES:
            importlib.import_module(name)
        yield place
    for family, members in zip(FAMILIES, before, strict=True):
        family.members.clear()
        family.members.update(members)
    for name in FILES:
        sys.modules.pop(name, None)


def elsa(*args: str) -> str:
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", FILES)
def test_each_is_one_short_file(folder: Path, name: str) -> None:
    assert len((folder / f"{name}.py").read_text().splitlines()) < 100


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("fedavg", "aggregation"),
        ("hierfavg", "edge_aggregation"),
        ("elsa", "edge_aggregation"),
        ("fedbuff", "aggregation"),
    ],
)
def test_a_rule_serves_protocols_against_a_misbehaviour(kind: str, key: str) -> None:
    """With the rule, training ends near where it ends without the attack; without the rule, it does not."""
    buffer = ", buffer: 5" if kind == "fedbuff" else ""
    plain = f"protocol={{kind: {kind}, {SMALL}{buffer}}}"
    ruled = f"protocol={{kind: {kind}, {SMALL}{buffer}, {key}: {{kind: geometric_median, iterations: 60}}}}"
    (honest, spoilt, saved) = (
        adapters_of(*changes, FIVE)[1][-1] for changes in ((plain,), (plain, ATTACK), (ruled, ATTACK))
    )
    led, kept = (norm(each[name] - honest[name] for name in honest) for each in (spoilt, saved))
    assert kept < 0.1 * led
    real, timing = played(ruled, ATTACK, FIVE), played(ruled, ATTACK, FIVE, TIMING)
    assert timeline(real) == timeline(timing)
    assert real.summary["unreliable"] == {"client1": "replacement"}


def test_an_attack_on_privacy_is_a_column() -> None:
    section = "privacy={tokens: 200, known_texts: 4, attacks: [nearest_mean, most_frequent]}"
    results = played("protocol.rounds=1", "task.public=30", section)
    assert results.privacy is not None
    row = results.privacy.iloc[0]
    assert 0 <= row["most_frequent"] < row["nearest_mean"] == row["recovered"]
    assert "inversion" not in results.privacy.columns
    assert math.isclose(results.summary["privacy"]["recovered"], row["recovered"])


def test_it_runs_from_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    elsa("run", "small.yaml", "--out", "out", "--quiet", *(f"--plugin={name}" for name in FILES),
         "--set", f"protocol={{kind: fedavg, {SMALL}, aggregation: geometric_median}}",
         "--set", "unreliable={share: 0.4, kinds: [replacement]}")  # fmt: skip
    made = metrics.load(folder / "out")
    assert (made.summary["rounds"], made.summary["invariants"]) == (2, "hold")
    assert set(made.summary["unreliable"].values()) == {"replacement"}
    charged = made.events.loc[made.events["kind"] == "aggregation", "flops"].iloc[0]
    assert charged % (3 * (2 + 20 * 5)) == 0  # three members


def test_they_are_listed_and_in_the_schema() -> None:
    said = elsa("list")
    for family, kind, text in (("aggregation", "geometric_median", "The point of least weighted distance"),
                               ("misbehaviour", "replacement", "Sends the adapters it received plus"),
                               ("privacy_attack", "most_frequent", "Guesses the most frequent public token.")):  # fmt: skip
        assert any(line.split()[:2] == [family, kind] and text in line for line in said.splitlines())
    schema = json.loads(elsa("schema"))
    validator = jsonschema.Draft202012Validator(schema)
    rule = {"kind": "geometric_median", "iterations": 3}
    validator.validate({"protocol": {"kind": "elsa", "aggregation": rule, "edge_aggregation": "geometric_median"},
                        "unreliable": {"kinds": ["noise", {"kind": "replacement", "boost": 2.0}]},
                        "privacy": {"attacks": ["most_frequent"]}})  # fmt: skip
    assert not validator.is_valid({"protocol": {"kind": "fedavg", "aggregation": {**rule, "iteration": 3}}})


def test_their_options_are_checked() -> None:
    for change, said in (
        ("protocol={kind: fedavg, aggregation: {kind: geometric_median, iteration: 2}}", "did you mean 'iterations'"),
        ("protocol={kind: hierfavg, aggregation: geometric_median}", "geometric_median needs at least 3"),
        ("unreliable={kinds: [{kind: replacement, bost: 2}]}", "did you mean 'boost'"),
        ("privacy={attacks: [most_frequently]}", "did you mean 'most_frequent'"),
    ):
        with pytest.raises(ScenarioError) as error:
            checks.check(loaded(change))
        assert said in str(error.value)
