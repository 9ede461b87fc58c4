"""Study files: what they mean, and every fault of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import STUDY, known, written

from elsa_sim.base.errors import InputError, ScenarioError
from elsa_sim.study import cells, read


def faults(path: Path) -> str:
    with pytest.raises(ScenarioError) as error:
        cells(read(path), path.parent / "cells")
    return str(error.value)


def test_a_study_is_every_combination_with_every_seed(tmp_path: Path) -> None:
    found = cells(known(tmp_path), tmp_path)
    assert [(*cell.labels.values(), cell.seed) for cell in found] == [
        (system, topics, seed) for seed in (1, 2) for system in ("elsa", "fedavg") for topics in ("3", "4")
    ]
    assert len({cell.key for cell in found}) == len(found)


def test_changes_are_made_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
scenario: base.yaml
set: {protocol.lr: 0.5, task.topics: 5}
axes:
  system: {a: {protocol: {kind: fedavg, rounds: 9}}, b: {}}
  protocol.rounds: [3]
"""
    a, b = cells(known(tmp_path, text), tmp_path)
    assert ("kind: fedavg" in a.text, "rounds: 3" in a.text, "lr: 0.5" in a.text) == (True, True, False)
    assert ("kind: elsa" in b.text, "rounds: 3" in b.text, "lr: 0.5" in b.text) == (True, True, True)
    assert "topics: 5" in a.text


def test_the_command_line_changes_the_base_scenario(tmp_path: Path) -> None:
    study = read(written(tmp_path), ("task.train_size=80",))
    assert all("train_size: 80" in cell.text for cell in cells(study, tmp_path))


def test_a_part_of_a_study(tmp_path: Path) -> None:
    study = known(tmp_path)
    found = cells(study, tmp_path, study.chosen(["system=fedavg", "task.topics=4,3"]))
    assert {cell.labels["system"] for cell in found} == {"fedavg"}
    assert len(found) == 4
    for text, hint in (("sytem=elsa", "did you mean 'system'"), ("system=elsa,fedavrg", "did you mean 'fedavg'")):
        with pytest.raises(InputError, match=hint):
            study.chosen([text])


def test_all_faults_of_the_file_at_once(tmp_path: Path) -> None:
    text = """\
scenario: missing.yaml
seeds: [1, 1]
axes:
  system: 3
  topics: [{a: 1}]
  other: {x: 7}
metrics: [acuracy, time_to_target_s]
series: sistem
colour: red
"""
    said = faults(written(tmp_path, text))
    assert "line 9: colour: unknown key" in said
    assert "seeds: 1 is given twice" in said
    text = text.replace("colour: red\n", "").replace("[1, 1]", "[1]")
    said = faults(written(tmp_path, text))
    for fault in (
        "line 1: scenario: missing.yaml: no such file",
        "line 4: axes.system: expected a list of values, or labels",
        "line 5: axes.topics.0: a mapping has no label; write LABEL: {topics: ...}",
        "line 6: axes.other.x: expected key paths with their values",
        "line 7: metrics.0: unknown metric 'acuracy'; did you mean 'accuracy'?",
        "line 7: metrics.1: time_to_target_s needs a target_accuracy",
        "line 8: series: unknown axis 'sistem'; did you mean 'system'?",
    ):
        assert fault in said
    said = faults(written(tmp_path, STUDY + "target_accuracy: {system: {elza: 0.5}, sys: {a: 1.0}}\n"))
    assert "unknown label 'elza'; did you mean 'elsa'?" in said
    assert "target_accuracy.sys: unknown axis 'sys'" in said


def test_faults_of_configurations_name_them_once(tmp_path: Path) -> None:
    text = STUDY.replace("rounds: 2, local", "round: 2, local").replace("[3, 4]", "[3, many]")
    said = faults(written(tmp_path, text))
    assert "system=fedavg  task.topics=3 (and 1 more): protocol.round: unknown key 'round'" in said
    assert "did you mean 'rounds'?" in said
    assert "(from axis system, fedavg)" in said
    assert "system=elsa  task.topics=many (and 1 more): task.topics: expected an integer" in said
    assert said.count("unknown key") == 1
    said = faults(written(tmp_path, STUDY.replace("elsa: {}", "elsa: {name.x: 3}")))
    assert "name is 'small' and has no keys (from axis system, elsa)" in said
    said = faults(
        written(tmp_path, STUDY.replace("elsa: {}", "elsa: {split: {policy: fixed, p: 9, q: 1}}"))
    )  # only its world tells
    assert "system=elsa  task.topics=3 (and 1 more): split" in said


def test_targets_per_label(tmp_path: Path) -> None:
    study = known(tmp_path, STUDY + "target_accuracy: {task.topics: {'4': 0.7}}\n")
    assert study.target({"system": "elsa", "task.topics": "4"}) == 0.7
    assert study.target({"system": "elsa", "task.topics": "3"}) != study.target({"system": "elsa", "task.topics": "3"})
    assert known(tmp_path, STUDY + "target_accuracy: 0.6\n").target({}) == 0.6
