"""A scenario as a file, a mapping, options, or loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_runs
import yaml

import elsa_sim
from elsa_sim.base.errors import InputError, ScenarioError
from elsa_sim.scenario.dump import dump
from elsa_sim.scenario.given import Given, loaded_from
from elsa_sim.scenario.model import Loaded

DATA: dict[str, Any] = yaml.safe_load(small_runs.TEXT)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(small_runs.TEXT, encoding="utf-8")
    return path


def test_all_are_the_same_scenario(file: Path) -> None:
    loaded = elsa_sim.load_scenario(file)
    given: list[Given] = [file, str(file), DATA, loaded, loaded.scenario, Loaded(loaded.scenario)]
    assert {dump(loaded_from(each)) for each in given} == {dump(loaded)}
    changed = elsa_sim.load_scenario(file, ["protocol.rounds=7", "codec.adapters=float16"])
    assert {dump(loaded_from(each, ["protocol.rounds=7", "codec.adapters=float16"])) for each in given} == {
        dump(changed)
    }
    assert loaded_from(loaded) is loaded


def test_a_mapping_is_looked_at_like_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text("text,label\n" + "some words,a\nother words,b\n" * 20, encoding="utf-8")
    task = {"kind": "text_file", "train": Path("train.csv"), "test_fraction": np.float64(0.5), "format": "csv",
            "text_column": "text", "label_column": "label", "batch_size": np.int64(4)}  # fmt: skip
    plan = elsa_sim.check({"protocol": "fedavg", "task": task, "codec": {"adapters": ("int8",)}})
    assert plan.scenario.name == "scenario"
    assert len(plan.texts.test) == 20
    assert task["train"] == Path("train.csv")  # what was given stays as it was
    options = {"protocol": plan.scenario.protocol, "stop": plan.scenario.stop}
    assert elsa_sim.check(options).scenario.protocol == plan.scenario.protocol


@pytest.mark.parametrize(("data", "told"), [
    ({"protocol": {"kind": "fedavg", "rounds": 0}}, "protocol.rounds"),
    ({"protocol": "fedavg", "tasks": {}}, "tasks"),
    ({}, "protocol"),
    ({"protocol": {"kind": "fedavg", 3: 1}}, "protocol: expected text as keys, got 3"),
])  # fmt: skip
def test_faults_are_told_with_their_key(data: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ScenarioError, match=r"^scenario: ") as error:
        elsa_sim.check(data)
    assert told in str(error.value)


def test_all_faults_of_a_file_are_told_at_once(file: Path) -> None:
    """Also those that only a look at other files finds."""
    for call in (elsa_sim.run, elsa_sim.check):
        with pytest.raises(ScenarioError) as error:
            call(file, overrides=["protocol.rounds=0", "topology={file: nowhere.json}"])
        assert {fault.path for fault in error.value.faults} == {"protocol.rounds", "topology.file"}


def test_a_mapping_that_contains_itself_ends() -> None:
    data: dict[str, Any] = {"protocol": "fedavg"}
    data["task"] = data
    with pytest.raises(ScenarioError, match="nested deeper than"):
        elsa_sim.check(data)


@pytest.mark.parametrize("other", [3, None, ["a.yaml"], b"a.yaml"])
def test_other_things_are_refused_with_what_is_taken(other: Any) -> None:
    for call in (elsa_sim.run, elsa_sim.check):
        with pytest.raises(
            InputError, match="expected a scenario: the path of a file, a mapping of sections, a Scenario"
        ):
            call(other)


def test_a_run_of_a_mapping_is_that_of_the_file(file: Path, tmp_path: Path) -> None:
    quick = ["execution.mode=timing", "protocol.rounds=1"]
    with small_runs.quick():
        first = elsa_sim.run(file, overrides=quick)
        second = elsa_sim.run(DATA, str(tmp_path / "out"), overrides=quick)
    assert first.summary["trace_sha256"] == second.summary["trace_sha256"]
    assert second.folder == tmp_path / "out"
    kept = elsa_sim.load_results(tmp_path / "out").scenario
    assert kept == first.scenario == second.scenario
    assert elsa_sim.compare([first, second]).differences.empty
