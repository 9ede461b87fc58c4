"""What differs between scenarios, and whose accuracies are on a common axis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from saved_runs import made

from elsa_sim.results.differences import differences, other_task, text
from elsa_sim.results.metrics import Results


def test_keys_whose_values_differ() -> None:
    found = differences([made("a"), made("b", protocol="fedavg", protocol__lr=0.004)])
    assert found == {"protocol.kind": ["elsa", "fedavg"], "protocol.lr": [0.002, 0.004]}
    assert differences([made("a"), made("b")]) == {}  # a name changes nothing
    assert differences([made(seed=0), made(seed=1)]) == {"seed": [0, 1]}
    assert differences([made(seed=0), made(seed=1)], without=("seed",)) == {}


def test_keys_that_only_some_have_come_last() -> None:
    found = differences(
        [made(protocol__mu=0.1, codec__activation=[{"kind": "sketch", "rows": 3}]), made(protocol__lr=1)]
    )
    assert list(found) == ["protocol.lr", "protocol.mu", "codec.activation.0.kind", "codec.activation.0.rows"]
    assert found["protocol.mu"] == [0.1, None]
    assert list(differences([made(protocol__mu=0.1), made(execution__mode="timing")])) == [
        "execution.mode",
        "protocol.mu",
    ]
    assert found["codec.activation.0.kind"] == ["sketch", None]


def test_numbers_are_compared_as_numbers_and_lists_as_wholes() -> None:
    assert differences([made(protocol__lr=1), made(protocol__lr=1.0)]) == {}
    assert differences([made(protocol__lr=1), made(protocol__lr=True)]) == {"protocol.lr": [1, True]}
    found = differences([made(), made(backbone__lora={"rank": 8, "targets": ["query"]})])
    assert found == {"backbone.lora.targets": [["query", "value"], ["query"]]}
    assert [text(each) for each in found["backbone.lora.targets"]] == ["[query, value]", "[query]"]
    assert [text(each) for each in (None, True, 0.002, 1e9, 3, "a")] == ["–", "true", "0.002", "1000000000", "3", "a"]


def of_file(path: str, digest: str | None, **changes: Any) -> Results:
    run = made(
        task={"kind": "text_file", "objective": "classification", "train": "/d/train.txt", "test": path, **changes}
    )
    return replace(run, summary={**run.summary, "inputs": {} if digest is None else {path: digest}})


def test_files_count_by_their_contents() -> None:
    assert differences([of_file("/a/test.txt", "12345678" * 8), of_file("/b/test.txt", "12345678" * 8)]) == {}
    (values,) = differences([of_file("/a/test.txt", "1" * 64), of_file("/a/test.txt", "2" * 64)]).values()
    assert values == ["/a/test.txt (SHA-256 11111111...)", "/a/test.txt (SHA-256 22222222...)"]
    assert (
        differences([of_file("/a/test.txt", "1" * 64), of_file("/a/test.txt", None)]) == {}
    )  # not known of one of them


def test_other_tests_are_on_no_common_axis() -> None:
    assert other_task([made(), made(task__topics=3)]) == "task.topics differs (4; 3)"
    why = other_task([of_file("/a/test.txt", "1" * 64), of_file("/a/test.txt", "2" * 64)])
    assert why == "task.test differs (/a/test.txt (SHA-256 11111111...); /a/test.txt (SHA-256 22222222...))"
    assert other_task([made(), of_file("/a/test.txt", None)]) == "task.kind differs (synthetic; text_file)"


@pytest.mark.parametrize("changes", [{"task__batch_size": 4}, {"task__public": 30}, {"task__train_size": 7}, {"seed": 5},
                                     {"protocol": "fedavg"}, {"backbone__name": "minilm"},
                                     {"backbone__lora": {"rank": 2}}])  # fmt: skip
def test_who_trains_in_another_way_is_on_the_same_axis(changes: dict[str, Any]) -> None:
    assert other_task([made(), made(**changes)]) is None


def test_other_training_texts_are_on_the_same_axis_where_the_test_has_a_file_of_its_own() -> None:
    assert other_task([of_file("/a/test.txt", None), of_file("/a/test.txt", None, train="/d/more.txt")]) is None
    split = [made(task={"kind": "text_file", "train": name, "test_fraction": 0.2}) for name in ("a.txt", "b.txt")]
    assert other_task(split) == "task.train differs (a.txt; b.txt)"


def test_losses_per_token_need_the_same_tokens() -> None:
    runs = [made(task__objective="causal_lm"), made(task__objective="causal_lm", backbone__name="tiny-llama")]
    assert other_task(runs) == "backbone.name differs (tiny-bert; tiny-llama)"


def test_nothing_is_known_without_a_scenario() -> None:
    assert other_task([replace(made(), scenario={}), made(task__topics=3)]) is None
